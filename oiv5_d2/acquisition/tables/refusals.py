"""What is said of a table that can not be had, or is not what it should be."""

from collections.abc import Iterator
from contextlib import contextmanager

from oiv5_d2.acquisition.stores import ChangedError, StoreError
from oiv5_d2.openimages.release import ReleaseFile


@contextmanager
def named(url: str, remedy: str = "") -> Iterator[None]:
    """Put the URL and a remedy into what a store says, which names no file.

    Raises:
        FileNotFoundError, ChangedError, StoreError: as the block does.
    """
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{url}: this file of the release is not there. Is this the annotations' address?"
        ) from None
    except ChangedError as error:
        raise ChangedError(f"{url}: {error}") from error
    except StoreError as error:
        raise type(error)(f"{url}: {error}{remedy or _remedy(str(error))}") from error


def _remedy(reason: str) -> str:
    if "transfer." in reason:
        return ""  # it holds its own
    key = "data.source, or data.annotations"
    if "says 40" in reason:
        private = "A private bucket needs transfer.sign_s3=true, and a key that may read it"
        return f". Is {key}, the right address? {private}"
    return f". Is {key}, the right address? If so, run the same command again"


def check_length(data: bytes, num_bytes: int) -> None:
    """See that all bytes came.

    Raises:
        ValueError: there are fewer or more; the message says only that.
    """
    if len(data) != num_bytes:
        raise ValueError(f"{len(data)} bytes came of {num_bytes}")


def check_md5(url: str, md5: str, file: ReleaseFile) -> None:
    """See that a file is the release's.

    Raises:
        ValueError: its MD5 is another one; the message has URL and remedy.
    """
    if md5 != file.md5:
        raise ValueError(
            f"{url}: its MD5 is {md5}, but the release's is {file.md5}: it is damaged. Run the same"
            " command again to fetch it anew"
        )
