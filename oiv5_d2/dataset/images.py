"""Pictures out of a store onto the disk: many at a time, each checked, whole or not at all."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from oiv5_d2.dataset.checks import check_jpeg
from oiv5_d2.dataset.outcomes import CORRUPT, FAILED, MISSING, PRESENT, Known, Outcome, checksum
from oiv5_d2.dataset.stores import Answer, Get, Store
from oiv5_d2.openimages.files import write_whole

# Called with a picture's key, what became of it, and the number of bytes that came for it.
Tell = Callable[[str, Outcome, int], object]


@dataclass(frozen=True)
class Pictures:
    """Which pictures are wanted where; another process can be sent it."""

    keys: Sequence[str]
    """``{split}/{ImageID}.jpg``, distinct."""
    store: Store
    """The images bucket."""
    images_dir: Path
    """They go to ``images_dir/{key}``."""
    known: Mapping[str, Known]
    """Those checked by an earlier run; their size is enough."""
    full_decode: bool
    """Decode every picture to its last pixel, those already there too."""


def bring(pictures: Pictures, keys: Iterable[str], tell: Tell) -> None:
    """Bring some of the pictures to disk; those that are there and whole are not asked for.

    Args:
        pictures: their folders have to be there.
        keys: some of `pictures.keys`; taken as there is room.
        tell: called once for each of them.

    Raises:
        OSError: `pictures.images_dir` can not be written.
    """
    # One look at each folder, not at each name: on a cluster's disk a look takes long.
    there = {
        f"{folder}/{name}"
        for folder in folders_of(pictures.keys)
        for name in os.listdir(pictures.images_dir / folder)
    }

    def wanted() -> Iterator[Get]:
        for key in keys:
            found = _look(pictures, key) if key in there else None
            if found is None:
                yield Get(key)
            else:
                tell(key, found, 0)

    # Not in threads: they would wait for Python's lock longer than it takes to hash and write.
    for answer in pictures.store.read_many(wanted()):
        outcome = _keep(pictures, answer)
        tell(answer.get.key, outcome, outcome.num_bytes)


def folders_of(keys: Iterable[str]) -> set[str]:
    """Return the folders of keys, by their names in the images bucket: the splits."""
    return {key.rpartition("/")[0] for key in keys}


def _look(pictures: Pictures, key: str) -> Outcome | None:
    """Return a picture that is there and whole; None for one that has to be asked for."""
    path = f"{pictures.images_dir}/{key}"
    num_bytes = os.stat(path).st_size
    known = pictures.known.get(key)
    if known and known.num_bytes == num_bytes and not pictures.full_decode:
        return Outcome(_name(path), PRESENT, "", num_bytes, known.checksum)
    data = Path(path).read_bytes()
    try:
        check_jpeg(data, pictures.full_decode)
    except ValueError:
        return None
    return _present(path, data)


def _keep(pictures: Pictures, answer: Answer) -> Outcome:
    path = f"{pictures.images_dir}/{answer.get.key}"
    if isinstance(answer.error, FileNotFoundError):
        return _refused(path, MISSING, "it is not in the release")
    if answer.error is not None:
        return _refused(path, FAILED, str(answer.error))
    try:
        check_jpeg(answer.data, pictures.full_decode)
    except ValueError as error:
        return _refused(path, CORRUPT, str(error))
    write_whole(path, answer.data)
    return _present(path, answer.data)


def _present(path: str, data: bytes) -> Outcome:
    return Outcome(_name(path), PRESENT, "", len(data), checksum(data))


def _refused(path: str, state: str, reason: str) -> Outcome:
    """Leave nothing under a picture's name: what was there was damaged, or it was not asked for."""
    Path(path).unlink(missing_ok=True)
    return Outcome(_name(path), state, reason)


def _name(path: str) -> str:
    return path[path.rindex("/") + 1 :]
