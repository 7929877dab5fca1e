"""Images out of a bucket onto the disk: many at a time, each checked, whole or not at all.

Only files that these tools have written are ever replaced or removed; see `_Folder.is_ours`.
"""

import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from blake3 import blake3

from oiv5_d2.acquisition.buckets import Answer, Bucket, Get, Head
from oiv5_d2.acquisition.jpeg import check_jpeg
from oiv5_d2.acquisition.manifest import (
    IMAGE,
    Manifest,
    Outcome,
    Reason,
    State,
    moment,
    outcome_of,
)
from oiv5_d2.files import PART_PREFIX, write_whole
from oiv5_d2.jobs import Advance
from oiv5_d2.problems import Kind, Problem, Remedy

_BATCH_SECONDS = 1.0  # the most that a killed run has to check again


def fetch_images(
    files: pd.DataFrame,
    bucket: Bucket,
    images_dir: Path,
    manifest: Manifest,
    full_decode: bool,
    advance: Advance,
) -> None:
    """Fetch images to ``images_dir/{split}/{name}``; what is there and whole is not asked for.

    If that folder is the bucket's own, by a link, its files are checked and taken as they lie.

    Args:
        files: Split, Name and Key of each image, distinct.
        bucket: where they come from.
        images_dir: where they go.
        manifest: gets each image's outcome, and has those of earlier runs.
        full_decode: read every image that is there again, and decode all of them.
        advance: called with the numbers of finished images, of bytes that came, and of images that
            could not be fetched.

    Raises:
        Problem: FOREIGN, the place of a split's folder is taken by something else.
        OSError: the folder cannot be written.
    """
    for split in sorted(set(files["Split"])):
        rows = files[files["Split"] == split]
        keys = dict(zip(rows["Name"], rows["Key"], strict=True))
        folder = _Folder(images_dir / split, bucket, keys, manifest.known(IMAGE, split))
        with _recording(manifest, split, advance) as record:
            names = {keys[name]: name for name in folder.look(full_decode, record)}
        # Before any is written: after a kill it is known that these tools did.
        asked = Outcome("", State.FAILED, Reason.UNFINISHED)
        urls = {name: bucket.url(key) for key, name in names.items()}
        begun = (asked._replace(name=name, source=url) for name, url in urls.items())
        manifest.record(IMAGE, split, begun)
        check = partial(check_jpeg, full_decode=full_decode)
        with _recording(manifest, split, advance) as record:
            for answer in bucket.read_many(map(Get, names), check):
                record(folder.keep(names[answer.get.key], answer), len(answer.data))


class ImageNeed(NamedTuple):
    """What images still take."""

    num_images: int
    """Images of which there is no file."""
    num_bytes: int
    """Of all of them, estimated by those that were asked for."""
    num_asked: int
    num_absent: int
    """Of those that were asked for."""
    problem: Problem | None
    """Why one could not be asked for, if any."""


