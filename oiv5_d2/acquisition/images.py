"""Images out of a bucket onto the disk: many at a time, each checked, whole or not at all.

Only files that these tools have written are ever replaced or removed; see `_Folder._is_ours`.
"""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from blake3 import blake3

from oiv5_d2.acquisition.buckets import Bucket, Get, Head
from oiv5_d2.acquisition.jpeg import check_jpeg
from oiv5_d2.acquisition.manifest import IMAGE, Manifest, Outcome, State, moment, outcome_of
from oiv5_d2.files import PART_PREFIX, write_whole
from oiv5_d2.jobs import Advance
from oiv5_d2.problems import Kind, Problem, Remedy


def fetch_images(
    files: pd.DataFrame,
    bucket: Bucket,
    images_dir: Path,
    manifest: Manifest,
    full_decode: bool,
    advance: Advance,
) -> None:
    """Fetch images, given by Split, Name and Key, to ``images_dir/{split}/{name}``.

    If that folder is the bucket's own, by a link, its files are checked and taken as they are. The
    manifest has the outcomes of earlier runs, and gets each image's. The rest as `fetch.fetch`.

    Raises:
        Problem: FOREIGN, something else is where a split's folder has to be.
    """
    for split in sorted(set(files["Split"])):
        rows = files[files["Split"] == split]
        keys = dict(zip(rows["Name"], rows["Key"], strict=True))
        folder = _Folder(images_dir / split, bucket, keys, manifest.known(IMAGE, split))
        outcomes, to_fetch = [], {}
        for name, key in keys.items():
            if outcome := folder.look(name, full_decode):
                advance(1, 0, outcome.state is not State.PRESENT)
            else:  # recorded before it is written: after a kill it is known that these tools did
                outcome = Outcome(name, State.FAILED, Kind.UNFINISHED, source=bucket.url(key))
                to_fetch[key] = name
            outcomes.append(outcome)
        manifest.record(IMAGE, split, outcomes)
        manifest.record(IMAGE, split, folder.fetch(to_fetch, full_decode, advance))


class ImageNeed(NamedTuple):
    """What is still to be fetched."""

    num_images: int  # of which there is no file
    num_bytes: int  # of all of them, estimated by those that were asked for
    num_asked: int
    num_absent: int  # of those that were asked for
    problem: Problem | None  # why one could not be asked for, if any


def needed_images(
    files: pd.DataFrame, bucket: Bucket, images_dir: Path, most: int = 100
) -> ImageNeed:
    """Return what is still to be fetched; at most so many images are asked for their size."""
    keys = []
    for split, rows in files.groupby("Split"):
        folder = images_dir / str(split)  # listed once: on a cluster's disk each look takes long
        names = os.listdir(folder) if folder.is_dir() else []
        keys += rows.loc[~rows["Name"].isin(names), "Key"].tolist()
    answers = [answer for _, answer in bucket.head_many(keys[:: max(1, -(-len(keys) // most))])]
    sizes = [it.num_bytes for it in answers if isinstance(it, Head)]
    problems = [it for it in answers if isinstance(it, Problem) and it.kind is not Kind.ABSENT]
    num_absent = len(answers) - len(sizes) - len(problems)
    num_bytes = len(keys) * sum(sizes) // max(1, len(sizes) + num_absent)
    return ImageNeed(len(keys), num_bytes, len(answers), num_absent, next(iter(problems), None))


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
        if not self._is_linked and not self._is_source:
            for name in self._names:
                if name.startswith(PART_PREFIX):  # of a killed run
                    (path / name).unlink()

    def look(self, name: str, full_decode: bool) -> Outcome | None:
        """Return an image's outcome; None if it has to be asked for, and then it is removed."""
        if name not in self._names:
            url = self._bucket.url(self._keys[name])
            missing = Outcome(name, State.MISSING, Kind.ABSENT, source=url)
            return missing if self._is_source else None
        outcome = self._outcome(name, full_decode)
        if outcome is None:
            (self._path / name).unlink()
        return outcome

    def fetch(
        self, name_of: dict[str, str], full_decode: bool, advance: Advance
    ) -> Iterator[Outcome]:
        """Fetch and write images, given by their keys; yield the outcome of each."""
        check = partial(check_jpeg, full_decode=full_decode)
        for get, data, problem in self._bucket.read_many(map(Get, name_of), check):
            name, url = name_of[get.key], self._bucket.url(get.key)
            if problem:
                outcome = outcome_of(name, problem, url)
            else:
                path = f"{self._path}/{name}"
                write_whole(path, data)
                outcome = _present(name, data, url, os.stat(path))
            advance(1, len(data), outcome.state is not State.PRESENT)
            yield outcome

    def _is_ours(self, name: str, status: os.stat_result) -> bool:
        """Return True if these tools wrote a file, so that it may be replaced or removed.

        They did if the manifest has it, and the folder is not the bucket's own. In a folder that is
        reached through a link, where others may put files too, it has to be unchanged since as
        well. A link to a file is never ours. Of a run that was stopped only an empty file is, which
        a power cut leaves: what it wrote was whole.
        """
        known = self._known.get(name)
        if not known or not known.source or self._is_source or (self._path / name).is_symlink():
            return False
        if known.reason is Kind.UNFINISHED:
            return status.st_size == 0 and not self._is_linked
        if self._is_linked:
            return _is_untouched(status, known)
        return known.state is State.PRESENT

    def _outcome(self, name: str, full_decode: bool) -> Outcome | None:
        """Return the outcome of a file that is there; None if it has to be asked for."""
        path, known, is_ours = f"{self._path}/{name}", self._known.get(name), False
        try:
            status = os.stat(path)
            is_ours = self._is_ours(name, status)
            if is_ours and self._has_changed(name, status):
                return None
            if known and not full_decode and _is_untouched(status, known):
                return known if is_ours else known._replace(source="")
            data = Path(path).read_bytes()
            check_jpeg(data, full_decode)
        except (OSError, ValueError) as error:
            if is_ours:
                return None
            facts = getattr(error, "strerror", None) or str(error)
            reason, source = Kind.FOREIGN, ""
            if self._is_source:
                reason, source = Kind.DAMAGED, self._bucket.url(self._keys[name])
            return Outcome(name, State.CORRUPT, reason, source=source, detail=facts)
        found = _present(name, data, "", status)
        if known is None:
            return found
        if is_ours and known.checksum != found.checksum:
            return None  # it changed since it was written
        is_unrecorded = known.reason is Kind.UNFINISHED and not self._is_source
        return found._replace(source=known.source) if is_ours or is_unrecorded else found

    def _has_changed(self, name: str, status: os.stat_result) -> bool:
        """Return True if a folder's file is another one than its copy; a server is not asked."""
        path = self._bucket.folder and self._bucket.folder / self._keys[name]
        if not path or not path.exists():
            return False
        origin = path.stat()
        # Not by the time of writing: a file that is moved to another's place keeps that.
        return origin.st_ctime_ns > status.st_mtime_ns or origin.st_size != status.st_size


def _is_untouched(status: os.stat_result, known: Outcome) -> bool:
    found = (State.PRESENT, status.st_size, moment(status.st_mtime))
    return found == (known.state, known.num_bytes, known.fetched)


def _present(name: str, data: bytes, source: str, status: os.stat_result) -> Outcome:
    # BLAKE3 rather than SHA-256, which would cost more than writing so many files.
    checksum = blake3(data).hexdigest()
    when = moment(status.st_mtime)
    return Outcome(name, State.PRESENT, None, len(data), checksum, source, when)
