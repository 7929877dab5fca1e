"""The content of an entry out of a zip's bytes, believed only when all its checks agree."""

import struct
import zlib

from oiv5_d2.acquisition.mask_zips.central_directory import STORED, Entry

_LOCAL_HEADER = struct.Struct("<4s4xH16xHH")
_SIGN = b"PK\3\4"


def unpack(entry: Entry, data: bytes) -> bytes:
    """Return an entry's content.

    Args:
        entry: as the central directory has it.
        data: the zip's bytes from ``entry.start`` to ``entry.stop``.

    Raises:
        ValueError: it is damaged, or not what the directory says; the message says only what is
            wrong.
    """
    content = _inflate(entry, _data(entry, data))
    if zlib.crc32(content) != entry.crc:
        raise ValueError("its CRC-32 is not the one that the zip has for it")
    return content


def _data(entry: Entry, data: bytes) -> bytes:
    if len(data) < _LOCAL_HEADER.size:
        raise ValueError("its local header is cut short")
    sign, method, name_bytes, extra_bytes = _LOCAL_HEADER.unpack_from(data)
    start = _LOCAL_HEADER.size + name_bytes
    if sign != _SIGN or method != entry.method or not _is_name(data[30:start], entry.name):
        raise ValueError("its local header is damaged, or another entry's")
    start += extra_bytes
    if start + entry.packed_bytes > len(data):
        raise ValueError("it lies over what follows it")
    return data[start : start + entry.packed_bytes]


def _is_name(raw_name: bytes, name: str) -> bool:
    return raw_name in (name.encode(), name.encode("cp437", "replace"))


def _inflate(entry: Entry, packed: bytes) -> bytes:
    if entry.method == STORED:
        return packed
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        # One byte more than promised tells a lie without filling the memory.
        content = inflater.decompress(packed, entry.num_bytes + 1)
    except zlib.error as error:
        raise ValueError(f"it can not be unpacked: {error}") from error
    if len(content) > entry.num_bytes:
        raise ValueError(f"it unpacks to more than the {entry.num_bytes} bytes it should have")
    if len(content) < entry.num_bytes or not inflater.eof:
        raise ValueError(f"it unpacks to {len(content)} of {entry.num_bytes} bytes")
    return content