def needed_images(
    files: pd.DataFrame, bucket: Bucket, images_dir: Path, most: int = 100
) -> ImageNeed:
    """Return what images still take; at most so many, evenly spread, are asked for their size."""
    keys = []
    for split in sorted(set(files["Split"])):
        rows = files[files["Split"] == split]
        folder = images_dir / split  # listed once: on a cluster's disk each look takes long
        names = set(os.listdir(folder)) if folder.is_dir() else set()
        keys += rows.loc[~rows["Name"].isin(names), "Key"].tolist()
    heads = [head for _, head in bucket.head_many(keys[:: max(1, -(-len(keys) // most))])]
    sizes = [head.num_bytes for head in heads if isinstance(head, Head)]
    problems = [head for head in heads if isinstance(head, Problem)]
    num_absent = sum(problem.kind is Kind.ABSENT for problem in problems)
    others = (problem for problem in problems if problem.kind is not Kind.ABSENT)
    num_bytes = len(keys) * sum(sizes) // max(1, len(sizes) + num_absent)
    return ImageNeed(len(keys), num_bytes, len(heads), num_absent, next(others, None))


Record = Callable[[Outcome, int], None]


@contextmanager
def _recording(manifest: Manifest, split: str, advance: Advance) -> Iterator[Record]:
    """Give a function that takes an outcome and the bytes that came; it writes them in batches."""
    batch: list[Outcome] = []
    last = time.monotonic()

    def record(outcome: Outcome, num_bytes: int) -> None:
        nonlocal last
        batch.append(outcome)
        advance(1, num_bytes, outcome.state is not State.PRESENT)
        if time.monotonic() - last > _BATCH_SECONDS:
            manifest.record(IMAGE, split, batch)
            batch.clear()
            last = time.monotonic()

    try:
        yield record
    finally:
        manifest.record(IMAGE, split, batch)


class _Folder:
    """A split's folder of images: what is there, and whose it is."""

    def __init__(
        self, path: Path, bucket: Bucket, keys: dict[str, str], known: dict[str, Outcome]
    ) -> None:
        self._path, self._bucket, self._keys, self._known = path, bucket, keys, known
        try:
            path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise Problem(Kind.FOREIGN, path, "not a folder", remedy=Remedy.MOVE_AWAY) from error
        self._names = set(os.listdir(path))
        self._is_linked = path.parent.is_symlink() or path.is_symlink()
        key = next(iter(keys.values()))
        origin = bucket.folder and (bucket.folder / key).parent
        self._is_source = bool(origin and origin.is_dir() and path.samefile(origin))

    def look(self, full_decode: bool, record: Record) -> Iterator[str]:
        """Record the images that need not be asked for; yield the names of the others.

        What lies under those names was written by these tools, and is removed.
        """
        if not self._is_linked and not self._is_source:
            for name in self._names:
                if name.startswith(PART_PREFIX):  # of a killed run
                    (self._path / name).unlink()
        for name, key in self._keys.items():
            found = None
            if name in self._names:
                found = self._look_at(name, key, full_decode)
            elif self._is_source:
                source = self._bucket.url(key)
                found = Outcome(name, State.MISSING, Reason.ABSENT, source=source)
            if found:
                record(found, 0)
                continue
            if name in self._names:
                (self._path / name).unlink()
            yield name

    def keep(self, name: str, answer: Answer) -> Outcome:
        """Write an image that came."""
        source = self._bucket.url(answer.get.key)
        if answer.problem:
            return outcome_of(name, answer.problem, source)
        path = f"{self._path}/{name}"
        write_whole(path, answer.data)
        return _present(name, answer.data, source, os.stat(path))

    def is_ours(self, name: str, status: os.stat_result) -> bool:
        """Return True if these tools wrote a file, so that it may be replaced or removed.

        They did if the manifest says so, and the folder is not the bucket's own. In a folder that
        is reached through a link, where others may put files too, the file has to be unchanged
        since as well. A link to a file is never ours. Of a run that was stopped only an empty file
        is, which a power cut leaves: what it wrote was whole.
        """
        known = self._known.get(name)
        if known is None or not known.source or self._is_source:
            return False
        if (self._path / name).is_symlink():
            return False
        if known.reason is Reason.UNFINISHED:
            return status.st_size == 0 and not self._is_linked
        return known.state is State.PRESENT and (
            not self._is_linked or _is_untouched(status, known)
        )

    def _look_at(self, name: str, key: str, full_decode: bool) -> Outcome | None:
        """Return the outcome of a file that is there; None if it has to be asked for."""
        path, known, is_ours = f"{self._path}/{name}", self._known.get(name), False
        try:
            status = os.stat(path)
            is_ours = self.is_ours(name, status)
            if is_ours and self._has_changed(key, status):
                return None
            if known and not full_decode and _is_untouched(status, known):
                return known if is_ours else known._replace(source="")
            if not stat.S_ISREG(status.st_mode):
                raise ValueError("not a file")
            data = Path(path).read_bytes()
            check_jpeg(data, full_decode)
        except (OSError, ValueError) as error:
            facts = (error.strerror if isinstance(error, OSError) else str(error)) or ""
            source, reason = "", Reason.FOREIGN
            if self._is_source:
                source, reason = self._bucket.url(key), Reason.DAMAGED
            damaged = Outcome(name, State.CORRUPT, reason, source=source, detail=facts)
            return None if is_ours else damaged
        found = _present(name, data, "", status)
        if is_ours and known and known.checksum != found.checksum:
            return None  # it changed since it was written
        is_unrecorded = known and known.reason is Reason.UNFINISHED and not self._is_source
        return (
            found._replace(source=known.source) if known and (is_ours or is_unrecorded) else found
        )

    def _has_changed(self, key: str, status: os.stat_result) -> bool:
        """Return True if a folder bucket's file is another one than its copy.

        A server is not asked: a release's files keep their content.
        """
        if self._bucket.folder is None:
            return False
        try:
            origin = (self._bucket.folder / key).stat()
        except OSError:
            return False
        # Not by the time of writing: a file that is moved to another's place keeps that.
        return origin.st_ctime_ns > status.st_mtime_ns or origin.st_size != status.st_size


def _is_untouched(status: os.stat_result, known: Outcome) -> bool:
    found = (State.PRESENT, status.st_size, moment(status.st_mtime))
    return found == (known.state, known.num_bytes, known.fetched)


def _present(name: str, data: bytes, source: str, status: os.stat_result) -> Outcome:
    # BLAKE3 rather than SHA-256, which would cost more than writing so many files.
    checksum = blake3(data).hexdigest()
    when = moment(status.st_mtime)
    return Outcome(name, State.PRESENT, Reason.NONE, len(data), checksum, source, when)
