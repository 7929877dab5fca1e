"""The wanted masks out of the release's zips, into smaller zips of the same names.

A zip of a remote release is read by range, its wanted parts alone, or fetched whole where that is
less work. What has come lies in a spool until all is there, so that a run which is killed asks for
nothing twice.
"""

from collections import ChainMap
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from oiv5_d2.dataset.central_directory import Directory, Entry, read_directory
from oiv5_d2.dataset.checks import check_png
from oiv5_d2.dataset.downloads import Download, remove_arrivals
from oiv5_d2.dataset.entries import unpack
from oiv5_d2.dataset.ranges import Mode, Span, ZipPlan, coalesce, how
from oiv5_d2.dataset.shards import Shard, open_shard, write_shard
from oiv5_d2.dataset.spool import Held, Spool
from oiv5_d2.dataset.stores import Answer, ChangedError, FolderStore, Get, Store, StoreError
from oiv5_d2.openimages import release

PRESENT, MISSING, CORRUPT, FAILED = "present", "missing", "corrupt", "failed"
_BATCH_BYTES = 8 << 20  # unpacked masks in memory

# Called with the numbers of newly finished masks, of bytes that came, and of failures.
Advance = Callable[[int, int, int], object]


class Outcome(NamedTuple):
    """What became of one wanted file, and why."""

    path: str
    state: str
    """"present"; "missing": the source does not have it; "corrupt": what came is damaged;
    "failed": it could not be had now, and a retry may help."""
    reason: str = ""
    num_bytes: int = 0
    checksum: str = ""
    """SHA-256 of its bytes as 64 hex digits; "" where it is not there."""


class _Progress:
    """Tells of each mask once, though a zip that changed is begun again."""

    def __init__(self, advance: Advance) -> None:
        self._advance = advance
        self._told: set[str] = set()

    def tell(self, names: Iterable[str], num_bytes: int, lacking: Collection[str]) -> None:
        """Tell of masks that are finished, of bytes that came, and of which can not be had."""
        new = set(names) - self._told
        self._told |= new
        self._advance(len(new), num_bytes, len(new.intersection(lacking)))


@dataclass(frozen=True)
class _Work:
    """What `extract_masks` was asked for, and what is there."""

    store: Store
    zip_file: release.ReleaseFile
    wanted: Sequence[str]
    shard_path: Path
    keep_zip_dir: Path | None
    mode: Mode
    spool: Spool
    held: Mapping[str, Held]
    """Of the spool and the former zip."""
    progress: _Progress

    @property
    def tail_path(self) -> Path:
        """Where the zip's central directory is kept until all is there."""
        return self.shard_path.with_name(f".directory-{self.shard_path.stem}")

    @property
    def whole_path(self) -> Path:
        """Where a zip that is fetched whole lies until all is taken from it."""
        return self.shard_path.with_name(f".whole-{self.shard_path.name}")

    @property
    def kept_path(self) -> Path | None:
        """Where a zip that was fetched whole is kept."""
        return self.keep_zip_dir and self.keep_zip_dir / Path(self.zip_file.path).name

    def is_held(self, entry: Entry) -> bool:
        """Whether a mask is there already, and still the one that the zip has."""
        held = self.held.get(entry.name)
        return held is not None and (held.crc, held.num_bytes) == (entry.crc, entry.num_bytes)


class _Origin(NamedTuple):
    """A zip that masks are read from."""

    store: Store
    key: str
    directory: Directory


def extract_masks(
    store: Store,
    split: str,
    digit: str,
    wanted: Sequence[str],
    shard_path: Path,
    advance: Advance,
    *,
    keep_zip_dir: Path | None = None,
    mode: Mode = "auto",
) -> list[Outcome]:
    """Make a zip hold the wanted masks and nothing else; what it already holds is kept.

    Args:
        store: the annotations bucket.
        split: the official split.
        digit: the first hex digit of the images' ids.
        wanted: the masks' names, distinct and sorted.
        shard_path: the zip to make. It is not written if it need not change.
        advance: called with the numbers of newly finished masks, of bytes that came, and of those
            masks that could not be had.
        keep_zip_dir: where zips that were fetched whole are kept, and are looked for first; None to
            drop them.
        mode: whether the zip is read by "range" or "whole"; "auto" decides, see `how`.

    Returns:
        each wanted mask's outcome, in order.

    Raises:
        ValueError: `shard_path` is a zip that was not made here.
        OSError: the folder of `shard_path` can not be written.
    """
    shard = open_shard(shard_path, wanted)
    with Spool(shard_path.with_name(f".spool-{shard_path.stem}")) as spool:
        held = ChainMap(spool.held, shard.held if shard else {})
        zip_file, progress = release.mask_zip(split, digit), _Progress(advance)
        work = _Work(store, zip_file, wanted, shard_path, keep_zip_dir, mode, spool, held, progress)
        lacking = _bring(work) if any(name not in held for name in wanted) else {}
        present = [name for name in wanted if name not in lacking]
        if shard is None or shard.names != present or not spool.held.keys().isdisjoint(present):
            write_shard(shard_path, present, _reader(spool, shard))
    _tidy(work, lacking.values())
    progress.tell(wanted, 0, lacking)
    return [lacking.get(name) or _present(name, held[name]) for name in wanted]


def _present(name: str, held: Held) -> Outcome:
    return Outcome(name, PRESENT, "", held.num_bytes, held.checksum)


def _reader(spool: Spool, shard: Shard | None) -> Callable[[str], bytes]:
    def read(name: str) -> bytes:
        return shard.read(name) if shard and name not in spool.held else spool.read(name)

    return read


