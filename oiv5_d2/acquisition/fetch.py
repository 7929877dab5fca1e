"""Fetch the wanted images and masks to disk, whole or not at all, and record what is missing.

Listed files that are not there are normal in the real release: they go to the manifest with the
reason, and only too many of them stop the run. Whatever was fetched stays, so a killed run goes on
where it stopped.
"""

import os
from pathlib import Path

import pandas as pd

from oiv5_d2.acquisition.buckets import Bucket
from oiv5_d2.acquisition.images import fetch_images
from oiv5_d2.acquisition.manifest import IMAGE, MANIFEST_CSV, MASK, State, open_manifest
from oiv5_d2.acquisition.mask_zips import extract_masks, remove_unfinished
from oiv5_d2.files import naming_full_disk
from oiv5_d2.jobs import Advance, ignore
from oiv5_d2.problems import Kind, Problem, Remedy

_REMEDY_OF = {
    Kind.ABSENT: Remedy.CHECK_ADDRESS,
    Kind.DAMAGED: Remedy.FIX_SOURCE,
    Kind.FOREIGN: Remedy.MOVE_AWAY,
    Kind.MISMATCH: Remedy.SAVE_AS_PNG,
    Kind.REFUSED: Remedy.CHECK_ADDRESS,
    Kind.UNSUPPORTED: Remedy.REPACK_ZIP,
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
        advance: called with finished files, of `files` in all, bytes that came, and failed files.

    Raises:
        Problem: TOO_MANY, more than `max_missing` of the files could not be fetched, or not one
            image of a split; what was fetched stays. FOREIGN, another file or folder is in the way;
            DISK_FULL.
    """
    is_image = files["Kind"] == IMAGE
    masks, masks_dir, path = files[~is_image], data_dir / "masks", data_dir / MANIFEST_CSV
    with naming_full_disk(data_dir, "data.limit data.dir"), open_manifest(data_dir) as manifest:
        images_dir = data_dir / "images"
        fetch_images(files[is_image], images, images_dir, manifest, full_decode, advance)
        remove_unfinished(masks_dir, {Path(key).name for key in masks["Key"]})
        for (split, key), names in masks.groupby(["Split", "Key"])["Name"]:
            shard_path, wanted = masks_dir / Path(str(key)).name, names.tolist()
            outcomes = extract_masks(annotations, str(key), wanted, shard_path, advance)
            manifest.record(MASK, str(split), outcomes)
        os.sync()  # what the manifest calls present has to survive a power cut as well
        rows = manifest.export(files, path)
    _refuse_too_many(rows, max_missing, path)


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
        detail, keys = f"{', '.join(facts)}: {causes}", "max_missing"
        if remedy is Remedy.CHECK_ADDRESS and not any("://" in url for url in rows["Source"]):
            keys, remedy = "data.source data.splits max_missing", Remedy.ADD_FILES
        raise Problem(Kind.TOO_MANY, path, detail, key=keys, remedy=remedy)


def _causes(lost: pd.DataFrame) -> tuple[str, Remedy]:
    """Return why files are not there in words, the three most frequent first, and what helps."""
    example = lost["Source"].where(lost["Source"] != "", lost["Path"])
    lost["Facts"] = (lost["Detail"] + ", " + example).str.removeprefix(", ")
    facts = lost.groupby(["State", "Reason"])["Facts"].agg(["size", "min"])
    facts = facts.sort_values("size", ascending=False, kind="stable")[:3]
    words = [f"{num:,} {' '.join(why)} ({what})" for why, num, what in facts.itertuples(name=None)]
    return "; ".join(words), _REMEDY_OF.get(facts.index[0][1], Remedy.RETRY_FAILED)
