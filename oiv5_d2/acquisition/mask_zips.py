"""The wanted masks out of the release's zips, read by range, into smaller zips of the same names.

What was fetched of a zip stays beside the shard until all wanted masks are there, so that a killed
run fetches nothing twice.
"""

import hashlib
import logging
import shutil
from collections.abc import Collection, Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3

from oiv5_d2.acquisition import downloads
from oiv5_d2.acquisition.buckets import Bucket, Head
from oiv5_d2.acquisition.jpeg import line_of
from oiv5_d2.acquisition.layouts import MaskPlace, find_masks, other_format, unusable_masks
from oiv5_d2.acquisition.manifest import Outcome, State, moment, outcome_of
from oiv5_d2.acquisition.partial_zips import Entry, PartialZip, fill, open_zip
from oiv5_d2.acquisition.png import check_png
from oiv5_d2.acquisition.shards import DAMAGE, open_shard, write_shard
from oiv5_d2.jobs import Advance, ignore
from oiv5_d2.problems import Kind, Problem

logger = logging.getLogger(__name__)

_COPIES_PREFIX = ".arriving-"  # of the folder where a shard's zip arrives
_TRIES = 8  # a server may lie about a length several times in a row


class ZipNeed(NamedTuple):
    """What it takes to fetch the masks that a shard does not have yet."""

    num_masks: int = 0
    num_bytes: int = 0  # to be fetched; those of an entry are about as many as the mask's own
    num_requests: int = 0
    num_missing: int = 0  # wanted masks that the zip does not have, or that are damaged in it


def extract_masks(
    bucket: Bucket, key: str, wanted: Sequence[str], shard_path: Path, advance: Advance
) -> list[Outcome]:
    """Make a shard hold the wanted masks and nothing else; return their outcomes in order.

    Args:
        bucket: has the zip. A folder is read in place, and only read.
        key: the zip.
        wanted: the masks' names, distinct and sorted.
        shard_path: the shard. What it holds already is kept; it is written only if it changes.
        advance: called with newly finished masks, bytes fetched, and masks that cannot be used.

    Raises:
        Problem: FOREIGN, what is at `shard_path` was not made by these tools.
    """
    with closing(_Work(bucket, key, wanted, shard_path, advance)) as work:
        if work.is_to_do():
            work.fetch()
        present = [name for name in wanted if name not in work.lost]
        if work.arrived or work.shard is None or work.shard.namelist() != present:
            write_shard(shard_path, present, work.read)
        if all(outcome.state is not State.FAILED for outcome in work.lost.values()):
            shutil.rmtree(work.copies_dir, ignore_errors=True)
        advance(len(wanted) - work.num_told, 0, len(work.lost))
        when, found = moment(shard_path.stat().st_mtime), work.held | work.arrived
        found = {name: it._replace(fetched=when) for name, it in found.items()} | work.lost
        return [found[name] for name in wanted]


def needed_bytes(bucket: Bucket, key: str, wanted: Sequence[str], shard_path: Path) -> ZipNeed:
    """Return what `extract_masks` would fetch, by the zip's directory, which is kept for it.

    Raises:
        Problem: as `Bucket.read` about the zip, or it is DAMAGED; FOREIGN as `extract_masks`.
    """
    with closing(_Work(bucket, key, wanted, shard_path, ignore)) as work:
        if not work.is_to_do():
            return ZipNeed()
        if found := work.unpacked:
            num_missing = len(work.missing() - found.keys())
            sizes = (path.stat().st_size for path in found.values())
            return ZipNeed(len(found), sum(sizes), 0, num_missing)
        head = bucket.head(work.key)
        try:
            zip_ = work.open(head, may_download=False)
        except Problem as problem:
            if problem.kind is not Kind.UNSUPPORTED:
                raise
            return ZipNeed(len(work.missing()), head.num_bytes, 1, 0)
        entries = work.to_fetch(zip_)
        spans = zip_.requests(entries).values()
        num_bytes = sum(span[-1].stop - span[0].start for span in spans)
        num_missing = len(work.missing() - zip_.entries.keys())
        return ZipNeed(len(entries), num_bytes, len(spans), num_missing)


def remove_unfinished(masks_dir: Path, wanted: Collection[str]) -> None:
    """Remove what was fetched for shards, except for those of these names."""
    for folder in masks_dir.glob(f"{_COPIES_PREFIX}*"):
        if folder.name.removeprefix(_COPIES_PREFIX) not in wanted:
            shutil.rmtree(folder)


