"""Zips made for tests, whole and damaged."""

import io
import struct
import zipfile

FOUR = {f"{number}.png": bytes([number]) * 50 * (number + 1) for number in range(4)}


class Pipe(io.RawIOBase):
    """A file that cannot go back: zips written to it have data descriptors."""

    def __init__(self):
        self.data = bytearray()

    def writable(self):
        return True

    def write(self, piece):
        self.data += piece
        return len(piece)


def zipped(entries, method=zipfile.ZIP_STORED, comment=b"", file=None):
    file = file or io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.comment = comment
        for name, content in entries.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return bytes(file.data) if isinstance(file, Pipe) else file.getvalue()


def end_of(data):
    """Return where a zip's end record is, and its central directory."""
    place = data.rindex(b"PK\5\6")
    return place, struct.unpack_from("<L", data, place + 16)[0]


def header_of(data, name):
    """Return where the central directory has an entry."""
    place = data.index(name.encode(), end_of(data)[1]) - 46
    assert data[place:].startswith(b"PK\1\2")
    return place


def with_field(data, place, layout, *values):
    changed = bytearray(data)
    struct.pack_into(layout, changed, place, *values)
    return bytes(changed)


def in_header(name, offset, layout, *values):
    return lambda data: with_field(data, header_of(data, name) + offset, layout, *values)


def in_end(offset, layout, *values):
    return lambda data: with_field(data, end_of(data)[0] + offset, layout, *values)


def with_end_64(data, count=None):
    """Write a zip's end as writers of large ones do: a ZIP64 record, its locator, a full record."""
    place, start = end_of(data)
    number, size = struct.unpack_from("<HL", data, place + 10)
    record = struct.pack(
        "<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, number, count or number, size, start
    )
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, place, 1)
    comment = data[place + 20 :]
    end = struct.pack("<4s4H2L", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFF_FFFF, 0xFFFF_FFFF)
    return data[:place] + record + locator + end + comment
