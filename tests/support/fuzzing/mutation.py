"""Inputs that are nearly right: a seed with a few edits of bytes, numbers or JSON's values."""

import json
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

MOST_EDITS = 4
LONGEST = 1 << 16  # bytes of an input
_BYTES = [0, 1, 9, 10, 13, 32, 34, 44, 47, 59, 92, 127, 128, 255]
_NUMBERS = [
    "-1",
    "0",
    "1",
    "0.0",
    "1e999",
    "nan",
    "1_0",
    "-0",
    "0.5",
    "65536",
    "2147483648",
    "9" * 30,
]
_INTEGERS = [0, 1, 2, 7, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF]
_VALUES: list[Any] = [
    None, True, False, -1, 0, 1, 1.5, 1e300, float("nan"), 2**40, "", "0", "a\0b", "é", "../x",
    [], {}, [[]], [0], [None], [1, 1, 4, 1, 4, 4], {"size": [6, 8], "counts": "0"},
]  # fmt: skip

Edit = Callable[[Random, bytes, Sequence[bytes]], bytes]


def mutate(
    random: Random, seeds: Sequence[bytes], tokens: Sequence[bytes], start: bytes | None = None
) -> bytes:
    """Return one of the seeds after one to four edits.

    Args:
        random: what is drawn depends on it alone.
        seeds: right inputs; pieces of others are put into one of them as well.
        tokens: what means something in the format.
        start: what is edited in place of a seed.
    """
    data = random.choice(seeds) if start is None else start
    for _ in range(random.randint(1, MOST_EDITS)):
        pieces = [*tokens, _piece(random, random.choice(seeds))]
        data = random.choice(_EDITS)(random, data, pieces)[:LONGEST]
    return data


def with_checksums(data: bytes) -> bytes:
    """Return a PNG with the checksum of each chunk made right, as far as chunks can be read."""
    place, repaired = 8, bytearray(data)
    while place + 12 <= len(data):
        stop = place + 8 + struct.unpack_from(">L", data, place)[0]
        if stop + 4 > len(data):
            break
        struct.pack_into(">L", repaired, stop, zlib.crc32(data[place + 4 : stop]))
        place = stop + 4
    return bytes(repaired)


def _span(random: Random, data: bytes) -> tuple[int, int]:
    start = random.randint(0, len(data))
    return start, min(len(data), start + random.choice([1, 1, 2, 4, 16, 64, 256]))


def _piece(random: Random, data: bytes) -> bytes:
    start, stop = _span(random, data)
    return data[start:stop]


def _set_byte(random: Random, data: bytes, pieces: Sequence[bytes]) -> bytes:
    start, _ = _span(random, data)
    return data[:start] + bytes([random.choice(_BYTES)]) + data[start + 1 :]


def _flip_bit(random: Random, data: bytes, pieces: Sequence[bytes]) -> bytes:
    start = random.randrange(len(data)) if data else 0
    flipped = bytes(byte ^ 1 << random.randrange(8) for byte in data[start : start + 1])
    return data[:start] + flipped + data[start + 1 :]


def _remove(random: Random, data: bytes, pieces: Sequence[bytes]) -> bytes:
    start, stop = _span(random, data)
    return data[:start] + data[stop:]


def _repeat(random: Random, data: bytes, pieces: Sequence[bytes]) -> bytes:
    start, stop = _span(random, data)
    return data[:stop] + data[start:stop] * random.choice([1, 1, 2, 50]) + data[stop:]


def _cut_off(random: Random, data: bytes, pieces: Sequence[bytes]) -> bytes:
    return data[: random.randint(0, len(data))]


def _insert(random: Random, data: bytes, pieces: Sequence[bytes]) -> bytes:
    start, _ = _span(random, data)
    return data[:start] + random.choice(pieces) + data[start:]


def _overwrite(random: Random, data: bytes, pieces: Sequence[bytes]) -> bytes:
    start, _ = _span(random, data)
    piece = random.choice(pieces)
    return data[:start] + piece + data[start + len(piece) :]


def _set_integer(random: Random, data: bytes, pieces: Sequence[bytes]) -> bytes:
    """Write an integer as a binary format has it."""
    start, _ = _span(random, data)
    layout = random.choice(["<H", ">H", "<L", ">L"])
    number = struct.pack(layout, random.choice(_INTEGERS) % (1 << 8 * struct.calcsize(layout)))
    return data[:start] + number + data[start + len(number) :]


def _set_number(random: Random, data: bytes, pieces: Sequence[bytes]) -> bytes:
    """Replace a number in a text."""
    places = list(re.finditer(rb"-?\d+(\.\d+)?", data))
    if not places:
        return data
    place = random.choice(places)
    return data[: place.start()] + random.choice(_NUMBERS).encode() + data[place.end() :]


def _set_value(random: Random, data: bytes, pieces: Sequence[bytes]) -> bytes:
    """Replace, remove or repeat a value in JSON; another text is left as it is."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return data
    places = list(_places(content))
    if not places:
        return data
    parent, key = random.choice(places)
    kind = random.randrange(4)
    if kind == 0:
        del parent[key]
    elif kind == 1 and isinstance(parent, list):
        parent.append(parent[key])
    elif kind == 2:
        other, its_key = random.choice(places)
        parent[key] = json.loads(json.dumps(other[its_key]))
    else:
        parent[key] = random.choice(_VALUES)
    return json.dumps(content).encode()


def _places(content: Any) -> list[tuple[Any, Any]]:
    """Return where values are: the list or object that has one, and its place there."""
    found: list[tuple[Any, Any]] = []
    waiting = [content] if isinstance(content, dict | list) else []
    while waiting:
        node = waiting.pop()
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in items:
            found.append((node, key))
            if isinstance(value, dict | list):
                waiting.append(value)
    return found


_EDITS: Sequence[Edit] = (
    _set_byte, _flip_bit, _remove, _repeat, _cut_off, _insert, _overwrite, _set_integer,
    _set_number, _set_value, _set_value, _set_value,
)  # fmt: skip
