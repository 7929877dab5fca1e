"""A zip of which only some pieces are on disk, read by the standard `zipfile`.

The copy is as long as the zip, with holes (a sparse file) where nothing was fetched yet. So
`zipfile` reads it as it would the zip; an entry in a hole fails its checks. The file itself shows
what was fetched, after a kill too. Whatever a zip claims is checked before it is believed.
"""

import errno
import io
import math
import os
import zipfile
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from oiv5_d2.acquisition.buckets import Bucket, Get, Head
from oiv5_d2.acquisition.jpeg import line_of
from oiv5_d2.acquisition.layouts import mask_name
from oiv5_d2.acquisition.shards import DAMAGE
from oiv5_d2.problems import Kind, Problem, Remedy

_METHODS = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
_NAMES: Mapping[int, str] = vars(zipfile)["compressor_names"]  # `zipfile`'s types do not know it
_ENCRYPTED = 1  # in an entry's flags
_MOST_BYTES = 16 << 20  # a 1-bit mask of 100 million pixels; the release's are below two million
_MOST_DIRECTORY_BYTES = 64 << 20  # the release's largest has 170,000 entries in about 15 MB
_SPAN_BYTES = 2 << 20  # a bucket holds up to 64 answers in memory
_END_BYTES = 98  # a zip's end record, and ZIP64's with its locator
_LOCAL_HEADER_BYTES = 30
_MOST_BESIDE = 0xFFFF + 24  # an entry's local extra field, and a descriptor of 64-bit sizes
# A request costs a server and a network about as much as so many more bytes of an answer; up to so
# many requests are over in seconds, whatever they cost.
_REQUEST_BYTES, _FEW_REQUESTS = 8 << 10, 1000


class Entry(NamedTuple):
    """A file in a zip."""

    name: str
    start: int  # of its local header in the zip
    stop: int  # after its last byte
    info: zipfile.ZipInfo


@dataclass(frozen=True)
class PartialZip:
    """A zip whose directory is on disk, and some of its entries."""

    path: Path
    key: str
    head: Head
    is_whole: bool  # all of it is on disk
    num_fetched: int  # bytes that were fetched to open it
    file: io.FileIO  # without a buffer, which would not know what is filled in
    archive: zipfile.ZipFile
    entries: Mapping[str, Entry]  # those wanted
    refused: Mapping[str, Problem]  # wanted ones that cannot be read

    def read(self, entry: Entry) -> bytes:
        """Return an entry's content.

        Raises:
            one of `DAMAGE`: it is damaged or encrypted, or was not fetched yet.
        """
        with self.archive.open(entry.info) as file:
            # Not all that is there: a few bytes may unpack to more than fits in memory.
            content = file.read(entry.info.file_size + 1)
        if len(content) != entry.info.file_size:
            raise ValueError(f"{len(content)} bytes instead of {entry.info.file_size}")
        return content

    def requests(self, entries: Collection[Entry]) -> dict[Get, list[Entry]]:
        """Return what to ask for, with the entries in each answer: all if it would be too much."""
        spans = coalesce(entries)
        cost = sum(span[-1].stop - span[0].start + _REQUEST_BYTES for span in spans)
        if len(spans) > _FEW_REQUESTS and cost >= self.head.num_bytes:
            spans = coalesce(entries, math.inf)
        etag = self.head.etag
        return {Get(self.key, span[0].start, span[-1].stop, etag): span for span in spans}

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def fill(file: io.FileIO, start: int, data: bytes) -> None:
    """Write bytes of a zip to their place in its copy."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.pwrite(file.fileno(), rest, start + len(data) - len(rest)) :]


def open_zip(
    path: Path, head: Head, wanted: Collection[str], bucket: Bucket | None = None, key: str = ""
) -> PartialZip:
    """Open a zip at a path or, with a bucket, a copy whose directory is fetched unless it is there.

    Args:
        path: the zip or its copy.
        head: what the bucket says of the zip.
        wanted: names of entries.
        bucket: has the zip; None if all of it is at `path`.
        key: the zip in the bucket.

    Raises:
        Problem: DAMAGED; REFUSED, the file cannot be read; or as `Bucket.read`.
    """
    try:
        file, archive = _open_copy(path, head, bucket, key) if bucket else _parse(io.FileIO(path))
    except DAMAGE as error:
        # `zipfile` seeks to impossible places in a damaged zip.
        is_damage = getattr(error, "errno", None) in (None, errno.EINVAL, errno.EFBIG)
        if bucket and not is_damage:
            raise
        kind = Kind.DAMAGED if is_damage else Kind.REFUSED
        where = bucket.url(key) if bucket else path
        raise Problem(kind, where, line_of(error), remedy=Remedy.FIX_SOURCE) from error
    num_fetched = file.num_fetched if isinstance(file, _Filling) else 0
    entries, refused = _locate(archive, set(wanted), bucket.url(key) if bucket else str(path))
    return PartialZip(path, key, head, bucket is None, num_fetched, file, archive, entries, refused)


def _open_copy(
    path: Path, head: Head, bucket: Bucket, key: str
) -> tuple[io.FileIO, zipfile.ZipFile]:
    """Open a copy; one without a complete directory is made anew."""
    with suppress(*DAMAGE):
        return _parse(io.FileIO(path, "r+"))
    file = _Filling(path, bucket, key, head)
    try:
        parsed = _parse(file)
    except BaseException:
        path.unlink()
        raise
    file.start = 0  # entries are fetched by the caller, see `fill`
    return parsed


def _parse(file: io.FileIO) -> tuple[io.FileIO, zipfile.ZipFile]:
    try:
        return file, zipfile.ZipFile(cast(BinaryIO, file))
    except BaseException:
        file.close()
        raise


class _Filling(io.FileIO):
    """A new copy of a zip: what is read of its end is fetched first, backwards without a gap."""

    def __init__(self, path: Path, bucket: Bucket, key: str, head: Head) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(path, "w+")
        self.truncate(head.num_bytes)
        self._bucket, self._key, self._head = bucket, key, head
        self.num_fetched = 0
        self.start = head.num_bytes  # all bytes from here on were fetched

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes."""
        stop = self.start
        if self.tell() < stop:
            self.start = min(self.tell(), max(0, self._head.num_bytes - _END_BYTES))
            if stop - self.start > _MOST_DIRECTORY_BYTES:
                raise zipfile.BadZipFile(f"a directory of {stop - self.start} bytes")
            get = Get(self._key, self.start, stop, self._head.etag)
            [answer] = self._bucket.read_many([get])  # not `read`: it asks again
            if answer.problem:
                raise answer.problem
            fill(self, self.start, answer.data)
            self.num_fetched += len(answer.data)
        return super().read(-1 if size is None else size) or b""


