"""Pictures out of a store onto the disk: many at a time, each checked, whole or not at all."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from oiv5_d2.dataset.checks import check_jpeg
from oiv5_d2.dataset.extraction import CORRUPT, FAILED, MISSING, PRESENT, Outcome
from oiv5_d2.dataset.manifest import Known
from oiv5_d2.dataset.stores import Answer, Get, Store
from oiv5_d2.dataset.workers import map_tasks
from oiv5_d2.openimages.files import write_whole

# One process takes some thousand pictures a second, which is more than most networks bring. More
# processes only where there is enough to do: each costs a second to start.
_FEW = 2000  # pictures
_CHUNK = 256  # pictures a task: at its end a process waits for the slowest of them

Advance = Callable[[int, int, int], object]


class _Chunk(NamedTuple):
    """A task for a process."""

    keys: Sequence[str]
    known: Mapping[str, Known]


def fetch_images(
    keys: Sequence[str],
    store: Store,
    images_dir: Path,
    known: Mapping[str, Known],
    full_decode: bool,
    num_workers: int,
    advance: Advance,
) -> dict[str, Outcome]:
    """Bring pictures to ``images_dir/{key}``; those that are there and whole are not asked for.

    Args:
        keys: ``{split}/{ImageID}.jpg``, distinct.
        store: the images bucket.
        images_dir: where they go.
        known: those checked by an earlier run; their size is enough.
        full_decode: decode every picture to its last pixel, those already there too.
        num_workers: processes, which share the store's connections; with few pictures one is used.
        advance: called with the numbers of newly finished pictures, of bytes that came for them,
            and of those among them that could not be had.

    Returns:
        each key's outcome.

    Raises:
        OSError: `images_dir` can not be written.
    """
    for folder in {key.rpartition("/")[0] for key in keys}:
        (images_dir / folder).mkdir(parents=True, exist_ok=True)
    if num_workers == 1 or len(keys) <= _FEW:
        return _fetch(store, images_dir, full_decode, _Chunk(keys, known), advance)
    fetch_chunk = partial(_fetch_in_worker, store.share(num_workers), images_dir, full_decode)
    outcomes: dict[str, Outcome] = {}
    for came, num_bytes in map_tasks(fetch_chunk, _chunks(keys, known), num_workers):
        outcomes.update(came)
        num_bad = sum(outcome.state != PRESENT for outcome in came.values())
        advance(len(came), num_bytes, num_bad)
    return outcomes


def _chunks(keys: Sequence[str], known: Mapping[str, Known]) -> Iterator[_Chunk]:
    for start in range(0, len(keys), _CHUNK):
        some = keys[start : start + _CHUNK]
        yield _Chunk(some, {key: known[key] for key in some if key in known})


_OPENED: dict[str, Store] = {}  # in a worker: its store, whose connections serve its next task too


def _fetch_in_worker(
    store: Store, images_dir: Path, full_decode: bool, chunk: _Chunk
) -> tuple[dict[str, Outcome], int]:
    """Fetch in another process; return the outcomes, and how many bytes came."""
    total = 0

    def count(num_done: int, num_bytes: int, num_bad: int) -> None:
        nonlocal total
        total += num_bytes

    opened = _OPENED.setdefault(store.location, store)
    return _fetch(opened, images_dir, full_decode, chunk, count), total


def _fetch(
    store: Store, images_dir: Path, full_decode: bool, chunk: _Chunk, advance: Advance
) -> dict[str, Outcome]:
    outcomes: dict[str, Outcome] = {}

    def wanted() -> Iterator[Get]:
        for key in chunk.keys:
            found = _look(f"{images_dir}/{key}", chunk.known.get(key), full_decode)
            if found is None:
                yield Get(key)
            else:
                outcomes[key] = found
                advance(1, 0, 0)

    for answer in store.read_many(wanted()):
        outcome = outcomes[answer.get.key] = _keep(images_dir, full_decode, answer)
        advance(1, outcome.num_bytes, outcome.state != PRESENT)
    return outcomes


def _look(path: str, known: Known | None, full_decode: bool) -> Outcome | None:
    """Return a picture that is there and whole; None for one that has to be asked for."""
    try:
        num_bytes = os.stat(path).st_size
    except FileNotFoundError:
        return None
    if known and known.num_bytes == num_bytes and not full_decode:
        return Outcome(os.path.basename(path), PRESENT, "", num_bytes, known.checksum)
    data = Path(path).read_bytes()
    try:
        check_jpeg(data, full_decode)
    except ValueError:
        return None
    return _present(path, data)


def _keep(images_dir: Path, full_decode: bool, answer: Answer) -> Outcome:
    path = f"{images_dir}/{answer.get.key}"
    if isinstance(answer.error, FileNotFoundError):
        return _refused(path, MISSING, "it is not in the release")
    if answer.error is not None:
        return _refused(path, FAILED, str(answer.error))
    try:
        check_jpeg(answer.data, full_decode)
    except ValueError as error:
        return _refused(path, CORRUPT, str(error))
    write_whole(path, answer.data)
    return _present(path, answer.data)


def _present(path: str, data: bytes) -> Outcome:
    checksum = hashlib.sha256(data).hexdigest()
    return Outcome(os.path.basename(path), PRESENT, "", len(data), checksum)


def _refused(path: str, state: str, reason: str) -> Outcome:
    """Leave nothing under a picture's name: what was there was damaged, or it was not asked for."""
    Path(path).unlink(missing_ok=True)
    return Outcome(os.path.basename(path), state, reason)
