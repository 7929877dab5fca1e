"""A zip of which only some pieces are on disk, read by the standard `zipfile`.

The copy is as long as the zip, with holes (a sparse file) where nothing was fetched yet. So
`zipfile` reads it as it would the zip; an entry in a hole fails its checks. The file itself shows
what was fetched, after a kill too. Whatever a zip claims is checked before it is believed.
"""

import errno
import io
import math
import os
import re
import zipfile
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from oiv5_d2.acquisition.buckets import Bucket, Get, Head
from oiv5_d2.acquisition.shards import DAMAGE, line_of
from oiv5_d2.problems import Kind, Problem, Remedy

# A 1-bit mask of the most pixels has 12.5 MB, and a PNG hardly shrinks in a zip.
_MOST_BYTES = 16 << 20
_MOST_RATIO = 100
_MOST_DIRECTORY_BYTES = 64 << 20  # the release's largest has 170,000 entries in about 15 MB
_DIRECTORY_PIECE_BYTES = 8 << 20

_SPAN_BYTES = 2 << 20  # a bucket holds up to 64 answers in memory
_END_BYTES = 98  # a zip's end record, and ZIP64's with its locator
_LOCAL_HEADER_BYTES = 30
_MOST_BESIDE = 0xFFFF + 24  # an entry's local extra field, and a descriptor of 64-bit sizes
# A request costs a server and a network about as much as so many more bytes of an answer; up to so
# many requests are over in seconds, whatever they cost.
_REQUEST_BYTES, _FEW_REQUESTS = 8 << 10, 1000

_ENCRYPTED, _PATCH = 0x2041, 0x20  # flags
_NOT_PLAIN = re.compile(r"[/\\\0]|^\.{0,2}\Z")


class Entry(NamedTuple):
    """A file in a zip."""

    name: str
    start: int
    """Where it begins in the zip, with its local header."""
    stop: int
    """After its last byte in the zip."""
    info: zipfile.ZipInfo


class Span(NamedTuple):
    """A piece of a zip to ask for, and the entries in it."""

    start: int
    stop: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class PartialZip:
    """A zip whose directory is on disk, and some of its entries."""

    path: Path
    is_whole: bool
    """All of it is on disk."""
    head: Head
    file: io.FileIO
    """Without a buffer, which would not know what is filled in."""
    archive: zipfile.ZipFile
    entries: Mapping[str, Entry]
    """Those wanted, by name."""
    refused: Mapping[str, Problem]
    """The wanted entries that are not to be read, and why."""

    def read(self, entry: Entry) -> bytes:
        """Return an entry's content.

        Raises:
            one of `DAMAGE`: it is damaged, or was not fetched yet.
        """
        with self.archive.open(entry.info) as file:
            # Not all that is there: a few bytes may unpack to more than fits in memory.
            content = file.read(entry.info.file_size + 1)
        if len(content) != entry.info.file_size:
            raise ValueError(f"{len(content)} bytes instead of {entry.info.file_size}")
        return content

    @property
    def num_fetched(self) -> int:
        """Return how many bytes were fetched to open it."""
        return self.file.num_fetched if isinstance(self.file, _Filling) else 0

    def close(self) -> None:
        """Close the file."""
        self.archive.close()
        self.file.close()

    def spans(self, entries: Collection[Entry]) -> list[Span]:
        """Return what to ask for; large pieces of all the zip if it would be too many requests."""
        spans = coalesce(entries)
        cost = sum(span.stop - span.start + _REQUEST_BYTES for span in spans)
        if len(spans) > _FEW_REQUESTS and cost >= self.head.num_bytes:
            return coalesce(entries, math.inf, math.inf)
        return spans

    def fill(self, start: int, data: bytes) -> None:
        """Write bytes of the zip to their place in the copy."""
        _fill(self.file, start, data)


def _fill(file: io.FileIO, start: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.pwrite(file.fileno(), rest, start + len(data) - len(rest)) :]


def open_zip(
    path: Path, head: Head, wanted: Collection[str], bucket: Bucket | None = None, key: str = ""
) -> PartialZip:
    """Open a zip, or a copy of one in a bucket; its directory is fetched if it is not there yet.

    That costs about a hundred bytes and exactly the directory.

    Args:
        path: where the zip or its copy is, or will be.
        head: what is said of the zip.
        wanted: names of entries.
        bucket: has the zip; None if all of it is at `path`.
        key: the zip in the bucket.

    Raises:
        Problem: DAMAGED; REFUSED, the file cannot be read; or as `Bucket.read`.
        OSError: the copy cannot be written.
    """
    try:
        if not bucket:
            file = io.FileIO(path)
            archive = _parse(file)
        else:
            file, archive = _open_copy(path, head, bucket, key)
    except DAMAGE as error:
        kind, where = Kind.DAMAGED, bucket.url(key) if bucket else path
        # What `zipfile` does with a damaged zip: seek to impossible places.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL, errno.EFBIG):
            if bucket:
                raise
            kind = Kind.REFUSED
        raise Problem(kind, where, line_of(error), remedy=Remedy.FIX_SOURCE) from error
    entries, refused = _locate(archive, set(wanted))
    return PartialZip(path, bucket is None, head, file, archive, entries, refused)


