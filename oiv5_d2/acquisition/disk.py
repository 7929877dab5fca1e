"""How much room a preparation needs on its disk, and what is said where there is none."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from oiv5_d2.acquisition.images import lacking, sample
from oiv5_d2.acquisition.manifest import IMAGE, MASK
from oiv5_d2.acquisition.shards import shard_path
from oiv5_d2.acquisition.stores import Head, Store
from oiv5_d2.console.quantities import size

# What lies on the disk beside pictures and masks, as it was measured on real photos and rounded up:
# a record in a COCO file, which lies there twice while its pieces are joined, and rows in the
# manifest, the credits and the subset; for a mask also its headers in a zip.
_BYTES_BESIDE_PICTURE = 1_300
_BYTES_BESIDE_MASK = 2_000
_BYTES_BESIDE_IGNORED = 1_000
_MASK_BYTES = 1_500  # of one whose size is not known; the release's zips have that much a mask
_SAMPLE = 20  # pictures that are asked for their size: more would be work for a plan
_FULL = {errno.ENOSPC, errno.EDQUOT}
REMEDY = "make room, choose less (data.limit.per_class=...) or another folder (data.dir=...)"


def free_bytes(path: Path) -> int:
    """Return how much the disk of a folder has left; the folder need not be there yet."""
    existing = next(each for each in (path, *path.absolute().parents) if each.exists())
    return shutil.disk_usage(existing).free


def bytes_beside(num_images: int, num_masks: int, num_ignored: int) -> int:
    """Return about how much is written about so many pictures and objects."""
    return (
        num_images * _BYTES_BESIDE_PICTURE
        + num_masks * _BYTES_BESIDE_MASK
        + num_ignored * _BYTES_BESIDE_IGNORED
    )


def check_room(files: pd.DataFrame, images: Store, data_dir: Path) -> None:
    """Refuse to begin with what will not fit.

    A few pictures are asked for their size; those that can not be asked count for nothing.

    Args:
        files: from `list_files`.
        images: the images bucket.
        data_dir: where all goes.

    Raises:
        OSError: there is too little room; the message names folder and remedy.
    """
    keys, num_masks = _to_come(files, data_dir)
    asked = sample(keys, _SAMPLE)
    sizes = [head.num_bytes for _, head in images.head_many(asked) if isinstance(head, Head)]
    num_bytes = len(keys) * sum(sizes) // max(1, len(asked)) + num_masks * _MASK_BYTES
    num_bytes += bytes_beside(len(keys), num_masks, 0)
    if num_bytes > free_bytes(data_dir):
        raise OSError(
            f"the disk of {data_dir} has {size(free_bytes(data_dir))} left, and about"
            f" {size(num_bytes)} are to come: {REMEDY}"
        )


def _to_come(files: pd.DataFrame, data_dir: Path) -> tuple[list[str], int]:
    """Return the pictures that are not there, and how many masks belong to zips that are not."""
    images, masks = (files[files["Kind"] == kind] for kind in (IMAGE, MASK))
    keys = (images["Split"] + "/" + images["Path"]).tolist()
    num_masks = sum(
        len(rows)
        for (split, digit), rows in masks.groupby(["Split", "Digit"])
        if not shard_path(data_dir / "masks", str(split), str(digit)).exists()
    )
    return lacking(keys, data_dir / "images"), num_masks


@contextmanager
def naming_full_disk(data_dir: Path) -> Iterator[None]:
    """Say in words of ours that a folder's disk is full.

    Raises:
        OSError: it is; the message names folder and remedy.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise OSError(
            f"the disk of {data_dir} is full: {REMEDY}; the same command goes on from here"
        ) from error
