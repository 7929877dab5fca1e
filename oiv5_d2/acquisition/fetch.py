"""Fetch the wanted images and masks to disk, whole or not at all, and record what is missing.

Listed files that are not there are normal in the real release: they go to the manifest with the
reason, and only too many of them stop the run. Whatever was fetched stays, so a killed run goes on
where it stopped.
"""

import os
from pathlib import Path

import pandas as pd

from oiv5_d2.acquisition.buckets import Bucket
from oiv5_d2.acquisition.images import fetch_images, needed_images
from oiv5_d2.acquisition.manifest import IMAGE, MANIFEST_CSV, MASK, Manifest, State, open_manifest
from oiv5_d2.acquisition.mask_zips import extract_masks, remove_unfinished
from oiv5_d2.files import free_bytes, naming_full_disk
from oiv5_d2.jobs import Advance, ignore
from oiv5_d2.problems import Kind, Problem, Remedy

_MASK_BYTES = 1_500  # of one whose size is not known; the release's zips have that much a mask
_REMEDY_OF = {
    Kind.ABSENT: Remedy.CHECK_ADDRESS,
    Kind.DAMAGED: Remedy.FIX_SOURCE,
    Kind.FOREIGN: Remedy.MOVE_AWAY,
    Kind.REFUSED: Remedy.CHECK_ADDRESS,
}


def fetch(
    files: pd.DataFrame,
    annotations: Bucket,
    images: Bucket,
    data_dir: Path,
    *,
    max_missing: float = 0.05,
    full_decode: bool = False,
    advance: Advance = ignore,
) -> None:
    """Fetch files, and write ``manifest.csv``.

    What is already there and whole is not asked for again, unless it changed here, or in the folder
    that it came from. Nothing damaged is kept: an image has to have a readable header and an end, a
    mask has to agree with its zip's and its own checksums. No file that somebody else put there is
    replaced or removed.

    Args:
        files: as `selection.subset.list_files` returns them, of all parts that share `data_dir`.
        annotations: the bucket that has the masks' zips.
        images: the bucket of images.
        data_dir: images go to ``images/{split}/{name}``, masks to ``masks/{name of their zip}``.
        max_missing: the share that may be missing, corrupt or failed, in [0, 1], of the images and
            of the masks of each split.
        full_decode: read every image that is there again, and decode all to the last pixel.
        advance: called with finished files, of `files` in all, bytes that came, and files that
            could not be fetched.

    Raises:
        Problem: TOO_MANY, more than `max_missing` of the files could not be fetched, or not one
            image of a split; what was fetched stays. FOREIGN, another file or folder is in the way;
            DISK_FULL.
        OSError: `data_dir` cannot be written.
    """
    is_image = files["Kind"] == IMAGE
    images_dir, masks_dir, path = data_dir / "images", data_dir / "masks", data_dir / MANIFEST_CSV
    with naming_full_disk(data_dir), open_manifest(data_dir) as manifest:
        fetch_images(files[is_image], images, images_dir, manifest, full_decode, advance)
        _fetch_masks(files[~is_image], annotations, masks_dir, manifest, advance)
        os.sync()  # what the manifest calls present has to survive a power cut as well
        rows = manifest.export(files, path)
    _refuse_too_many(rows, max_missing, path)


def check_room(files: pd.DataFrame, images: Bucket, data_dir: Path) -> None:
    """Refuse to begin with what will not fit on the disk.

    A few images are asked for their size; those that cannot be asked count for nothing.

    Raises:
        Problem: DISK_FULL.
    """
    is_image = files["Kind"] == IMAGE
    need = needed_images(files[is_image], images, data_dir / "images", most=20)
    there = {path.name for path in (data_dir / "masks").glob("*.zip")}
    num_masks = sum(key.rpartition("/")[2] not in there for key in files.loc[~is_image, "Key"])
    num_bytes = need.num_bytes + num_masks * _MASK_BYTES
    num_bytes += bytes_beside(need.num_images, num_masks, 0)
    if num_bytes > (free := free_bytes(data_dir)):
        detail = f"about {num_bytes:,} bytes to fetch, {free:,} free"
        keys, remedy = "data.limit data.dir", Remedy.FREE_DISK
        raise Problem(Kind.DISK_FULL, data_dir, detail, key=keys, remedy=remedy)


def bytes_beside(num_images: int, num_masks: int, num_ignored: int) -> int:
    """Return about how much is written about so many images and objects.

    Measured on real images and rounded up: a record in a COCO file, which is there twice while its
    pieces are joined, and rows in tables; for a mask also its headers in a zip.
    """
    return num_images * 1_300 + num_masks * 2_000 + num_ignored * 1_000


def _fetch_masks(
    files: pd.DataFrame, bucket: Bucket, masks_dir: Path, manifest: Manifest, advance: Advance
) -> None:
    remove_unfinished(masks_dir, {Path(key).name for key in files["Key"]})
    for (split, key), names in files.groupby(["Split", "Key"])["Name"]:
        path = masks_dir / Path(str(key)).name
        outcomes = extract_masks(bucket, str(key), names.tolist(), path, advance)
        manifest.record(MASK, str(split), outcomes)


def _refuse_too_many(rows: pd.DataFrame, max_missing: float, path: Path) -> None:
    """Raise if more files of a kind and a split than allowed could not be fetched.

    Masks are several times the images: counted together, they would hide the images' loss. A split
    that has lost every image is refused whatever is allowed.
    """
    facts, losses = [], []
    for (kind, split), group in rows.groupby(["Kind", "Split"]):
        lost = group[group["State"] != State.PRESENT]
        if len(lost) > max_missing * len(group) or (kind == IMAGE and len(lost) == len(group)):
            facts.append(f"{len(lost):,} of {len(group):,} {kind}s of {split}")
            losses.append(lost)
    if losses:
        causes, remedy = _causes(pd.concat(losses))
        detail = f"{', '.join(facts)}: {causes}"
        raise Problem(Kind.TOO_MANY, path, detail, key="max_missing", remedy=remedy)


def _causes(lost: pd.DataFrame) -> tuple[str, Remedy]:
    """Return why files are not there in words, the three most frequent first, and what helps."""
    example = lost["Source"].where(lost["Source"] != "", lost["Path"])
    lost["Facts"] = (lost["Detail"] + ", " + example).str.removeprefix(", ")
    groups = lost.groupby(["State", "Reason"], as_index=False)
    causes = groups.agg(Files=("Path", "size"), Facts=("Facts", "min"))
    causes = causes.sort_values("Files", ascending=False, kind="stable")
    words = [
        f"{row.Files:,} {row.State} ({row.Reason}: {row.Facts})" for row in causes[:3].itertuples()
    ]
    return "; ".join(words), _REMEDY_OF.get(causes["Reason"].iloc[0], Remedy.RETRY_FAILED)