class _Work:
    """What is wanted of a zip, what is there of it, and what came."""

    def __init__(
        self, bucket: Bucket, key: str, wanted: Sequence[str], shard_path: Path, advance: Advance
    ) -> None:
        self._bucket, self._wanted, self._advance = bucket, wanted, advance
        place = find_masks(bucket.folder, key, wanted) if bucket.folder else MaskPlace(key, {})
        self.key, self.unpacked = place  # masks unpacked, in place of the zip
        self._url = bucket.url(self.key)
        self._zip: PartialZip | None = None
        self._shard_path, self.shard = shard_path, open_shard(shard_path)
        self.copies_dir = shard_path.with_name(f"{_COPIES_PREFIX}{shard_path.name}")
        self.held: dict[str, Outcome] = {}  # masks that the shard has, complete
        self._content_of: dict[str, tuple[int, int]] = {}  # their CRC-32 and length
        self.arrived: dict[str, Outcome] = {}  # masks that are on disk in the zip, checked
        self.lost: dict[str, Outcome] = {}  # masks that cannot be used
        self.num_told = 0  # masks that were reported as finished
        for info in self.shard.infolist() if self.shard else ():
            with suppress(*DAMAGE):
                self.held[info.filename] = self._present(info.filename, self.read(info.filename))
                self._content_of[info.filename] = info.CRC, info.file_size

    def close(self) -> None:
        self._close_zip()
        if self.shard:
            self.shard.close()

    def is_to_do(self) -> bool:
        """Return True if a mask is not there, or the zip in a folder changed after the shard."""
        if self.missing():
            return True
        if self._bucket.folder is None or self.shard is None:
            return False
        zip_path = self._bucket.folder / self.key
        sources = [zip_path] if zip_path.exists() else self.unpacked.values()
        # Not the time of writing: a file that is moved into another's place keeps that.
        newest = max((path.stat().st_ctime_ns for path in sources), default=0)
        return newest > self._shard_path.stat().st_mtime_ns

    def fetch(self) -> None:
        """Fetch what is wanted and not there, and note what cannot be used.

        All again if the zip changes meanwhile or cannot be opened; once, what came damaged.
        """
        for number in range(0 if self.unpacked else _TRIES):
            self.lost.clear()
            try:
                head = self._bucket.head(self.key)
            except Problem as problem:  # a server that is down is not asked again
                self._lose(self.missing(), self._explained(problem))
                break
            try:
                self._take(self.open(head))
            except Problem as problem:
                self._lose(self.missing(), problem)
                continue
            reasons = {outcome.reason for outcome in self.lost.values()}
            if Kind.CHANGED in reasons and number < _TRIES - 1:
                self._close_zip()
            elif number > 0 or Kind.DAMAGED not in reasons:
                break
        if self.unpacked:
            self._take_unpacked()
        stale = [self.lost.pop(name) for name in self.held if name in self.lost]
        if stale:
            what = "%s: %d masks changed at the source, unusable; keeping the old ones (%s)"
            logger.warning(what, self._shard_path, len(stale), stale[0].detail)

    def missing(self) -> set[str]:
        """Return the wanted masks that are not there."""
        return set(self._wanted) - self.held.keys() - self.arrived.keys()

    def open(self, head: Head, may_download: bool = True) -> PartialZip:
        """Return the zip, opened if need be; a server without ranges has to send all of it.

        Raises:
            Problem: as `open_zip`; UNSUPPORTED, all of it has to come, but may not.
        """
        if self._zip is None:
            self._zip = self._open(head, may_download)
            for path in self.copies_dir.glob("*"):  # of former zips
                if path != self._zip.path:
                    path.unlink()
            if not self._bucket.folder and not self._zip.num_fetched:  # an earlier run began it
                self._check(self._zip, self.to_fetch(self._zip))
                self.lost.clear()
            self._tell(self._zip.num_fetched)
        return self._zip

    def to_fetch(self, zip_: PartialZip) -> list[Entry]:
        """Return the entries that are not there, or not with the content that the zip has now."""
        return [
            entry
            for name, entry in zip_.entries.items()
            if name not in self.arrived
            and self._content_of.get(name) != (entry.info.CRC, entry.info.file_size)
        ]

    def read(self, name: str) -> bytes:
        if name in self.unpacked:
            return self.unpacked[name].read_bytes()
        if self._zip and name in self.arrived:
            return self._zip.read(self._zip.entries[name])
        assert self.shard, "there is nothing to read"
        return self.shard.read(name)

    def _open(self, head: Head, may_download: bool) -> PartialZip:
        bucket, key, wanted = self._bucket, self.key, self._wanted
        if bucket.folder:
            return open_zip(bucket.folder / key, head, wanted)
        about = "\n".join([self._url, head.etag, str(head.num_bytes)])
        path = self.copies_dir / hashlib.sha256(about.encode()).hexdigest()[:12]
        try:
            return open_zip(path, head, wanted, bucket, key)
        except Problem as problem:
            if problem.kind is not Kind.UNSUPPORTED or not may_download:
                raise
        downloads.download(bucket, key, path, lambda _, num_bytes=0, *__: self._tell(num_bytes))
        return open_zip(path, head, wanted)

    def _close_zip(self) -> None:
        """Close the zip and drop its masks: those of two zips are not mixed."""
        if self._zip:
            self._zip.close()
        self._zip = None
        self.arrived.clear()

    def _take(self, zip_: PartialZip) -> None:
        """Fetch what is wanted and not there."""
        absent = self.missing() - zip_.entries.keys() - zip_.refused.keys()
        self._lose(absent, self._not_in(zip_.archive.namelist(), absent))
        for name, refusal in zip_.refused.items():
            outcome = outcome_of(name, refusal, self._url)
            self.lost[name] = outcome._replace(state=State.CORRUPT)
        entries = self.to_fetch(zip_)
        if zip_.is_whole:
            for entry in entries:
                self._check(zip_, [entry])
                self._tell(entry.stop - entry.start)
            return
        requests = zip_.requests(entries)
        for get, data, problem in self._bucket.read_many(requests):
            if problem:
                self._lose((entry.name for entry in requests[get]), problem)
            else:
                fill(zip_.file, get.start, data)
                self._check(zip_, requests[get])
                self._tell(len(data))

    def _not_in(self, names: Sequence[str], absent: Collection[str]) -> Problem:
        """Return what is wrong with a zip that has entries of these names, but not those wanted."""
        if other := other_format(names, absent):
            return Problem(Kind.MISMATCH, self._url, f"not PNG: the zip has {other}")
        example = f", such as {names[0]}" if names else ""
        detail = f"not among the {len(names)} files in the zip{example}"
        return Problem(Kind.ABSENT, self._url, detail)

    def _explained(self, problem: Problem) -> Problem:
        """Return the problem of a zip that is not there, with what a folder has in its place."""
        folder = self._bucket.folder
        if not folder or problem.kind is not Kind.ABSENT:
            return problem
        kind, detail = unusable_masks(folder, self.key, self._wanted)
        return Problem(kind, self._url, detail)

    def _take_unpacked(self) -> None:
        """Take the masks that somebody unpacked, and note which are not there or damaged."""
        detail = f"the zip is not there, nor this mask where {len(self.unpacked)} are unpacked"
        self._lose(self.missing() - self.unpacked.keys(), Problem(Kind.ABSENT, self._url, detail))
        for name, path in self.unpacked.items():
            try:
                content = path.read_bytes()
                check_png(content)
            except DAMAGE as error:
                self._lose([name], Problem(Kind.DAMAGED, path, line_of(error)))
            else:
                self.arrived[name] = self._present(name, content)
        self._tell(0)

    def _check(self, zip_: PartialZip, entries: Iterable[Entry]) -> None:
        """Note which masks arrived, and which are damaged."""
        for entry in entries:
            try:
                content = zip_.read(entry)
                check_png(content)
            except DAMAGE as error:
                self._lose([entry.name], Problem(Kind.DAMAGED, self._url, line_of(error)))
            else:
                self.arrived[entry.name] = self._present(entry.name, content)

    def _lose(self, names: Iterable[str], problem: Problem) -> None:
        self.lost |= {name: outcome_of(name, problem, self._url) for name in names}

    def _present(self, name: str, data: bytes) -> Outcome:
        return Outcome(name, State.PRESENT, None, len(data), blake3(data).hexdigest(), self._url)

    def _tell(self, num_bytes: int) -> None:
        """Report finished masks, each once, even if a changed zip is started over."""
        num_new = max(len(self.arrived) - self.num_told, 0)
        self.num_told += num_new
        self._advance(num_new, num_bytes, 0)