def _open_copy(
    path: Path, head: Head, bucket: Bucket, key: str
) -> tuple[io.FileIO, zipfile.ZipFile]:
    """Open a copy; one without a complete directory is made anew."""
    with suppress(*DAMAGE):
        file = io.FileIO(path, "r+")
        return file, _parse(file)
    file = _Filling(path, bucket, key, head)
    try:
        archive = _parse(file)
    except BaseException:
        path.unlink()
        raise
    file.start = 0  # entries are fetched by the caller, see `PartialZip.fill`
    return file, archive


def _parse(file: io.FileIO) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(cast(BinaryIO, file))
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
        self.start = head.num_bytes
        """All bytes from here on were fetched."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes."""
        if self.tell() < self.start:
            self._fetch(min(self.tell(), max(0, self._head.num_bytes - _END_BYTES)))
        return super().read(-1 if size is None else size) or b""

    def _fetch(self, start: int) -> None:
        stop, self.start = self.start, start
        if stop - start > _MOST_DIRECTORY_BYTES:
            raise zipfile.BadZipFile(f"a directory of {stop - start} bytes")
        for at in range(start, stop, _DIRECTORY_PIECE_BYTES):
            get = Get(self._key, at, min(at + _DIRECTORY_PIECE_BYTES, stop), self._head.etag)
            data = self._bucket.read(get)
            _fill(self, at, data)
            self.num_fetched += len(data)


def _locate(
    archive: zipfile.ZipFile, wanted: set[str]
) -> tuple[dict[str, Entry], dict[str, Problem]]:
    """Return the wanted entries with their places, and those that are not to be read."""
    infos = archive.infolist()
    starts = sorted([*(info.header_offset for info in infos), archive.start_dir])
    num_at, num_of = Counter(starts), Counter(info.filename for info in infos)
    entries: dict[str, Entry] = {}
    refused: dict[str, Problem] = {}
    for info in infos:
        name, start = info.filename, info.header_offset
        if name not in wanted:
            continue
        after = starts[min(bisect_right(starts, start), len(starts) - 1)]
        least_stop = start + _LOCAL_HEADER_BYTES + info.compress_size
        entry = Entry(name, start, min(after, least_stop + _MOST_BESIDE), info)
        if num_of[name] > 1:
            refused[name] = Problem(Kind.DAMAGED, name, "several entries of this name")
        elif problem := _problem(info):
            refused[name] = problem
        elif num_at[start] > 1 or not 0 <= start < least_stop <= after:
            refused[name] = Problem(Kind.DAMAGED, name, "it overlaps another entry")
        else:
            entries[name] = entry
    return entries, refused


def _problem(info: zipfile.ZipInfo) -> Problem | None:
    """Return why an entry is not to be read; None if it is."""
    name, num_packed, num_bytes = info.filename, info.compress_size, info.file_size
    if _NOT_PLAIN.search(info.orig_filename):
        return Problem(Kind.UNSUPPORTED, name, "not a plain file name")
    if info.flag_bits & _ENCRYPTED:
        return Problem(Kind.UNSUPPORTED, name, "encrypted")
    is_known = info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    if not is_known or info.flag_bits & _PATCH:
        return Problem(Kind.UNSUPPORTED, name, f"compression method {info.compress_type}")
    most = min(_MOST_BYTES, _MOST_RATIO * (num_packed + 1000))
    if num_bytes > most or num_packed > _MOST_BYTES:
        return Problem(Kind.DAMAGED, name, f"{num_packed} bytes that unpack to {num_bytes}")
    return None


def coalesce(
    entries: Iterable[Entry],
    max_waste: float = 0.05,
    max_gap: float = 64 << 10,
    max_bytes: int = _SPAN_BYTES,
) -> list[Span]:
    """Join entries that lie near each other, across the smallest gaps first.

    Args:
        entries: none overlaps another.
        max_waste: the bytes between the entries may be so many, as a share of the entries' own.
        max_gap: the largest gap in bytes to join across.
        max_bytes: of a span of several entries.

    Returns:
        spans that do not touch each other's entries, each entry in one, by place.
    """
    ordered = sorted(entries, key=lambda entry: entry.start)
    gaps = [after.start - before.stop for before, after in pairwise(ordered)]
    budget = max_waste * sum(entry.stop - entry.start for entry in ordered)
    is_joined = [False] * len(gaps)
    for number in sorted(range(len(gaps)), key=gaps.__getitem__):
        budget -= gaps[number]
        if budget < 0 or gaps[number] > max_gap:
            break
        is_joined[number] = True
    spans: list[list[Entry]] = []
    for entry, joins in zip(ordered, [False, *is_joined], strict=False):
        if joins and entry.stop - spans[-1][0].start <= max_bytes:
            spans[-1].append(entry)
        else:
            spans.append([entry])
    return [Span(some[0].start, some[-1].stop, tuple(some)) for some in spans]
