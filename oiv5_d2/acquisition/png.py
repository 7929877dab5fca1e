"""PNG files: whether they are whole, down to the last row of pixels.

Pillow takes a file without its last chunk, and fills up rows that are not there; OpenCV refuses
both. So the chunks are walked here, and their pixels counted, as the PNG specification (ISO/IEC
15948) has them.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

MOST_PIXELS = 100_000_000  # a file that claims more is malicious
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CRITICAL = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
_PALETTE = 3  # a colour type
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
# Adam7: first column and row of each pass, and its steps across and down.
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
           (0, 1, 1, 2))  # fmt: skip
_PIECE_BYTES = 1 << 20


class _Header(NamedTuple):
    width: int
    height: int
    depth: int
    colour: int
    compression: int
    filtering: int
    interlace: int


def check_png(data: bytes) -> None:
    """Check that bytes are a complete PNG: its header, each chunk's checksum, every row, the end.

    Raises:
        ValueError: they are not; the message has the facts only.
    """
    if not data:
        raise ValueError("the file is empty")
    if not data.startswith(_SIGNATURE):
        raise ValueError("not a PNG")
    chunks = list(_chunks(data))
    if chunks[0][0] != b"IHDR" or len(chunks[0][1]) != 13:
        raise ValueError("a damaged PNG: it does not begin with its header")
    header = _Header(*struct.unpack(">LLBBBBB", chunks[0][1]))
    _check_header(header)
    _check_names([name for name, _ in chunks], header)
    _check_rows(header, b"".join(content for name, content in chunks if name == b"IDAT"))


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and content of each chunk up to the last one; what follows that does not count."""
    place, name = len(_SIGNATURE), b""
    while name != b"IEND":
        size, name = struct.unpack(">L4s", data[place : place + 8].ljust(8, b"\xff"))
        content, checksum = data[place + 8 : place + 8 + size], data[place + 8 + size :][:4]
        if len(checksum) < 4:
            raise ValueError("a damaged PNG: it is cut short")
        if zlib.crc32(name + content) != int.from_bytes(checksum, "big"):
            raise ValueError(f"a damaged PNG: the checksum of its {name!r:.12} is wrong")
        yield name, content
        place += size + 12


def _check_header(header: _Header) -> None:
    width, height = header.width, header.height
    if not 0 < width * height <= MOST_PIXELS:
        raise ValueError(f"a PNG that claims {width} x {height} pixels")
    is_known = header.depth in _DEPTHS.get(header.colour, ()) and header.interlace < 2
    if not is_known or header.compression or header.filtering:
        raise ValueError("a damaged PNG: its header makes no sense")


def _check_names(names: list[bytes], header: _Header) -> None:
    """Check that a palette is there if needed, and no unknown chunk that pixels depend on."""
    if header.colour == _PALETTE and b"PLTE" not in names:
        raise ValueError("a damaged PNG: its palette is missing")
    for name in names:
        if name[:1].isupper() and name not in _CRITICAL:
            raise ValueError(f"a damaged PNG: an unknown chunk {name!r}")


def _check_rows(header: _Header, packed: bytes) -> None:
    """Check that packed rows are as many bytes as the image has, a piece in memory at a time."""
    expected, found, unpacker = _num_bytes(header), 0, zlib.decompressobj()
    try:
        while found <= expected and (piece := unpacker.decompress(packed, _PIECE_BYTES)):
            packed, found = unpacker.unconsumed_tail, found + len(piece)
    except zlib.error as error:
        raise ValueError(f"a damaged PNG: {error}") from error
    if not unpacker.eof or found != expected:
        raise ValueError("a damaged PNG: its rows are more or fewer than its header says")


def _num_bytes(header: _Header) -> int:
    """Return how many bytes an image's rows have, each with one that says how it is filtered."""
    passes = _PASSES if header.interlace else ((0, 0, 1, 1),)
    total = 0
    for left, top, across, down in passes:
        columns = max(0, -(-(header.width - left) // across))
        rows = max(0, -(-(header.height - top) // down))
        bits = columns * header.depth * _CHANNELS[header.colour]
        total += rows * (1 + -(-bits // 8)) if columns else 0
    return total
