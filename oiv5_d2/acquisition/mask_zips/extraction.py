"""The wanted masks out of the release's zips, into smaller zips of the same names.

A zip of a remote release is read by range, its wanted parts alone, or fetched whole where that is
less work. What has come lies in a spool until all is there, so that a run which is killed asks for
nothing twice.
"""

import logging
from collections import ChainMap
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from oiv5_d2.acquisition.checks import check_png
from oiv5_d2.acquisition.mask_zips.entries import unpack
from oiv5_d2.acquisition.mask_zips.mask_zip import MaskZip, Origin, lacking
from oiv5_d2.acquisition.mask_zips.ranges import Mode, Span, coalesce
from oiv5_d2.acquisition.mask_zips.shards import Shard, open_shard, write_shard
from oiv5_d2.acquisition.mask_zips.spool import Held, Spool, read_held
from oiv5_d2.acquisition.outcomes import CORRUPT, FAILED, MISSING, PRESENT, Outcome
from oiv5_d2.acquisition.stores import Answer, ChangedError, Get, Store, StoreError
from oiv5_d2.openimages.release import V5

logger = logging.getLogger(__name__)

_BATCH_BYTES = 8 << 20  # unpacked masks in memory

# Called with the numbers of newly finished masks, of bytes that came, and of failures.
Advance = Callable[[int, int, int], object]


class _Progress:
    """Tells of each mask once, though a zip that changed is begun again."""

    def __init__(self, advance: Advance) -> None:
        self._advance = advance
        self._told: set[str] = set()

    def tell(self, names: Iterable[str], num_bytes: int, bad: Collection[str] = ()) -> None:
        """Tell of masks that are finished, of bytes that came, and of which can not be had."""
        new = set(names) - self._told
        self._told |= new
        self._advance(len(new), num_bytes, len(new.intersection(bad)))


@dataclass(frozen=True)
class _Work:
    """What `extract_masks` was asked for, and what is there."""

    zip: MaskZip
    wanted: Sequence[str]
    spool: Spool
    held: Mapping[str, Held]
    """Of the spool and the former shard."""
    progress: _Progress


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
    mask_zip = MaskZip(store, V5.mask_zip(split, digit), shard_path, keep_zip_dir, mode)
    shard = open_shard(shard_path, wanted)
    progress = _Progress(advance)
    with Spool(_spool_path(shard_path)) as spool:
        held = ChainMap(spool.held, shard.held if shard else {})
        work = _Work(mask_zip, wanted, spool, held, progress)
        is_all_here = all(name in held for name in wanted) and not mask_zip.has_changed()
        bad = {} if is_all_here else _unless_here(work, _bring(work))
        present = [name for name in wanted if name not in bad]
        if shard is None or shard.names != present or not spool.held.keys().isdisjoint(present):
            write_shard(shard_path, present, _reader(spool, shard))
        spool.remove()
    states = {outcome.state for outcome in bad.values()}
    if FAILED not in states:
        mask_zip.tidy(is_sound=CORRUPT not in states)
    progress.tell(wanted, 0, bad)
    return [bad.get(name) or _present(name, held[name]) for name in wanted]


def held_masks(shard_path: Path, wanted: Sequence[str]) -> tuple[Mapping[str, Held], bool]:
    """Return which of the wanted masks `extract_masks` would not ask for; nothing is written.

    Also whether some came since the zip at `shard_path` was written: then the rest will be read in
    the same way.

    Raises:
        ValueError, OSError: as `extract_masks`.
    """
    shard, spooled = open_shard(shard_path, wanted), read_held(_spool_path(shard_path))
    return ChainMap(spooled, shard.held if shard else {}), bool(spooled)


def remove_unfinished(masks_dir: Path, wanted: Iterable[Path]) -> None:
    """Remove what lies there of zips that were begun, but for those of the wanted `shard_path`."""
    endings = tuple(f"-{path.stem}" for path in wanted)
    for kind in ("spool", "directory", "whole", "arriving"):
        for path in masks_dir.glob(f".{kind}-*"):
            if not path.name.removesuffix(".zip").endswith(endings):
                path.unlink()


def _spool_path(shard_path: Path) -> Path:
    return shard_path.with_name(f".spool-{shard_path.stem}")


