"""A place given in words, as a store."""

from pathlib import Path
from urllib.parse import unquote

from oiv5_d2.acquisition.stores.addresses import check_address
from oiv5_d2.acquisition.stores.folder import FolderStore
from oiv5_d2.acquisition.stores.http import HttpStore
from oiv5_d2.acquisition.stores.signature import read_signature
from oiv5_d2.acquisition.stores.store import Source, Store
from oiv5_d2.acquisition.stores.transfer import Transfer


def is_remote(location: str) -> bool:
    """Return whether a location is asked over a network."""
    return folder_of(location) is None


def folder_of(location: str) -> Path | None:
    """Return the folder that a location is, plainly or as ``file:///folder``; None for another."""
    scheme, separator, rest = location.partition("://")
    if not separator:
        return Path(location)
    if scheme.lower() == "file":
        return Path(unquote(rest.removeprefix("localhost")))
    return None


def open_store(location: str, transfer: Transfer) -> Store:
    """Open a bucket.

    Args:
        location: a folder, ``file:///folder``, ``http(s)://host/path`` or ``s3://bucket/prefix``.
            A bucket of S3 is read from `transfer.s3_endpoint`, as everybody may read it, unless
            `transfer.sign_s3` is set.
        transfer: the settings of remote stores.

    Raises:
        FileNotFoundError: the folder is not there.
        ValueError: the location is of no such kind, or holds a password; or a request is to be
            signed and there is no key.
    """
    if folder := folder_of(location):
        return FolderStore(folder, transfer.max_file_bytes)
    check_address(location)
    scheme, _, rest = location.partition("://")
    if scheme.lower() == "s3":
        signature = read_signature(transfer.s3_region) if transfer.sign_s3 else None
        url = f"{transfer.s3_endpoint.rstrip('/')}/{rest}"
        return HttpStore(url, transfer, signature=signature)
    return HttpStore(location, transfer)


def open_source(annotations: str, images: str, transfer: Transfer) -> Source:
    """Open a release's two buckets; see `open_store`."""
    return Source(open_store(annotations, transfer), open_store(images, transfer))
