"""Fetch the wanted images and masks to disk, whole or not at all, and say what is missing.

Listed files that are not there are normal in the real release: they go to the manifest with the
reason, and only too many of them stop the run. Whatever was fetched stays, so a killed run goes on
where it stopped.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from oiv5_d2.acquisition.buckets import Bucket, Source
from oiv5_d2.acquisition.images import fetch_images, needed_images
from oiv5_d2.acquisition.manifest import (
    IMAGE,
    MANIFEST_CSV,
    MASK,
    Count,
    Manifest,
    Reason,
    State,
    open_manifest,
)
from oiv5_d2.acquisition.mask_zips import extract_masks, remove_unfinished
from oiv5_d2.files import free_bytes, naming_full_disk
from oiv5_d2.jobs import Advance
from oiv5_d2.problems import Kind, Problem, Remedy

# What lies on the disk beside images and masks, measured on real photos and rounded up: a record in
# a COCO file, which lies there twice while its pieces are joined, and rows in the manifest, the
# credits and the subset; for a mask also its headers in a zip.
_BYTES_BESIDE = {IMAGE: 1_300, MASK: 2_000}
_BYTES_BESIDE_IGNORED = 1_000
_MASK_BYTES = 1_500  # of one whose size is not known; the release's zips have that much a mask
_REMEDY_OF = {
    Reason.ABSENT: Remedy.CHECK_ADDRESS,
    Reason.DAMAGED: Remedy.FIX_SOURCE,
    Reason.FOREIGN: Remedy.MOVE_AWAY,
    Reason.REFUSED: Remedy.CHECK_ADDRESS,
}


@dataclass(frozen=True)
class Fetched:
    """What `fetch` brought. Counts are of wanted files, the last three of both kinds."""

    num_images: int
    num_masks: int
    num_bytes: int
    """Of all files that are there."""
    num_missing: int
    num_corrupt: int
    num_failed: int
    manifest_path: Path


def fetch(
    files: pd.DataFrame,
    source: Source,
    data_dir: Path,
    *,
    max_missing: float = 0.05,
    full_decode: bool = False,
    advance: Advance = lambda num_done, num_bytes=0, num_failed=0, /: None,
) -> Fetched:
    """Fetch files, and write ``manifest.csv``.

    What is already there and whole is not asked for again, whichever mirror it came from, unless it
    changed here, or in the folder that it came from. Nothing damaged is kept: an image has to have
    a readable header and an end, a mask has to agree with its zip's and its own checksums. No file
    that somebody else put there is replaced or removed.

    Args:
        files: as `selection.subset.list_files` returns them, of all parts that share `data_dir`.
        source: the release's buckets.
        data_dir: images go to ``images/{split}/{name}``, masks to ``masks/{name of their zip}``.
        max_missing: the share that may be missing, corrupt or failed, in [0, 1], of the images and
            of the masks of each split.
        full_decode: read every image that is there again, and decode all to the last pixel.
        advance: called with the numbers of newly finished files, of `files` in all, of bytes
            that came, and of files that could not be fetched.

    Raises:
        Problem: TOO_MANY, more than `max_missing` of the files could not be fetched, or not one
            image of a split; what was fetched stays, and the manifest says what is not there.
            FOREIGN, another file or folder is in the way; DISK_FULL.
        OSError: `data_dir` cannot be written.
    """
    is_image = files["Kind"] == IMAGE
    with naming_full_disk(data_dir), open_manifest(data_dir) as manifest:
        manifest.want(files)
        images_dir = data_dir / "images"
        fetch_images(files[is_image], source.images, images_dir, manifest, full_decode, advance)
        _fetch_masks(files[~is_image], source.annotations, data_dir / "masks", manifest, advance)
        os.sync()  # what the manifest calls present has to survive a power cut as well
        manifest.export(data_dir / MANIFEST_CSV)
        counts = manifest.counts()
    _refuse_too_many(counts, max_missing, data_dir / MANIFEST_CSV)
    return _summarise(counts, data_dir / MANIFEST_CSV)


def check_room(files: pd.DataFrame, images: Bucket, data_dir: Path) -> None:
    """Refuse to begin with what will not fit on the disk.

    A few images are asked for their size; those that cannot be asked count for nothing.

    Raises:
        Problem: DISK_FULL.
    """
    is_image = files["Kind"] == IMAGE
    need = needed_images(files[is_image], images, data_dir / "images", most=20)
    masks = files[~is_image]
    is_there = {key: (data_dir / "masks" / Path(key).name).exists() for key in set(masks["Key"])}
    num_masks = sum(not is_there[key] for key in masks["Key"])
    num_bytes = need.num_bytes + num_masks * _MASK_BYTES
    num_bytes += bytes_beside(need.num_images, num_masks, 0)
    if num_bytes > (free := free_bytes(data_dir)):
        detail = f"about {num_bytes:,} bytes are to come, {free:,} are free"
        keys, remedy = "data.limit data.dir", Remedy.FREE_DISK
        raise Problem(Kind.DISK_FULL, data_dir, detail, key=keys, remedy=remedy)


def bytes_beside(num_images: int, num_masks: int, num_ignored: int) -> int:
    """Return about how much is written about so many images and objects."""
    num_bytes = num_images * _BYTES_BESIDE[IMAGE] + num_masks * _BYTES_BESIDE[MASK]
    return num_bytes + num_ignored * _BYTES_BESIDE_IGNORED


def _fetch_masks(
    files: pd.DataFrame, bucket: Bucket, masks_dir: Path, manifest: Manifest, advance: Advance
) -> None:
    zips = files[["Split", "Key"]].drop_duplicates().itertuples(index=False, name=None)
    paths = {(split, key): masks_dir / Path(key).name for split, key in zips}
    remove_unfinished(masks_dir, paths.values())
    for (split, key), path in paths.items():
        names = files.loc[(files["Split"] == split) & (files["Key"] == key), "Name"].tolist()
        manifest.record(MASK, split, extract_masks(bucket, key, names, path, advance))


def _refuse_too_many(counts: Iterable[Count], max_missing: float, path: Path) -> None:
    """Raise if more files of a kind and a split than allowed could not be fetched.

    Masks are several times the images: counted together, they would hide the images' loss. A split
    that has lost every image is refused whatever is allowed.
    """
    groups: dict[tuple[str, str], list[Count]] = defaultdict(list)
    for count in counts:
        groups[count.kind, count.split].append(count)
    facts: list[str] = []
    absent: list[Count] = []
    for (kind, split), group in sorted(groups.items()):
        num_files = sum(count.num_files for count in group)
        lost = [count for count in group if count.state is not State.PRESENT]
        num_lost = sum(count.num_files for count in lost)
        if num_lost > max_missing * num_files or (kind == IMAGE and num_lost == num_files):
            facts.append(f"{num_lost:,} of {num_files:,} {kind}s of {split}")
            absent += lost
    if absent:
        absent.sort(key=lambda count: -count.num_files)
        detail = f"{', '.join(facts)}: {'; '.join(map(_words, absent[:3]))}"
        remedy = _REMEDY_OF.get(absent[0].reason, Remedy.RETRY_FAILED)
        raise Problem(Kind.TOO_MANY, path, detail, key="max_missing", remedy=remedy)


def _words(count: Count) -> str:
    facts = ", ".join(filter(None, (count.detail, count.example)))
    return f"{count.num_files:,} {count.state} ({count.reason}: {facts})"


def _summarise(counts: Sequence[Count], path: Path) -> Fetched:
    num_in: dict[str, int] = defaultdict(int)
    for count in counts:
        num_in[count.kind if count.state is State.PRESENT else count.state] += count.num_files
    return Fetched(
        num_images=num_in[IMAGE],
        num_masks=num_in[MASK],
        num_bytes=sum(count.num_bytes for count in counts),
        num_missing=num_in[State.MISSING],
        num_corrupt=num_in[State.CORRUPT],
        num_failed=num_in[State.FAILED],
        manifest_path=path,
    )
