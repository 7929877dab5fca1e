"""Space on the disk: what a data set takes, files and what is written about them."""

from pathlib import Path

import pandas as pd

from oiv5_d2.acquisition.buckets import Bucket
from oiv5_d2.acquisition.images import needed_images
from oiv5_d2.acquisition.manifest import IMAGE
from oiv5_d2.files import free_bytes
from oiv5_d2.problems import Kind, Problem, Remedy

_MASK_BYTES = 1_500  # of one whose size is not known; the release's zips have that much a mask


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