def _locate(
    archive: zipfile.ZipFile, wanted: set[str], where: str
) -> tuple[dict[str, Entry], dict[str, Problem]]:
    """Return the wanted entries that can be read, with their places, and why others cannot."""
    infos = archive.infolist()
    starts = sorted(info.header_offset for info in infos)
    stops = [min(start, archive.start_dir) for start in [*starts[1:], archive.start_dir]]
    entries: dict[str, Entry] = {}
    refused: dict[str, Problem] = {}
    for info in infos:
        if (name := mask_name(info.filename)) in wanted:
            start, after = info.header_offset, stops[bisect_left(starts, info.header_offset)]
            least_stop = start + _LOCAL_HEADER_BYTES + info.compress_size
            if foreign := _foreign_packing(info):
                refused[name] = Problem(Kind.UNSUPPORTED, where, foreign)
            elif max(info.compress_size, info.file_size) > _MOST_BYTES:
                refused[name] = Problem(Kind.DAMAGED, where, "a strange size in the zip")
            elif 0 <= start < least_stop <= after:  # it does not overlap another
                entries[name] = Entry(name, start, min(after, least_stop + _MOST_BESIDE), info)
            else:
                refused[name] = Problem(Kind.DAMAGED, where, "a strange place in the zip")
    return entries, {name: refused[name] for name in refused.keys() - entries.keys()}


def _foreign_packing(info: zipfile.ZipInfo) -> str:
    """Return how an entry is packed if that is not read here; "" if it is."""
    if info.flag_bits & _ENCRYPTED:
        return "encrypted"
    if info.compress_type in _METHODS:
        return ""
    name = _NAMES.get(info.compress_type, "unknown")
    return f"packed by method {info.compress_type}, {name}"


def coalesce(entries: Iterable[Entry], max_waste: float = 0.05) -> list[list[Entry]]:
    """Return entries by place; those near each other, across the smallest gaps first, in one list.

    Args:
        entries: none overlaps another.
        max_waste: the bytes between joined entries may be so many, as a share of all entries' own.
    """
    ordered = sorted(entries, key=lambda entry: entry.start)
    gaps = [after.start - before.stop for before, after in pairwise(ordered)]
    budget = max_waste * sum(entry.stop - entry.start for entry in ordered)
    wastes = zip(sorted(gaps), accumulate(sorted(gaps)), strict=True)
    too_large = next((gap for gap, waste in wastes if waste > budget), math.inf)
    spans = [[entry] for entry in ordered[:1]]
    for gap, entry in zip(gaps, ordered[1:], strict=True):
        if gap < too_large and entry.stop - spans[-1][0].start <= _SPAN_BYTES:
            spans[-1].append(entry)
        else:
            spans.append([entry])
    return spans
