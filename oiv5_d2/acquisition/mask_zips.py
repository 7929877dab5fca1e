"""The wanted masks out of the release's zips, read by range, into smaller zips of the same names.

What was fetched of a zip stays beside the shard until all wanted masks are there, so that a killed
run fetches nothing twice.
"""

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from oiv5_d2.acquisition import downloads
from oiv5_d2.acquisition.buckets import Bucket, Get, Head
from oiv5_d2.acquisition.manifest import Outcome, State, moment, outcome_of
from oiv5_d2.acquisition.partial_zips import (
    Entry,
    PartialZip,
    Span,
    open_zip,
)
from oiv5_d2.acquisition.shards import DAMAGE, Held, Shard, check_png, line_of, write_shard
from oiv5_d2.jobs import Advance
from oiv5_d2.problems import Kind, Problem

logger = logging.getLogger(__name__)

_COPY_PREFIX = ".arriving-"  # of a zip that is read by range
_WHOLE_PREFIX = ".whole-"  # of one from a server that has no ranges
_TRIES = 3
_PASSING = {(State.FAILED, Kind.CHANGED), (State.FAILED, Kind.UNSUPPORTED)}


class ZipNeed(NamedTuple):
    """What it takes to fetch the masks that a shard does not have yet."""

    num_masks: int
    num_bytes: int
    """To be fetched; those of an entry are about as many as the mask's own."""
    num_requests: int
    num_missing: int
    """Wanted masks that the zip does not have, or that are refused."""


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
        Problem: FOREIGN, what lies at `shard_path` was not made by these tools.
        OSError: the folder of `shard_path` cannot be written.
    """
    with Shard(shard_path, wanted) as shard, _Work(bucket, key, wanted, shard, advance) as work:
        absences = _without_held(work, _fetch(work)) if work.is_to_do() else {}
        present = [name for name in wanted if name not in absences]
        if shard.names != present or work.arrived:
            write_shard(shard_path, present, work.read)
        if not any(outcome.state is State.FAILED for outcome in absences.values()):
            work.forget_copies()
        work.tell(wanted, 0, len(absences))
        held = shard.held | work.arrived
        origin = bucket.url(key), moment(shard_path.stat().st_mtime)
        return [
            absences.get(name) or Outcome(name, State.PRESENT, None, *held[name][1:], *origin)
            for name in wanted
        ]


def needed_bytes(bucket: Bucket, key: str, wanted: Sequence[str], shard_path: Path) -> ZipNeed:
    """Return what `extract_masks` would fetch, by the zip's directory, which is kept for it.

    Raises:
        Problem: ABSENT, REFUSED, UNREACHABLE, CHANGED or DAMAGED, about the zip; FOREIGN as
            `extract_masks`.
    """

    def ignore(num_done: int, num_bytes: int = 0, num_failed: int = 0, /) -> None:
        pass

    with Shard(shard_path, wanted) as shard, _Work(bucket, key, wanted, shard, ignore) as work:
        if not work.is_to_do():
            return ZipNeed(0, 0, 0, 0)
        head = bucket.head(key)
        try:
            _open(work, head, may_download=False)
        except Problem as problem:
            if problem.kind is not Kind.UNSUPPORTED:
                raise
            return ZipNeed(len(set(wanted) - shard.held.keys()), head.num_bytes, 1, 0)
        lacking = work.lacking()
        spans = work.zip.spans(lacking)
        num_missing = len(set(wanted) - work.zip.entries.keys() - shard.held.keys())
        if not work.is_fetched():
            return ZipNeed(len(lacking), 0, 0, num_missing)
        num_bytes = sum(span.stop - span.start for span in spans)
        return ZipNeed(len(lacking), num_bytes, len(spans), num_missing)


def remove_unfinished(masks_dir: Path, wanted: Iterable[str]) -> None:
    """Remove what was fetched for shards, except for those of these names."""
    endings = tuple(f"-{name}" for name in wanted)
    for path in _copies(masks_dir):
        if not path.name.endswith(endings):
            path.unlink()


@dataclass
class _Work:
    """What `extract_masks` was asked for, and what has arrived; a context manager."""

    bucket: Bucket
    key: str
    wanted: Sequence[str]
    shard: Shard
    advance: Advance
    arrived: dict[str, Held] = field(default_factory=dict)
    """Masks that are on disk in `zip`, checked."""
    told: set[str] = field(default_factory=set)
    _zip: PartialZip | None = None

    def __enter__(self) -> "_Work":
        return self

    def __exit__(self, *_: object) -> None:
        self.leave_zip()

    @property
    def zip(self) -> PartialZip:
        """The zip that is open."""
        assert self._zip, "no zip is open"
        return self._zip

    def is_to_do(self) -> bool:
        """Return True if a mask is not there, or the zip in a folder changed after the shard."""
        if not self.shard.held.keys() >= set(self.wanted):
            return True
        if self.bucket.folder is None or self.shard.names is None:
            return False
        path = self.bucket.folder / self.key
        # Not the time of writing: a file that is moved into another's place keeps that.
        return path.exists() and path.stat().st_ctime_ns > self.shard.path.stat().st_mtime_ns

    def is_fetched(self) -> bool:
        """Return True if masks are read from the bucket, not from a zip downloaded whole."""
        return not self.zip.is_whole or self.bucket.folder is not None

    @property
    def is_open(self) -> bool:
        """Return True if a zip is open."""
        return self._zip is not None

    def enter_zip(self, zip_: PartialZip) -> None:
        """Go on with a zip; copies of former ones are removed."""
        self._zip = zip_
        self.forget_copies(zip_.path)
        if not zip_.is_whole and not zip_.num_fetched:  # an earlier run began it
            self.check(self.lacking())
        self.tell(self.arrived, zip_.num_fetched)

    def leave_zip(self) -> None:
        """Close the zip and drop its masks: those of two zips are not mixed."""
        if self._zip:
            self._zip.close()
        self._zip = None
        self.arrived.clear()

    def lacking(self) -> list[Entry]:
        """Return the entries that are not there, or not with the content that the zip has now."""
        held = {name: it[:2] for name, it in (self.shard.held | self.arrived).items()}
        entries = self.zip.entries.items()
        return [it for name, it in entries if held.get(name) != (it.info.CRC, it.info.file_size)]

    def check(self, entries: Iterable[Entry]) -> dict[str, Outcome]:
        """Take note of the masks that arrived; return the damaged ones."""
        absences: dict[str, Outcome] = {}
        for entry in entries:
            try:
                content = self.zip.read(entry)
                check_png(content)
            except DAMAGE as error:
                problem = Problem(Kind.DAMAGED, entry.name, line_of(error))
                absences |= self.absent([entry.name], problem)
            else:
                self.arrived[entry.name] = Held.of(content)
        return absences

    def read(self, name: str) -> bytes:
        """Return a mask that is there."""
        return (
            self.zip.read(self.zip.entries[name]) if name in self.arrived else self.shard.read(name)
        )

    def absent(self, names: Iterable[str], problem: Problem) -> dict[str, Outcome]:
        """Return the outcomes of masks that cannot be used because of a problem."""
        source = self.bucket.url(self.key)
        return {name: outcome_of(name, problem, source) for name in names}

    def without(self, problem: Problem) -> dict[str, Outcome]:
        """Return the outcomes of all masks that are not there: the zip has a problem."""
        names = set(self.wanted) - self.shard.held.keys() - self.arrived.keys()
        return self.absent(names, problem)

    def tell(self, names: Iterable[str], num_bytes: int, num_failed: int = 0) -> None:
        """Report finished masks, each once, even if a changed zip is started over."""
        new = set(names) - self.told
        self.told.update(new)
        self.advance(len(new), num_bytes, num_failed)

    def tell_bytes(self, num_done: int, num_bytes: int = 0, num_failed: int = 0, /) -> None:
        """Report bytes of a zip that is downloaded whole."""
        self.tell((), num_bytes)

    def path_of(self, prefix: str, head: Head) -> Path:
        """Return the path of a copy of this version of the zip."""
        about = "\n".join([self.bucket.url(self.key), head.etag, str(head.num_bytes)])
        fingerprint = hashlib.sha256(about.encode()).hexdigest()[:12]
        return self.shard.path.with_name(f"{prefix}{fingerprint}-{self.shard.path.name}")

    def forget_copies(self, kept: Path | None = None) -> None:
        """Remove all copies of the zip but one."""
        for path in _copies(self.shard.path.parent):
            if path.name.endswith(f"-{self.shard.path.name}") and path != kept:
                path.unlink()


def _without_held(work: _Work, absences: Mapping[str, Outcome]) -> dict[str, Outcome]:
    """Leave out the masks that the shard has, though the zip's newer ones cannot be used."""
    stale = [outcome for name, outcome in absences.items() if name in work.shard.held]
    if stale:
        what = "%s: %d masks changed at the source but cannot be used; keeping the old ones (%s)"
        logger.warning(what, work.shard.path, len(stale), stale[0].detail)
    return {name: it for name, it in absences.items() if name not in work.shard.held}


