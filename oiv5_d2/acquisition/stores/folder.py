"""A bucket that is a folder."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from oiv5_d2.acquisition.stores.store import (
    Answer,
    ChangedError,
    Check,
    DamagedError,
    Get,
    Head,
    StoreError,
)

_PIECE_BYTES = 1 << 20


class FolderStore:
    """A bucket that is a folder; see `Store`. Nothing is tried twice.

    A file's ETag is made of its length and the time of its last change.

    Args:
        root: the folder.
        max_file_bytes: the most that a file which is read whole may have; None for any length.

    Raises:
        FileNotFoundError: `root` is not there.
    """

    def __init__(self, root: Path, max_file_bytes: int | None = None) -> None:
        if not root.is_dir():
            raise FileNotFoundError(f"{root}: there is no such folder of release files")
        self.root = root
        self.location = str(root)
        self._max_file_bytes = max_file_bytes

    def head(self, key: str) -> Head:
        """Return a file's length and ETag; see `Store.head`."""
        with self._open(key) as file:
            return _head(file)

    def read(self, key: str, start: int = 0, stop: int | None = None, etag: str = "") -> bytes:
        """Return a file or a part of it; see `Store.read`."""
        with self._open(key) as file:
            _refuse_another(file, etag)
            file.seek(start)
            if stop is None:
                self._refuse_excess(file)
                return file.read()
            data = file.read(stop - start)
        if len(data) < stop - start:
            raise ChangedError(f"the file ends at byte {start + len(data)}, before {stop}")
        return data

    def read_many(self, gets: Iterable[Get], check: Check | None = None) -> Iterator[Answer]:
        """Answer many requests, in their order; see `Store.read_many`."""
        for get in gets:
            try:
                data = self.read(*get)
                if check:
                    check(data)
            except OSError as error:
                yield Answer(get, b"", error)
            except ValueError as error:
                yield Answer(get, b"", DamagedError(str(error)))
            else:
                yield Answer(get, data, None, get.etag)

    def head_many(self, keys: Iterable[str]) -> Iterator[tuple[str, Head | OSError]]:
        """Ask for many files' lengths and ETags, in their order; see `Store.head_many`."""
        for key in keys:
            try:
                yield key, self.head(key)
            except OSError as error:
                yield key, error

    def stream(self, key: str, start: int = 0, etag: str = "") -> Iterator[bytes]:
        """Return a file from byte `start` on as pieces; see `Store.stream`."""
        with self._open(key) as file:
            _refuse_another(file, etag)
            file.seek(start)
            while piece := file.read(_PIECE_BYTES):
                yield piece

    def has_changed(self, key: str, since_ns: int, num_bytes: int | None = None) -> bool:
        """Tell whether a file is another one than its copy; see `Store.has_changed`."""
        try:
            status = (self.root / key).stat()
        except OSError:
            return False
        # Not the time of writing: a file that is moved to another's place keeps that.
        return status.st_ctime_ns > since_ns or num_bytes not in (None, status.st_size)

    def close(self) -> None:
        """Nothing is open."""

    def _refuse_excess(self, file: BinaryIO) -> None:
        most = self._max_file_bytes
        if most is not None and _head(file).num_bytes > most:
            raise StoreError("the file is longer than transfer.max_file_bytes allows")

    def _open(self, key: str) -> BinaryIO:
        path = self.root / key
        try:
            return path.open("rb", buffering=0)  # a raw file: no second buffer
        except FileNotFoundError:
            raise FileNotFoundError(f"{path}: there is no such file") from None
        except OSError as error:
            raise StoreError(f"it can not be read: {error.strerror}") from error


def _head(file: BinaryIO) -> Head:
    status = os.fstat(file.fileno())
    return Head(status.st_size, f'"{status.st_mtime_ns:x}-{status.st_size:x}"')


def _refuse_another(file: BinaryIO, etag: str) -> None:
    if etag and etag != _head(file).etag:
        raise ChangedError("the file is another one than before")
