"""Files that are either whole or absent, and their fingerprints."""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from oiv5_d2.problems import Kind, Problem, Remedy

PART_PREFIX = ".part-"


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write `path` so that it appears under its name only when it is complete.

    Yields a temporary path in the same folder, with the same suffix (writers that choose a format
    by suffix work). On a clean exit it is flushed to disk and renamed to `path`; on an error it is
    removed, and what `path` held before stays. The folder is made. The temporary name is always
    the same, so a run killed here leaves at most one stray file, which the next run overwrites.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(PART_PREFIX + path.name)
    try:
        yield part
        _flush_to_disk(part)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_whole(path: Path | str, data: bytes) -> None:
    """Write a small file so that it appears under its name only when it is complete.

    Its folder has to be there. Unlike `whole_file` it is not flushed to disk, which would cost
    many times the writing: after a power cut, not after a kill, its bytes may be missing.
    """
    # By the system's own calls: pathlib's cost as much as they do, and pictures are many.
    folder, separator, name = str(path).rpartition("/")
    part = folder + separator + PART_PREFIX + name
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(part, flags, 0o666)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
        finally:
            os.close(descriptor)
        os.rename(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hex digits, reading it in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def free_bytes(path: Path) -> int:
    """Return how much the disk of a folder has left; the folder need not exist yet."""
    existing = next(each for each in (path, *path.absolute().parents) if each.exists())
    return shutil.disk_usage(existing).free


@contextmanager
def naming_full_disk(folder: Path) -> Iterator[None]:
    """Turn the system's error about a full disk into a problem.

    Raises:
        Problem: DISK_FULL.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise Problem(
            Kind.DISK_FULL, folder, key="data.limit data.dir", remedy=Remedy.FREE_DISK
        ) from error


class TalliedFile:
    """An open file that counts and fingerprints what is read, so that it is read only once."""

    def __init__(self, file: BinaryIO, advance: Callable[[int], object]) -> None:
        self.name = file.name
        self.num_bytes = 0
        self._file, self._advance, self._hash = file, advance, hashlib.sha256()

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; no bytes at the end."""
        data = self._file.read(size)
        self.num_bytes += len(data)
        self._hash.update(data)
        self._advance(len(data))
        return data

    def sha256(self) -> str:
        """Return the SHA-256 of what was read so far."""
        return self._hash.hexdigest()
