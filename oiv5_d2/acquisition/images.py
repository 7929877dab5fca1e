"""Pictures out of a store onto the disk: many at a time, each checked, whole or not at all."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from oiv5_d2.acquisition.checks import check_jpeg
from oiv5_d2.acquisition.outcomes import (
    CORRUPT,
    FAILED,
    MISSING,
    PRESENT,
    Known,
    Outcome,
    checksum,
    moment,
)
from oiv5_d2.acquisition.stores import Answer, DamagedError, Get, Store
from oiv5_d2.files import write_whole


def fetch_images(
    keys: Sequence[str],
    store: Store,
    images_dir: Path,
    known: Callable[[str], Known | None],
    full_decode: bool,
    advance: Callable[[int, int, int], object],
    note: Callable[[str, Outcome], object],
) -> None:
    """Bring pictures to ``images_dir/{key}``; those that are there and whole are not asked for.

    Args:
        keys: ``{split}/{ImageID}.jpg``, distinct.
        store: the images bucket.
        images_dir: where they go.
        known: called with the keys in order, returns what an earlier run found of a picture that it
            checked. If size and time are still the same, that is enough; else its checksum has to
            be.
        full_decode: read every picture that is there again, and decode all to the last pixel.
        advance: called with the numbers of newly finished pictures, of bytes that came for them,
            and of those among them that could not be had.
        note: called with each key and its outcome, in the order of `keys`, as soon as those before
            it are known: no more is held in memory than what came before its turn.

    Raises:
        OSError: `images_dir` can not be written.
    """
    outcomes = _InOrder(keys, note)
    for folder in _folders(keys):
        (images_dir / folder).mkdir(parents=True, exist_ok=True)
    there = _keys_there(images_dir, _folders(keys))

    def wanted() -> Iterator[Get]:
        for key in keys:
            found = None
            if key in there:
                found = _look(f"{images_dir}/{key}", known(key), store, key, full_decode)
            if found is None:
                yield Get(key)
            else:
                outcomes.put(key, found)
                advance(1, 0, 0)

    # Not in threads: they would wait for Python's lock longer than it takes to hash and write.
    for answer in store.read_many(wanted(), partial(check_jpeg, full_decode=full_decode)):
        outcome = _keep(images_dir, store, answer)
        outcomes.put(answer.get.key, outcome)
        advance(1, outcome.num_bytes, outcome.state != PRESENT)


class _InOrder:
    """Tells of outcomes in the order of their keys; they come as the network has it."""

    def __init__(self, keys: Iterable[str], note: Callable[[str, Outcome], object]) -> None:
        self._keys, self._note = iter(keys), note
        self._next = next(self._keys, "")
        self._early: dict[str, Outcome] = {}

    def put(self, key: str, outcome: Outcome) -> None:
        self._early[key] = outcome
        while self._next in self._early:
            self._note(self._next, self._early.pop(self._next))
            self._next = next(self._keys, "")


def lacking(keys: Sequence[str], images_dir: Path) -> list[str]:
    """Return the keys, as `fetch_images` has them, of which there is no file, in order."""
    there = _keys_there(images_dir, _folders(keys))
    return [key for key in keys if key not in there]


def sample(keys: Sequence[str], most: int) -> Sequence[str]:
    """Return at most so many of the keys, evenly spread."""
    return keys[:: max(1, -(-len(keys) // most))]


def _folders(keys: Iterable[str]) -> set[str]:
    return {key.rpartition("/")[0] for key in keys}


def _keys_there(images_dir: Path, folders: Iterable[str]) -> set[str]:
    """Return what is in folders, by key.

    One look at each folder, not at each name: on a cluster's disk a look takes long.
    """
    return {
        f"{folder}/{name}"
        for folder in folders
        if (images_dir / folder).is_dir()
        for name in os.listdir(images_dir / folder)
    }


def _look(
    path: str, known: Known | None, store: Store, key: str, full_decode: bool
) -> Outcome | None:
    """Return a picture that is there and whole; None for one that has to be asked for."""
    status = os.stat(path)
    if store.has_changed(key, status.st_mtime_ns, status.st_size):
        return None
    if known and not full_decode and _is_untouched(status, known):
        return Outcome(os.path.basename(path), PRESENT, "", *known)
    data = Path(path).read_bytes()
    found = _present(path, data, known.source if known else _url(store, key))
    if known and known.checksum != found.checksum:
        return None  # it changed since it was checked
    try:
        check_jpeg(data, full_decode)
    except ValueError:
        return None
    return found


def _is_untouched(status: os.stat_result, known: Known) -> bool:
    return (status.st_size, moment(status.st_mtime)) == (known.num_bytes, known.fetched)


def _keep(images_dir: Path, store: Store, answer: Answer) -> Outcome:
    path, source = f"{images_dir}/{answer.get.key}", _url(store, answer.get.key)
    if isinstance(answer.error, FileNotFoundError):
        return _refused(path, MISSING, "it is not in the release", source)
    if answer.error is not None:
        state = CORRUPT if isinstance(answer.error, DamagedError) else FAILED
        return _refused(path, state, str(answer.error), source)
    write_whole(path, answer.data)
    return _present(path, answer.data, source)


def _present(path: str, data: bytes, source: str) -> Outcome:
    name, fetched = os.path.basename(path), moment(os.stat(path).st_mtime)
    return Outcome(name, PRESENT, "", len(data), checksum(data), source, fetched)


def _refused(path: str, state: str, reason: str, source: str) -> Outcome:
    """Leave nothing under a picture's name: what was there was damaged, or it was not asked for."""
    Path(path).unlink(missing_ok=True)
    return Outcome(os.path.basename(path), state, reason, source=source)


def _url(store: Store, key: str) -> str:
    return f"{store.location}/{key}"
