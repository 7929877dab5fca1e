"""Files that are either whole or absent, and their fingerprints."""

import errno
import gzip
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from oiv5_d2.problems import Kind, Problem, Remedy

PART_PREFIX = ".part-"
_GZIP = b"\x1f\x8b"  # how such a file begins
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write `path` so that it appears under its name only when it is complete.

    Yields a temporary path in the same folder, with the same suffix (writers that choose a format
    by suffix work). On a clean exit it is flushed to disk and renamed to `path`; on an error it is
    removed, and what `path` held before stays. The folder is made. The temporary name is always
    the same, so a run killed here leaves at most one stray file, which the next run overwrites.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(PART_PREFIX + path.name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_whole(path: Path | str, data: bytes) -> None:
    """Write a small file so that it appears under its name only when it is complete.

    Its folder must exist. Unlike `whole_file` it is not flushed to disk, which would cost many
    times the writing: after a power cut, not after a kill, its bytes may be missing.
    """
    temporary = Path(path).with_name(PART_PREFIX + Path(path).name)
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hex digits, reading it in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_below(folder: Path, *, is_deep: bool = True) -> Iterator[Path]:
    """Yield the files below a folder by path, also through links; hidden ones are not.

    A folder is read once, so that links in a circle have an end.

    Args:
        folder: it need not exist.
        is_deep: whether folders in it are read as well.
    """
    seen = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        status = os.stat(parent)
        place = status.st_dev, status.st_ino
        is_new = place not in seen
        seen.add(place)
        is_read = is_new and is_deep
        folders[:] = sorted(name for name in folders if is_read and not name.startswith("."))
        if is_new:
            yield from (Path(parent, name) for name in sorted(names) if not name.startswith("."))


def free_bytes(path: Path) -> int:
    """Return the free space on the disk of a folder, which need not exist yet."""
    existing = next(each for each in (path, *path.absolute().parents) if each.exists())
    return shutil.disk_usage(existing).free


@contextmanager
def naming_full_disk(subject: Path, key: str = "") -> Iterator[None]:
    """Turn the system's error about a full disk, or one that it caused, into a problem.

    Args:
        subject: the file or folder that is written.
        key: the settings to change, as in `Problem`.

    Raises:
        Problem: DISK_FULL.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:  # PyTorch's zip writer fails after the file did
        if not any(getattr(one, "errno", None) in _NO_SPACE for one in _causes(error)):
            raise
        raise Problem(Kind.DISK_FULL, subject, key=key, remedy=Remedy.FREE_DISK) from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def read_json(path: Path, remedy: Remedy) -> Any:
    """Return the content of a JSON file, gzipped or not; NaN, which JSON has not, is None.

    Raises:
        Problem: ABSENT or DAMAGED, with `remedy`.
    """
    try:
        return json.loads(unzipped(path.read_bytes()), parse_constant=lambda _: None)
    except FileNotFoundError as error:
        raise Problem(Kind.ABSENT, path, remedy=remedy) from error
    except (ValueError, gzip.BadGzipFile, EOFError, zlib.error, RecursionError) as error:
        raise Problem(Kind.DAMAGED, path, f"not JSON: {error}", remedy=remedy) from error


def unzipped(data: bytes) -> bytes:
    """Return the bytes of a file, decompressed if they are gzip's.

    Raises:
        gzip.BadGzipFile, EOFError, zlib.error: the archive is damaged or cut short.
    """
    return gzip.decompress(data) if data.startswith(_GZIP) else data