def _copies(masks_dir: Path) -> Iterator[Path]:
    for prefix in (_COPY_PREFIX, _WHOLE_PREFIX, downloads.DOWNLOAD_PREFIX):
        yield from masks_dir.glob(f"{prefix}*")


def _fetch(work: _Work) -> dict[str, Outcome]:
    """Fetch what is wanted and not there; return what cannot be used."""
    is_changed = False
    for num_before in range(_TRIES):
        if is_changed:
            work.leave_zip()
        try:
            head = None if work.is_open else work.bucket.head(work.key)
        except Problem as problem:  # a server that is down is not asked again
            return work.without(problem)
        try:
            if head:
                _open(work, head)
            absences = _take(work)
        except Problem as problem:
            absences = work.without(problem)
        states = {(outcome.state, outcome.reason) for outcome in absences.values()}
        is_changed = (State.FAILED, Kind.CHANGED) in states
        is_first_damage = num_before == 0 and (State.CORRUPT, Kind.DAMAGED) in states
        passing = _PASSING if work.is_open else _PASSING | {(State.FAILED, Kind.UNREACHABLE)}
        if not is_first_damage and states.isdisjoint(passing):
            break
    return absences


def _open(work: _Work, head: Head, may_download: bool = True) -> None:
    """Open the zip; a server without ranges has to send it whole first."""
    if work.bucket.folder is not None:
        return work.enter_zip(open_zip(work.bucket.folder / work.key, head, work.wanted))
    whole = work.path_of(_WHOLE_PREFIX, head)
    if not whole.exists():
        unsupported = _open_copy(work, head)
        if not unsupported:
            return None
        if not may_download:
            raise unsupported
        downloads.download(work.bucket, work.key, whole, work.tell_bytes)
    try:
        return work.enter_zip(open_zip(whole, head, work.wanted))
    except Problem:
        whole.unlink()
        raise


