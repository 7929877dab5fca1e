"""What a zip holds, told by its last bytes alone.

A zip ends in its central directory, which names every file in it with its place, its sizes and its
CRC-32, and in an end record, which says where the directory begins. So a few files can be read out
of a zip on a server without reading the rest. Whatever the directory claims is checked before it
is believed: it came from outside.
"""

import json
import re
import struct
import zlib
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from oiv5_d2.acquisition.mask_zips.end_record import End, Tail, find_end
from oiv5_d2.acquisition.stores import ChangedError, Head, Store
from oiv5_d2.files import write_whole

STORED, DEFLATED = 0, 8

# Nothing else than ours is in the zips: a 1-bit picture of the largest size has 12.5 MB as pixels,
# and a PNG hardly shrinks in a zip.
LARGEST_ENTRY = 16 << 20
_LARGEST_RATIO = 100
_HEADER = struct.Struct("<4s4xHH4xLLLHHH8xL")
_LENGTHS = struct.Struct("<4s24xHHH")
_HEADER_SIGN = b"PK\1\2"
_SATURATED = 0xFFFF_FFFF  # the value is too large for its field and stands in the extra field
_ENCRYPTED, _PATCH, _UTF_8 = 0x2041, 0x20, 0x800  # flags
_NOT_PLAIN = re.compile(r"[/\\\0]|^\.{0,2}\Z")
_LOCAL_HEADER_BYTES = 30
# What may lie beside a file's name and data: an extra field and a descriptor of 64-bit sizes.
_MOST_BESIDE = 0xFFFF + 24
_TRIES = 3  # at a directory that makes no sense


class Entry(NamedTuple):
    """A file in a zip, as the central directory has it."""

    name: str
    start: int
    """Where it begins in the zip, with its local header."""
    stop: int
    """After its last byte in the zip: at most where the next one begins."""
    method: int
    """`STORED` or `DEFLATED`."""
    crc: int
    """The CRC-32 of its content."""
    num_bytes: int
    """Of its content."""
    packed_bytes: int
    """Of its data in the zip, without header and descriptor."""


@dataclass(frozen=True)
class Directory:
    """What a zip says it holds."""

    num_bytes: int
    """Of the whole zip."""
    etag: str
    """The zip's; "" where the store has none."""
    directory_bytes: int
    """From the central directory to the zip's end: what has to be read to know the entries."""
    comment: bytes
    """The zip's."""
    entries: Mapping[str, Entry]
    """Those asked for, by name, in the directory's order. No two lie over each other."""
    refused: Mapping[str, str]
    """The names of those asked for that are not to be read, and why."""


def read_directory(
    store: Store, key: str, wanted: Collection[str] | None = None, kept_path: Path | None = None
) -> Directory:
    """Read a zip's central directory: its length, about a hundred bytes, and the directory.

    Args:
        store: where the zip is.
        key: the zip.
        wanted: the names to keep; None for all.
        kept_path: where the bytes are kept, so that the next call asks for the zip's ETag only.

    Raises:
        FileNotFoundError: there is no such zip.
        StoreError: it could not be read.
        ValueError: it is not a whole zip; the message says only what is wrong.
        OSError: `kept_path` can not be written.
    """
    for _ in range(_TRIES - 1):
        # A server may have told a wrong length, and what lies there is no directory then.
        with suppress(ChangedError, ValueError):
            return _read_directory(store, key, wanted, kept_path)
        if kept_path:
            kept_path.unlink(missing_ok=True)  # or the next try would read the same bytes
    return _read_directory(store, key, wanted, kept_path)


def _read_directory(
    store: Store, key: str, wanted: Collection[str] | None, kept_path: Path | None
) -> Directory:
    head = store.head(key)
    kept = _read_kept(kept_path, head) if kept_path else b""
    tail = Tail(store, key, head, kept)
    end = find_end(tail)
    data = tail.since(end.start)
    entries, refused = _parse(data[: end.stop - end.start], end, wanted)
    if kept_path and not kept:
        _keep(kept_path, head, tail.data)
    return Directory(head.num_bytes, head.etag, len(data), end.comment, entries, refused)


def _parse(
    data: bytes, end: End, wanted: Collection[str] | None
) -> tuple[dict[str, Entry], dict[str, str]]:
    """Return the wanted entries, and why those are refused that are."""
    places, kept = _walk(data, None if wanted is None else {name.encode() for name in wanted})
    if (len(places) - end.num_entries) % (1 << end.count_bits):
        raise ValueError(f"it says it has {end.num_entries} entries, and names {len(places)}")
    starts = _starts(data, places)
    ordered = np.sort(np.append(starts, end.start))
    follower = np.searchsorted(ordered, starts[kept], side="right")
    is_shared = follower - np.searchsorted(ordered, starts[kept]) > 1
    # A start that lies beyond the directory has no follower; its entry is found out by its stop.
    nexts = np.minimum(ordered[np.minimum(follower, len(ordered) - 1)], end.start)
    entries: dict[str, Entry] = {}
    refused: dict[str, str] = {}
    for index, next_start, shared in zip(kept, nexts.tolist(), is_shared.tolist(), strict=True):
        entry, fault = _read_entry(data, places[index], next_start)
        if shared:
            fault = "another entry lies at the same place"
        if entry.name in entries or entry.name in refused:
            fault = "the zip has several entries of this name"
            entries.pop(entry.name, None)
        if fault:
            refused[entry.name] = fault
        else:
            entries[entry.name] = entry
    return entries, refused


