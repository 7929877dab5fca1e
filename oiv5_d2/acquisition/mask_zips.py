"""The wanted masks out of the release's zips, read by range, into smaller zips of the same names.

What was fetched of a zip stays beside the shard until all wanted masks are there, so that a killed
run fetches nothing twice.
"""

import hashlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

from blake3 import blake3

from oiv5_d2.acquisition import downloads
from oiv5_d2.acquisition.buckets import Bucket, Head
from oiv5_d2.acquisition.manifest import Outcome, State, moment, outcome_of
from oiv5_d2.acquisition.partial_zips import Entry, PartialZip, open_zip
from oiv5_d2.acquisition.shards import DAMAGE, check_png, line_of, open_shard, write_shard
from oiv5_d2.jobs import Advance, ignore
from oiv5_d2.problems import Kind, Problem

logger = logging.getLogger(__name__)

_COPY_PREFIX = ".arriving-"  # of a zip that is read by range
_WHOLE_PREFIX = ".whole-"  # of one from a server that has no ranges
_TRIES = 3


class ZipNeed(NamedTuple):
    """What it takes to fetch the masks that a shard does not have yet."""

    num_masks: int
    num_bytes: int
    """To be fetched; those of an entry are about as many as the mask's own."""
    num_requests: int
    num_missing: int
    """Wanted masks that the zip does not have, or that are damaged in it."""


def extract_masks(
    bucket: Bucket, key: str, wanted: Sequence[str], shard_path: Path, advance: Advance
) -> list[Outcome]:
    """Make a shard hold the wanted masks and nothing else; what it holds already is kept.

    Args:
        bucket: has the zip. A folder is read in place, and only read.
        key: the zip.
        wanted: the masks' names, distinct and sorted.
        shard_path: the shard. It is not written if it need not change.
        advance: called with newly finished masks, bytes fetched, and masks that cannot be used.

    Returns:
        each wanted mask's outcome, in order.

    Raises:
        Problem: FOREIGN, what is at `shard_path` was not made by these tools.
        OSError: the folder of `shard_path` cannot be written.
    """
    with _Work(bucket, key, wanted, shard_path, advance) as work:
        if work.is_to_do():
            work.fetch()
        present = [name for name in wanted if name not in work.lost]
        if work.arrived or work.shard is None or work.shard.namelist() != present:
            write_shard(shard_path, present, work.read)
        if all(outcome.state is not State.FAILED for outcome in work.lost.values()):
            work.remove_copies()
        advance(len(wanted) - work.num_told, 0, len(work.lost))
        found, when = work.held | work.arrived, moment(shard_path.stat().st_mtime)
        return [
            work.lost.get(name) or found[name]._replace(source=work.url, fetched=when)
            for name in wanted
        ]


def needed_bytes(bucket: Bucket, key: str, wanted: Sequence[str], shard_path: Path) -> ZipNeed:
    """Return what `extract_masks` would fetch, by the zip's directory, which is kept for it.

    Raises:
        Problem: ABSENT, REFUSED, UNREACHABLE, CHANGED or DAMAGED, about the zip; FOREIGN as
            `extract_masks`.
    """
    with _Work(bucket, key, wanted, shard_path, ignore) as work:
        if not work.is_to_do():
            return ZipNeed(0, 0, 0, 0)
        try:
            work.open(may_download=False)
        except Problem as problem:
            if problem.kind is not Kind.UNSUPPORTED:
                raise
            return ZipNeed(len(wanted) - len(work.held), bucket.head(key).num_bytes, 1, 0)
        entries = work.to_fetch()
        spans = work.zip.requests(entries).values() if work.is_fetched() else []
        num_bytes = sum(span[-1].stop - span[0].start for span in spans)
        num_missing = len(set(wanted) - work.zip.entries.keys() - work.held.keys())
        return ZipNeed(len(entries), num_bytes, len(spans), num_missing)


def remove_unfinished(masks_dir: Path, wanted: Iterable[str]) -> None:
    """Remove what was fetched for shards, except for those of these names."""
    endings = tuple(f"-{name}" for name in wanted)
    for path in _copies(masks_dir):
        if not path.name.endswith(endings):
            path.unlink()