def _open_copy(work: _Work, head: Head) -> Problem | None:
    """Open a copy that ranges fill; return the problem of a server that has none."""
    path, problem = work.path_of(_COPY_PREFIX, head), None
    for _ in range(2):  # it may be an error that passes
        try:
            work.enter_zip(open_zip(path, head, work.wanted, work.bucket, work.key))
            return None
        except Problem as caught:
            if caught.kind is not Kind.UNSUPPORTED:
                raise
            problem = caught
    return problem


def _take(work: _Work) -> dict[str, Outcome]:
    """Fetch what is wanted and not there; return what cannot be used."""
    absences: dict[str, Outcome] = {}
    for name in set(work.wanted) - work.zip.entries.keys() - work.shard.held.keys():
        problem = work.zip.refused.get(name)
        state = State.CORRUPT if problem else State.MISSING
        problem = problem or Problem(Kind.ABSENT, name, "the zip has no such entry")
        absences[name] = work.absent([name], problem)[name]._replace(state=state)
    for span, problem in _bring(work, work.zip.spans(work.lacking())):
        names = [entry.name for entry in span.entries]
        if problem:
            absences |= work.absent(names, problem)
        else:
            bad = work.check(span.entries)
            absences |= bad
            num_bytes = span.stop - span.start if work.is_fetched() else 0
            work.tell([name for name in names if name not in bad], num_bytes)
    return absences


def _bring(work: _Work, spans: Sequence[Span]) -> Iterator[tuple[Span, Problem | None]]:
    """Yield each span once its bytes are on disk, or with why they are not."""
    if work.zip.is_whole:
        yield from ((span, None) for span in spans)
        return
    span_at = {span.start: span for span in spans}
    gets = (Get(work.key, span.start, span.stop, work.zip.head.etag) for span in spans)
    for answer in work.bucket.read_many(gets):
        if not answer.problem:
            work.zip.fill(answer.get.start, answer.data)
        yield span_at[answer.get.start], answer.problem
