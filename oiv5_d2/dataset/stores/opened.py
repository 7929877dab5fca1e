"""A file of a store as one that can be read at any place."""

import io
from typing import IO, cast

from oiv5_d2.dataset.stores.store import Store

_BUFFER_BYTES = 64 << 10


def open_key(store: Store, key: str) -> IO[bytes]:
    """Open a file of a store for reading at any place, so that a zip need not be read whole.

    Raises:
        FileNotFoundError: there is no such key.
    """
    return cast("IO[bytes]", io.BufferedReader(_StoreFile(store, key), _BUFFER_BYTES))


class _StoreFile(io.RawIOBase):
    def __init__(self, store: Store, key: str) -> None:
        self._store, self._key = store, key
        self._place, self._size = 0, store.head(key).num_bytes

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