def _copies(masks_dir: Path) -> Iterator[Path]:
    for prefix in (_COPY_PREFIX, _WHOLE_PREFIX, downloads.DOWNLOAD_PREFIX):
        yield from masks_dir.glob(f"{prefix}*")


class _Work:
    """What is wanted of a zip, what is there of it, and what came; a context manager."""

    def __init__(
        self, bucket: Bucket, key: str, wanted: Sequence[str], shard_path: Path, advance: Advance
    ) -> None:
        self.url = bucket.url(key)
        self._bucket, self._key, self._wanted, self._advance = bucket, key, wanted, advance
        self._zip: PartialZip | None = None
        self._shard_path, self.shard = shard_path, open_shard(shard_path)
        self.held: dict[str, Outcome] = {}
        """Masks that the shard has, complete."""
        self.arrived: dict[str, Outcome] = {}
        """Masks that are on disk in `zip`, checked."""
        self.lost: dict[str, Outcome] = {}
        """Masks that cannot be used."""
        self.num_told = 0
        """Masks that were reported as finished."""
        for name in set(self.shard.namelist()).intersection(wanted) if self.shard else ():
            with suppress(*DAMAGE):
                self.held[name] = _present(name, self.read(name))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        if self.shard:
            self.shard.close()

    @property
    def zip(self) -> PartialZip:
        """The zip that is open."""
        assert self._zip, "no zip is open"
        return self._zip

    def is_to_do(self) -> bool:
        """Return True if a mask is not there, or the zip in a folder changed after the shard."""
        if len(self.held) < len(self._wanted):
            return True
        if self._bucket.folder is None or self.shard is None:
            return False
        path = self._bucket.folder / self._key
        # Not the time of writing: a file that is moved into another's place keeps that.
        return path.exists() and path.stat().st_ctime_ns > self._shard_path.stat().st_mtime_ns

    def is_fetched(self) -> bool:
        """Return True if masks are read from the bucket, not from a zip downloaded whole."""
        return not self.zip.is_whole or self._bucket.folder is not None

    def read(self, name: str) -> bytes:
        """Return a mask that is there."""
        if name in self.arrived:
            return self.zip.read(self.zip.entries[name])
        assert self.shard, "there is nothing to read"
        return self.shard.read(name)

    def to_fetch(self) -> list[Entry]:
        """Return the entries that are not there, or not with the content that the zip has now."""
        return [
            entry
            for name, entry in self.zip.entries.items()
            if name not in self.arrived and not self._is_held(entry)
        ]

    def fetch(self) -> None:
        """Fetch what is wanted and not there, and note what cannot be used.

        Everything again if the zip changes meanwhile, and once what came damaged.
        """
        for number in range(_TRIES):
            self._try()
            reasons = {outcome.reason for outcome in self.lost.values()}
            if Kind.CHANGED not in reasons and (number > 0 or Kind.DAMAGED not in reasons):
                break
        stale = [self.lost.pop(name) for name in self.held if name in self.lost]
        if stale:
            what = (
                "%s: %d masks changed at the source but cannot be used; keeping the old ones (%s)"
            )
            logger.warning(what, self._shard_path, len(stale), stale[0].detail)

    def open(self, may_download: bool = True) -> None:
        """Open the zip; a server without ranges has to send it whole first.

        Raises:
            Problem: as `open_zip`; UNSUPPORTED, it may not be downloaded, but has to be.
        """
        bucket, key, wanted = self._bucket, self._key, self._wanted
        head = bucket.head(key)
        if bucket.folder:
            return self._enter(open_zip(bucket.folder / key, head, wanted))
        whole = self._copy_path(_WHOLE_PREFIX, head)
        if not whole.exists():
            copy = self._copy_path(_COPY_PREFIX, head)
            try:
                return self._enter(open_zip(copy, head, wanted, bucket, key))
            except Problem as problem:
                if problem.kind is not Kind.UNSUPPORTED or not may_download:
                    raise
            downloads.download(
                bucket, key, whole, lambda _, num_bytes=0, *__: self._tell(num_bytes)
            )
        return self._enter(open_zip(whole, head, wanted))

    def remove_copies(self, kept: Path | None = None) -> None:
        """Remove all copies of the zip but one."""
        for path in _copies(self._shard_path.parent):
            if path.name.endswith(f"-{self._shard_path.name}") and path != kept:
                path.unlink()

    def _is_held(self, entry: Entry) -> bool:
        if entry.name not in self.held or self.shard is None:
            return False
        info = self.shard.getinfo(entry.name)
        return (info.CRC, info.file_size) == (entry.info.CRC, entry.info.file_size)

    def _copy_path(self, prefix: str, head: Head) -> Path:
        """Return the path of a copy of this version of the zip."""
        about = "\n".join([self.url, head.etag, str(head.num_bytes)])
        fingerprint = hashlib.sha256(about.encode()).hexdigest()[:12]
        return self._shard_path.with_name(f"{prefix}{fingerprint}-{self._shard_path.name}")

    def _enter(self, zip_: PartialZip) -> None:
        """Go on with a zip; copies of former ones are removed."""
        self._zip = zip_
        self.remove_copies(zip_.path)
        if not zip_.is_whole and not zip_.num_fetched:  # an earlier run began it
            self._check(self.to_fetch())
        self._tell(zip_.num_fetched)

    def _close(self) -> None:
        """Close the zip and drop its masks: those of two zips are not mixed."""
        if self._zip:
            self._zip.close()
        self._zip = None
        self.arrived.clear()

    def _try(self) -> None:
        if any(outcome.reason is Kind.CHANGED for outcome in self.lost.values()):
            self._close()
        self.lost.clear()
        try:
            if self._zip is None:
                self.open()
        except Problem as problem:
            names = set(self._wanted) - self.held.keys()
            self.lost = {name: outcome_of(name, problem, self.url) for name in names}
        else:
            self._take()

    def _take(self) -> None:
        """Fetch what is wanted and not there from the zip that is open."""
        for name in set(self._wanted) - self.zip.entries.keys() - self.held.keys():
            missing = Outcome(name, State.MISSING, Kind.ABSENT, source=self.url)
            self.lost[name] = missing._replace(detail="the zip has no such entry")
        for name, facts in self.zip.refused.items():
            self.lost[name] = self._corrupt(name, Kind.DAMAGED, facts)
        entries = self.to_fetch()
        if self.zip.is_whole:
            for entry in entries:
                self.lost |= self._check([entry])
                self._tell(entry.stop - entry.start if self.is_fetched() else 0)
            return
        requests = self.zip.requests(entries)
        for get, data, problem in self._bucket.read_many(requests):
            names = [entry.name for entry in requests[get]]
            if problem:
                self.lost |= {name: outcome_of(name, problem, self.url) for name in names}
            else:
                self.zip.fill(get.start, data)
                self.lost |= self._check(requests[get])
                self._tell(len(data))

    def _check(self, entries: Iterable[Entry]) -> dict[str, Outcome]:
        """Take note of the masks that arrived; return the damaged ones."""
        bad: dict[str, Outcome] = {}
        for entry in entries:
            try:
                content = self.zip.read(entry)
                check_png(content)
            except DAMAGE as error:
                kind = Kind.UNSUPPORTED if isinstance(error, RuntimeError) else Kind.DAMAGED
                bad[entry.name] = self._corrupt(entry.name, kind, line_of(error))
            else:
                self.arrived[entry.name] = _present(entry.name, content)
        return bad

    def _corrupt(self, name: str, reason: Kind, detail: str) -> Outcome:
        return Outcome(name, State.CORRUPT, reason, source=self.url, detail=detail)

    def _tell(self, num_bytes: int) -> None:
        """Report finished masks, each once, even if a changed zip is started over."""
        num_new = max(len(self.arrived) - self.num_told, 0)
        self.num_told += num_new
        self._advance(num_new, num_bytes, 0)


def _present(name: str, content: bytes) -> Outcome:
    checksum = blake3(content).hexdigest()
    return Outcome(name, State.PRESENT, None, len(content), checksum)
