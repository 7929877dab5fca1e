"""Zips made for tests, whole and damaged, in stores that note what is asked of them."""

import io
import struct
import tempfile
import zipfile
from pathlib import Path

from oiv5_d2.acquisition.mask_zips.central_directory import read_directory
from oiv5_d2.acquisition.stores import Answer, FolderStore, Get

FOUR = {f"{number}.png": bytes([number]) * 50 * (number + 1) for number in range(4)}


class FarStore:
    """A folder that is not taken for one, and notes what is asked of it.

    `fail` may return an error for a request, and may change the folder's files.
    """

    location = "far"

    def __init__(self, root, fail=lambda get: None):
        self.root, self.fail = root, fail
        self._folder = FolderStore(root)
        self.gets = []
        self.heads = []

    def has_changed(self, key, since_ns, num_bytes=None):
        return False

    def head(self, key):
        self.heads.append(key)
        return self._folder.head(key)

    def read_many(self, gets, check=None):
        for get in gets:
            self.gets.append(get)
            error = self.fail(get)
            if error:
                yield Answer(get, b"", error)
            else:
                yield from self._folder.read_many([get], check)

    def stream(self, key, start=0, etag=""):
        self.gets.append(Get(key, start, start, etag))
        for piece in self._folder.stream(key, start, etag):
            for at in range(0, len(piece), 1000):
                some = piece[at : at + 1000]
                self.gets[-1] = self.gets[-1]._replace(stop=self.gets[-1].stop + len(some))
                yield some
                if error := self.fail(self.gets[-1]):
                    raise error

    @property
    def num_bytes(self):
        return sum(get.stop - get.start for get in self.gets)


class FlippingStore(FarStore):
    """The first answer that has a certain byte of the file comes with another one there."""

    def __init__(self, root, place):
        super().__init__(root)
        self.place, self.has_erred = place, False

    def read_many(self, gets, check=None):
        for answer in super().read_many(gets, check):
            at = self.place - answer.get.start
            if not self.has_erred and 0 <= at < len(answer.data):
                self.has_erred = True
                data = answer.data[:at] + bytes([answer.data[at] ^ 1]) + answer.data[at + 1 :]
                answer = answer._replace(data=data)
            yield answer


class Pipe(io.RawIOBase):
    """A file that can not go back: zips written to it have data descriptors."""

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


class FarFolder:
    """A folder with one zip, for as long as it is needed."""

    def __init__(self, data):
        self.data = data

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        root = Path(self.folder.name)
        (root / "a.zip").write_bytes(self.data)
        return FarStore(root)

    def __exit__(self, *error):
        self.folder.cleanup()


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


def parse(data, wanted=None, **options):
    with FarFolder(data) as store:
        return read_directory(store, "a.zip", wanted, **options)
