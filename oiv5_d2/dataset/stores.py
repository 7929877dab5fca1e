"""Where a release's files are read from. Here a folder; a remote store needs the same three verbs.

A key is a file's name in its bucket: ``v5/train-masks/train-masks-0.zip``, ``train/<ImageID>.jpg``.
"""

import io
from pathlib import Path
from typing import IO, NamedTuple, Protocol, cast

from oiv5_d2.openimages import release

_BUFFER_BYTES = 64 << 10


class Store(Protocol):
    """One bucket. Each method raises FileNotFoundError where there is no such key."""

    def read(self, key: str) -> bytes:
        """Return a whole file."""
        ...

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        """Return the bytes from `start` up to, not including, `stop`."""
        ...

    def size(self, key: str) -> int:
        """Return how many bytes a file has."""
        ...


class Source(NamedTuple):
    """A release's two buckets."""

    annotations: Store
    images: Store


class FolderStore:
    """A bucket that is a folder."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise FileNotFoundError(f"{root}: there is no such folder of release files")
        self.root = root

    def read(self, key: str) -> bytes:
        """Return a whole file."""
        return (self.root / key).read_bytes()

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        """Return the bytes from `start` up to, not including, `stop`."""
        with (self.root / key).open("rb") as file:
            file.seek(start)
            return file.read(stop - start)

    def size(self, key: str) -> int:
        """Return how many bytes a file has."""
        return (self.root / key).stat().st_size


def folder_source(release_dir: Path) -> Source:
    """Return a release that lies in a folder as ``openimages/`` and ``open-images-dataset/``.

    Raises:
        FileNotFoundError: one of the two is not there.
    """
    return Source(
        annotations=FolderStore(release_dir / release.ANNOTATIONS_DIR),
        images=FolderStore(release_dir / release.IMAGES_DIR),
    )


def open_key(store: Store, key: str) -> IO[bytes]:
    """Open a file of a store for reading at any place, so that a zip need not be read whole.

    Raises:
        FileNotFoundError: there is no such key.
    """
    return cast("IO[bytes]", io.BufferedReader(_StoreFile(store, key), _BUFFER_BYTES))


class _StoreFile(io.RawIOBase):
    def __init__(self, store: Store, key: str) -> None:
        self._store, self._key = store, key
        self._place, self._size = 0, store.size(key)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError(f"{self._key}: a place before the file's beginning")
        self._place = base + offset
        return self._place

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        stop = min(self._place + len(buffer), self._size)
        if stop <= self._place:
            return 0
        data = self._store.read_range(self._key, self._place, stop)
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)