def _present(name: str, held: Held) -> Outcome:
    return Outcome(name, PRESENT, "", held.num_bytes, held.checksum)


def _reader(spool: Spool, shard: Shard | None) -> Callable[[str], bytes]:
    def read(name: str) -> bytes:
        return shard.read(name) if shard and name not in spool.held else spool.read(name)

    return read


def _bring(work: _Work) -> dict[str, Outcome]:
    """Bring what is wanted and not held into the spool; return what can not be had."""
    key = work.zip.file.path
    try:
        with suppress(ChangedError):
            bad = _take(work)
            if not any(outcome.state == CORRUPT for outcome in bad.values()):
                return bad
        # Once more: with what the zip has now, or what may have been damaged alone, on its way or
        # here. The directory may have been as well, and then says what no mask can be.
        work.zip.drop()
        return _take(work)
    except FileNotFoundError:
        state, reason = MISSING, f"{key} is not in the release"
    except StoreError as error:
        state, reason = FAILED, f"{key}: {error}"
    except ValueError as error:
        state, reason = CORRUPT, f"{key}: {error}"
    return {name: Outcome(name, state, reason) for name in work.wanted if name not in work.held}


def _unless_here(work: _Work, bad: Mapping[str, Outcome]) -> dict[str, Outcome]:
    """Leave out the masks that are there, though what the zip has now could not be had."""
    stale = [name for name in work.held if name in bad and bad[name].state == FAILED]
    if stale:
        logger.warning(
            "%s: %d masks are other ones by now and could not be had; the earlier ones stay (%s)",
            work.zip.shard_path,
            len(stale),
            bad[stale[0]].reason,
        )
    return {name: outcome for name, outcome in bad.items() if name not in stale}


def _take(work: _Work) -> dict[str, Outcome]:
    """Read what is wanted and not held out of the zip; return what can not be had."""
    tell = work.progress.tell
    origin = work.zip.open(
        work.wanted, work.held, bool(work.spool.held), lambda num_bytes: tell([], num_bytes)
    )
    entries, etag = origin.directory.entries, origin.directory.etag
    bad = {
        name: _unreadable(name, origin)
        for name in work.wanted
        if name not in entries and name not in work.held
    }
    spans = coalesce(lacking(entries.values(), work.held).values())
    by_start = {span.start: span for span in spans}
    gets = (Get(origin.key, span.start, span.stop, etag) for span in spans)
    for answer in origin.store.read_many(gets):
        span = by_start[answer.get.start]
        bad_ones = _keep(work, span, answer)
        num_bytes = len(answer.data) if origin.store is work.zip.store else 0
        tell([entry.name for entry in span.entries if entry.name not in bad_ones], num_bytes)
        bad |= bad_ones
    return bad


def _unreadable(name: str, origin: Origin) -> Outcome:
    if name in origin.directory.refused:
        return Outcome(name, CORRUPT, origin.directory.refused[name])
    if origin.doubt:
        zip_path = f"{origin.store.location}/{origin.key}"
        reason = f"{zip_path} has no such entry, and the server can not be asked: "
        return Outcome(name, FAILED, reason + origin.doubt)
    return Outcome(name, MISSING, "the zip has no such entry")


def _keep(work: _Work, span: Span, answer: Answer) -> dict[str, Outcome]:
    """Put a span's masks into the spool; return those that can not be had."""
    if isinstance(answer.error, ChangedError):
        raise answer.error
    if answer.error:
        is_gone = isinstance(answer.error, FileNotFoundError)
        state = MISSING if is_gone else FAILED
        reason = f"{work.zip.file.path} is not in the release" if is_gone else ""
        reason = reason or f"{work.zip.file.path}: {answer.error}"
        return {entry.name: Outcome(entry.name, state, reason) for entry in span.entries}
    bad: dict[str, Outcome] = {}
    for batch in _batches(_unpack(span, answer.data, bad)):
        work.spool.add(batch)
    return bad


def _unpack(span: Span, data: bytes, bad: dict[str, Outcome]) -> Iterator[tuple[str, bytes]]:
    """Yield the masks of a span that are whole; note the others."""
    for entry in span.entries:
        try:
            content = unpack(entry, data[entry.start - span.start : entry.stop - span.start])
            check_png(content)
        except ValueError as error:
            bad[entry.name] = Outcome(entry.name, CORRUPT, str(error))
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
