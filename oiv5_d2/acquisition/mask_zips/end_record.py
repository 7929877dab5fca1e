"""Where a zip's central directory lies: what its end record says, ZIP64's too."""

import struct
from typing import NamedTuple

from oiv5_d2.acquisition.stores import Get, Head, Store

_LARGEST_DIRECTORY = 64 << 20  # the release's largest has 170,000 entries in about 15 MB
_PIECE_BYTES = 8 << 20

_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4s12xLLQQQQ")
_END_SIGN, _LOCATOR_SIGN, _END_64_SIGN = b"PK\5\6", b"PK\6\7", b"PK\6\6"
# How much of a zip's end to look at for the end record: without a comment, with one, with any.
_REACHES = (_END.size + _LOCATOR.size + _END_64.size, 1 << 10, _END.size + 0xFFFF)
_FARTHEST_END_64 = 1 << 20


class End(NamedTuple):
    """Where a zip's central directory lies, and what is said of it."""

    start: int
    """Where the central directory begins."""
    stop: int
    """After its last byte."""
    num_entries: int
    count_bits: int
    """Of the field that holds the number: writers that know no ZIP64 let it overflow."""
    comment: bytes


class Tail:
    """The last bytes of a file: as many as were asked for, none of them twice."""

    def __init__(self, store: Store, key: str, head: Head, data: bytes) -> None:
        self._store, self._key, self._etag = store, key, head.etag
        self.num_bytes, self.data = head.num_bytes, data

    def since(self, start: int) -> bytes:
        """Return the bytes from `start` on."""
        first = self.num_bytes - len(self.data)
        if start < first:
            self.data = self._read(start, first) + self.data
            first = start
        return self.data[start - first :]

    def _read(self, start: int, stop: int) -> bytes:
        places = range(start, stop, _PIECE_BYTES)
        gets = [Get(self._key, at, min(at + _PIECE_BYTES, stop), self._etag) for at in places]
        pieces = {}
        for answer in self._store.read_many(gets):
            if answer.error:
                raise answer.error
            pieces[answer.get.start] = answer.data
        return b"".join(pieces[at] for at in places)


def find_end(tail: Tail) -> End:
    """Find a zip's central directory.

    Raises:
        FileNotFoundError: there is no such zip.
        StoreError: it could not be read.
        ValueError: it is not a whole zip; the message says only what is wrong.
    """
    for reach in _REACHES:
        data = tail.since(max(0, tail.num_bytes - reach))
        place = _find_end_record(data)
        if place is not None:
            break
    else:
        raise ValueError("not a zip, or not all of one: it has no end record")
    _, disk, first_disk, _, num_entries, size, start, _ = _END.unpack_from(data, place)
    comment, count_bits = data[place + _END.size :], 16
    stop = tail.num_bytes - len(data) + place
    locator = tail.since(max(0, stop - _LOCATOR.size))[: _LOCATOR.size]
    if locator.startswith(_LOCATOR_SIGN):
        record, stop = _read_end_64(tail, locator, stop)
        disk, first_disk, _, num_entries, size, start = record
        count_bits = 64
    if disk or first_disk:
        raise ValueError("it is one of several parts of a zip")
    if start + size != stop:
        raise ValueError("its central directory is not where its end record says")
    if size > _LARGEST_DIRECTORY:
        raise ValueError(f"a central directory of {size} bytes is refused")
    return End(start, stop, num_entries, count_bits, comment)


def _find_end_record(data: bytes) -> int | None:
    """Return where the last end record begins whose comment ends where the file does."""
    place = len(data)
    while (place := data.rfind(_END_SIGN, 0, place)) >= 0:
        if place + _END.size <= len(data):
            comment_bytes = _END.unpack_from(data, place)[-1]
            if place + _END.size + comment_bytes == len(data):
                return place
    return None


def _read_end_64(tail: Tail, locator: bytes, stop: int) -> tuple[tuple[int, ...], int]:
    """Return the ZIP64 end record's fields, and where it begins."""
    _, _, place, _ = _LOCATOR.unpack(locator)
    last = stop - _LOCATOR.size - _END_64.size
    if not last - _FARTHEST_END_64 <= place <= last:
        raise ValueError("its ZIP64 end record is not where its locator says")
    sign, *record = _END_64.unpack_from(tail.since(place))
    if sign != _END_64_SIGN:
        raise ValueError("its ZIP64 end record is damaged")
    return tuple(record), place
