"""Pictures out of a store onto the disk: many at a time, each checked, whole or not at all."""

import hashlib
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

from oiv5_d2.dataset.checks import check_jpeg
from oiv5_d2.dataset.extraction import CORRUPT, FAILED, MISSING, PRESENT, Outcome
from oiv5_d2.dataset.manifest import Known
from oiv5_d2.dataset.stores import Answer, Get, Store
from oiv5_d2.openimages.files import write_whole

# Checking and writing leave Python's lock; one thread more than this one keeps up with a network.
_NUM_WRITERS = 2
_BATCH = 8  # pictures handed to a writer at a time: handing over costs as much as a small picture
_MOST_WAITING = 8  # batches in memory


def fetch_images(
    keys: Sequence[str],
    store: Store,
    images_dir: Path,
    known: Mapping[str, Known],
    full_decode: bool,
    advance: Callable[[int, int, int], object],
) -> dict[str, Outcome]:
    """Bring pictures to ``images_dir/{key}``; those that are there and whole are not asked for.

    Args:
        keys: ``{split}/{ImageID}.jpg``, distinct.
        store: the images bucket.
        images_dir: where they go.
        known: those checked by an earlier run; their size is enough.
        full_decode: decode every picture to its last pixel, those already there too.
        advance: called with the numbers of newly finished pictures, of bytes that came for them,
            and of those among them that could not be had.

    Returns:
        each key's outcome.

    Raises:
        OSError: `images_dir` can not be written.
    """
    outcomes: dict[str, Outcome] = {}

    def wanted() -> Iterator[Get]:
        for key in keys:
            found = _look(images_dir / key, known.get(key), full_decode)
            if found is None:
                yield Get(key)
            else:
                outcomes[key] = found
                advance(1, 0, 0)

    for folder in {(images_dir / key).parent for key in keys}:
        folder.mkdir(parents=True, exist_ok=True)
    keep_all = partial(_keep_all, images_dir, full_decode)
    with ThreadPoolExecutor(_NUM_WRITERS) as writers:
        for kept in _in_turn(writers, keep_all, _batches(store.read_many(wanted()))):
            outcomes.update(kept)
            num_bad = sum(outcome.state != PRESENT for outcome in kept.values())
            advance(len(kept), sum(outcome.num_bytes for outcome in kept.values()), num_bad)
    return outcomes


def _batches(answers: Iterable[Answer]) -> Iterator[list[Answer]]:
    remaining = iter(answers)
    while batch := list(itertools.islice(remaining, _BATCH)):
        yield batch


def _in_turn(
    threads: ThreadPoolExecutor,
    keep_all: Callable[[list[Answer]], dict[str, Outcome]],
    batches: Iterable[list[Answer]],
) -> Iterator[dict[str, Outcome]]:
    """Keep batches in threads, a few at a time: what waits in memory is bounded."""
    waiting: deque[Future[dict[str, Outcome]]] = deque()
    for batch in batches:
        waiting.append(threads.submit(keep_all, batch))
        while waiting and (len(waiting) >= _MOST_WAITING or waiting[0].done()):
            yield waiting.popleft().result()
    for future in waiting:
        yield future.result()


def _look(path: Path, known: Known | None, full_decode: bool) -> Outcome | None:
    """Return a picture that is there and whole; None for one that has to be asked for."""
    try:
        num_bytes = path.stat().st_size
    except FileNotFoundError:
        return None
    if known and known.num_bytes == num_bytes and not full_decode:
        return Outcome(path.name, PRESENT, "", num_bytes, known.checksum)
    data = path.read_bytes()
    try:
        check_jpeg(data, full_decode)
    except ValueError:
        return None
    return Outcome(path.name, PRESENT, "", len(data), hashlib.sha256(data).hexdigest())


def _keep_all(images_dir: Path, full_decode: bool, answers: list[Answer]) -> dict[str, Outcome]:
    return {answer.get.key: _keep(images_dir, full_decode, answer) for answer in answers}


def _keep(images_dir: Path, full_decode: bool, answer: Answer) -> Outcome:
    path = images_dir / answer.get.key
    if isinstance(answer.error, FileNotFoundError):
        return _refused(path, MISSING, "it is not in the release")
    if answer.error is not None:
        return _refused(path, FAILED, str(answer.error))
    try:
        check_jpeg(answer.data, full_decode)
    except ValueError as error:
        return _refused(path, CORRUPT, str(error))
    write_whole(path, answer.data)
    checksum = hashlib.sha256(answer.data).hexdigest()
    return Outcome(path.name, PRESENT, "", len(answer.data), checksum)


def _refused(path: Path, state: str, reason: str) -> Outcome:
    """Leave nothing under a picture's name: what was there was damaged, or it was not asked for."""
    path.unlink(missing_ok=True)
    return Outcome(path.name, state, reason)
