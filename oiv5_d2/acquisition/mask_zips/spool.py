"""Masks that came already, until all have come and the zip can be written.

One file to which records are appended. A process that is killed leaves whole records and at most
one that is cut short, which is dropped; so what has come is never asked for again.
"""

import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from oiv5_d2.acquisition.mask_zips.central_directory import LARGEST_ENTRY
from oiv5_d2.acquisition.outcomes import checksum

_HEADER = struct.Struct("<4sHII")  # sign, name's bytes, content's bytes, CRC-32 of both
_SIGN = b"mask"


class Held(NamedTuple):
    """What is known of a mask that is there."""

    crc: int
    """CRC-32 of its bytes."""
    num_bytes: int
    checksum: str
    """BLAKE3, see `outcomes.checksum`."""

    @classmethod
    def of(cls, content: bytes) -> Self:
        """Describe a mask's bytes."""
        return cls(zlib.crc32(content), len(content), checksum(content))


class Spool:
    """A file of masks that came; it exists from the first one on.

    Args:
        path: the file. Records that an earlier process left are taken up.

    Raises:
        OSError: it can not be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.held: dict[str, Held] = {}
        self._places: dict[str, int] = {}
        self._descriptor = -1
        self._num_bytes = 0
        if path.exists():
            self._open()
            self._take_up()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file; it stays."""
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def add(self, masks: Iterable[tuple[str, bytes]]) -> None:
        """Append masks, by name. When this returns no kill can lose them."""
        if self._descriptor < 0:
            self._open()
        records = bytearray()
        for name, content in masks:
            raw_name = name.encode()
            crc = zlib.crc32(content, zlib.crc32(raw_name))
            records += _HEADER.pack(_SIGN, len(raw_name), len(content), crc) + raw_name
            self._places[name] = self._num_bytes + len(records)
            self.held[name] = Held.of(content)
            records += content
        _write_all(self._descriptor, records, self._num_bytes)
        self._num_bytes += len(records)

    def read(self, name: str) -> bytes:
        """Return a mask.

        Raises:
            OSError: the file was damaged since it was written.
        """
        held = self.held[name]
        content = os.pread(self._descriptor, held.num_bytes, self._places[name])
        if zlib.crc32(content) != held.crc:
            raise OSError(f"{self.path}: damaged on the disk. Remove it and run again")
        return content

    def remove(self) -> None:
        """Delete the file."""
        self.path.unlink(missing_ok=True)

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)

    def _take_up(self) -> None:
        """Index the whole records; cut off whatever follows them."""
        for name, content, end in _whole_records(self.path):
            self.held[name] = Held.of(content)
            self._places[name] = end - len(content)
            self._num_bytes = end
        os.truncate(self.path, self._num_bytes)


def read_held(path: Path) -> dict[str, Held]:
    """Return what the spool at `path` holds, if there is one; nothing is written."""
    if not path.exists():
        return {}
    return {name: Held.of(content) for name, content, _ in _whole_records(path)}


def _whole_records(path: Path) -> Iterator[tuple[str, bytes, int]]:
    """Yield each mask's name and bytes, and the place in the file where its record ends."""
    with path.open("rb") as file:
        while len(header := file.read(_HEADER.size)) == _HEADER.size:
            sign, name_bytes, num_bytes, crc = _HEADER.unpack(header)
            if num_bytes > LARGEST_ENTRY:
                return
            raw_name, content = file.read(name_bytes), file.read(num_bytes)
            is_whole = sign == _SIGN and len(content) == num_bytes
            if not is_whole or zlib.crc32(content, zlib.crc32(raw_name)) != crc:
                return
            yield raw_name.decode(), content, file.tell()


def _write_all(descriptor: int, data: bytearray, place: int) -> None:
    with memoryview(data) as view:
        while view:
            num_written = os.pwrite(descriptor, view, place)
            view, place = view[num_written:], place + num_written