def _tidy(work: _Work, lacking: Iterable[Outcome]) -> None:
    """Remove what only an unfinished zip needs; what a retry would need stays."""
    states = {outcome.state for outcome in lacking}
    work.spool.remove()
    if FAILED in states:
        return
    if work.kept_path and work.whole_path.exists() and CORRUPT not in states:
        work.kept_path.parent.mkdir(parents=True, exist_ok=True)
        work.whole_path.replace(work.kept_path)
    for path in (work.whole_path, work.tail_path):
        path.unlink(missing_ok=True)
    remove_arrivals(work.whole_path)


def _bring(work: _Work) -> dict[str, Outcome]:
    """Bring what is wanted and not held into the spool; return what can not be had."""
    key = work.zip_file.path
    try:
        return _find_and_take(work)
    except FileNotFoundError:
        state, reason = MISSING, f"{key} is not in the release"
    except StoreError as error:
        state, reason = FAILED, f"{key}: {error}"
    except ValueError as error:
        state, reason = CORRUPT, f"{key}: {error}"
    return {name: Outcome(name, state, reason) for name in work.wanted if name not in work.held}


def _find_and_take(work: _Work) -> dict[str, Outcome]:
    """Begin anew once if the zip becomes another one; what is the same in both is held."""
    with suppress(ChangedError):
        return _take(work, _find(work))
    return _take(work, _find(work))


def _find(work: _Work) -> _Origin:
    """Return the zip to read from, fetched whole where that is better."""
    for path in (work.kept_path, work.whole_path):
        if path and path.exists():
            return _local(work, path)
    key = work.zip_file.path
    if isinstance(work.store, FolderStore):
        return _Origin(work.store, key, read_directory(work.store, key, work.wanted))
    if work.mode != "whole":
        directory = read_directory(work.store, key, work.wanted, work.tail_path)
        # To turn to the whole zip now would be to fetch again what is in the spool.
        if work.spool.held or _plan(work, directory).by_range:
            return _Origin(work.store, key, directory)
    _download(work)
    return _local(work, work.whole_path)


def _plan(work: _Work, directory: Directory) -> ZipPlan:
    lacking = [entry.name for entry in directory.entries.values() if not work.is_held(entry)]
    return how(directory, lacking, work.mode)


def _local(work: _Work, path: Path) -> _Origin:
    store = FolderStore(path.parent)
    return _Origin(store, path.name, read_directory(store, path.name, work.wanted))


def _download(work: _Work) -> None:
    """Fetch the whole zip; the real release's has to have the MD5 of the file table."""
    download = Download(work.store, work.zip_file.path, work.whole_path)
    num_held = download.num_resumed
    for piece in download.pieces():
        num_new = max(0, len(piece) - num_held)
        num_held -= len(piece) - num_new
        work.progress.tell([], num_new, {})
    # A mirror of a part of the release has other zips of the same names.
    is_real = download.num_bytes == work.zip_file.num_bytes
    download.finish(work.zip_file.md5 if is_real else None)


def _take(work: _Work, origin: _Origin) -> dict[str, Outcome]:
    """Read what is wanted and not held out of a zip; return what can not be had."""
    entries, refused = origin.directory.entries, origin.directory.refused
    lacking = {
        name: Outcome(name, CORRUPT, refused[name])
        if name in refused
        else Outcome(name, MISSING, "the zip has no such entry")
        for name in work.wanted
        if name not in entries and name not in work.held
    }
    spans = coalesce(entry for entry in entries.values() if not work.is_held(entry))
    by_start = {span.start: span for span in spans}
    etag = origin.directory.etag
    gets = (Get(origin.key, span.start, span.stop, etag) for span in spans)
    for answer in origin.store.read_many(gets):
        bad = _keep(work, by_start[answer.get.start], answer)
        names = [entry.name for entry in by_start[answer.get.start].entries]
        num_bytes = len(answer.data) if origin.store is work.store else 0
        work.progress.tell(names, num_bytes, bad)
        lacking |= bad
    return lacking


def _keep(work: _Work, span: Span, answer: Answer) -> dict[str, Outcome]:
    """Put a span's masks into the spool; return those that can not be had."""
    if isinstance(answer.error, ChangedError):
        raise answer.error
    if answer.error:
        is_gone = isinstance(answer.error, FileNotFoundError)
        state = MISSING if is_gone else FAILED
        reason = f"{work.zip_file.path} is not in the release" if is_gone else ""
        reason = reason or f"{work.zip_file.path}: {answer.error}"
        return {entry.name: Outcome(entry.name, state, reason) for entry in span.entries}
    lacking: dict[str, Outcome] = {}
    for batch in _batches(_unpack(span, answer.data, lacking)):
        work.spool.add(batch)
    return lacking


def _unpack(span: Span, data: bytes, lacking: dict[str, Outcome]) -> Iterator[tuple[str, bytes]]:
    """Yield the masks of a span that are whole; note the others."""
    for entry in span.entries:
        try:
            content = unpack(entry, data[entry.start - span.start : entry.stop - span.start])
            check_png(content)
        except ValueError as error:
            lacking[entry.name] = Outcome(entry.name, CORRUPT, str(error))
        else:
            yield entry.name, content


def _batches(masks: Iterable[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    """Gather masks to be written together; deflated ones may be far larger than their span."""
    batch, num_bytes = [], 0
    for mask in masks:
        batch.append(mask)
        num_bytes += len(mask[1])
        if num_bytes > _BATCH_BYTES:
            yield batch
            batch, num_bytes = [], 0
    yield batch