def _walk(data: bytes, wanted: Collection[bytes] | None) -> tuple[list[int], list[int]]:
    """Return where each entry of a central directory begins, and the numbers of the wanted."""
    places: list[int] = []
    kept: list[int] = []
    place, stop, read = 0, len(data), _LENGTHS.unpack_from
    while place < stop:
        if place + _HEADER.size > stop:
            raise ValueError("its central directory ends in the middle of an entry")
        sign, name_bytes, extra_bytes, comment_bytes = read(data, place)
        if sign != _HEADER_SIGN:
            raise ValueError(f"its central directory is damaged at entry {len(places) + 1}")
        name_stop = place + 46 + name_bytes
        if wanted is None or data[place + 46 : name_stop] in wanted:
            kept.append(len(places))
        places.append(place)
        place = name_stop + extra_bytes + comment_bytes
    if place != stop:
        raise ValueError("its central directory ends in the middle of an entry")
    return places, kept


def _starts(data: bytes, places: list[int]) -> NDArray[np.int64]:
    """Return where each entry begins in the zip, as int64."""
    field = np.array(places, np.int64)[:, None] + np.arange(_HEADER.size - 4, _HEADER.size)
    starts: NDArray[np.int64]
    starts = np.frombuffer(data, np.uint8)[field].view("<u4").ravel().astype(np.int64)
    for index in np.flatnonzero(starts == _SATURATED):
        place = places[index]
        packed, unpacked = struct.unpack_from("<LL", data, place + 20)
        starts[index] = _unsaturated(data, place, unpacked, packed, _SATURATED)[2]
    return starts


def _unsaturated(
    data: bytes, place: int, unpacked: int, packed: int, start: int
) -> tuple[int, int, int]:
    """Return an entry's unpacked bytes, packed bytes and start, the large ones from ZIP64's field.

    The field has only those values, in this order, that are too large for their own.
    """
    values = [unpacked, packed, start]
    name_bytes, extra_bytes = struct.unpack_from("<HH", data, place + 28)
    first = place + _HEADER.size + name_bytes
    wide = _find_zip64(data[first : first + extra_bytes])
    for number, value in enumerate(values):
        if value == _SATURATED:
            if len(wide) < 8:
                raise ValueError("a ZIP64 entry of its central directory is damaged")
            values[number], wide = int.from_bytes(wide[:8], "little"), wide[8:]
    if max(values) >= 1 << 63:
        raise ValueError("a ZIP64 entry of its central directory is damaged")
    return values[0], values[1], values[2]


def _find_zip64(extra: bytes) -> bytes:
    while len(extra) >= 4:
        kind, num_bytes = struct.unpack_from("<HH", extra)
        if kind == 1:
            return extra[4 : 4 + num_bytes]
        extra = extra[4 + num_bytes :]
    return b""


def _read_entry(data: bytes, place: int, next_start: int) -> tuple[Entry, str]:
    """Return an entry and what is wrong with it; "" for nothing."""
    _, flags, method, crc, packed, unpacked, name_bytes, _, _, start = _HEADER.unpack_from(
        data, place
    )
    if _SATURATED in (unpacked, packed, start):
        unpacked, packed, start = _unsaturated(data, place, unpacked, packed, start)
    first = place + _HEADER.size
    raw_name = data[first : first + name_bytes]
    name = raw_name.decode("utf-8" if flags & _UTF_8 else "cp437", "replace")
    least_stop = start + _LOCAL_HEADER_BYTES + name_bytes + packed
    stop = min(next_start, least_stop + _MOST_BESIDE)
    entry = Entry(name, start, stop, method, crc, unpacked, packed)
    return entry, _fault(entry, flags, least_stop)


def _fault(entry: Entry, flags: int, least_stop: int) -> str:
    """Say why an entry is not to be read; "" if it is."""
    name, _, stop, method, _, num_bytes, packed_bytes = entry
    if _NOT_PLAIN.search(name):
        return "its name is not a plain file's name: refused"
    if flags & _ENCRYPTED:
        return "it is encrypted"
    if method not in (STORED, DEFLATED) or flags & _PATCH:
        return f"it is packed by a method that is not read here ({method})"
    if num_bytes > min(LARGEST_ENTRY, _LARGEST_RATIO * (packed_bytes + 1000)):
        return f"it would unpack to {num_bytes} bytes: refused"
    if packed_bytes > LARGEST_ENTRY or (method == STORED and packed_bytes != num_bytes):
        return f"its sizes can not be true: {num_bytes} bytes in {packed_bytes}"
    if least_stop > stop:
        return "it lies over what follows it"
    return ""


def _keep(path: Path, head: Head, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    about = json.dumps([*head, zlib.crc32(data)]).encode()
    write_whole(path, about + b"\n" + data)


def _read_kept(path: Path, head: Head) -> bytes:
    """Return the kept bytes of the same zip; none where there are no whole ones."""
    if not path.exists():
        return b""
    about, _, data = path.read_bytes().partition(b"\n")
    return data if about == json.dumps([*head, zlib.crc32(data)]).encode() else b""
