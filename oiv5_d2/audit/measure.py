"""What an audit measures: every object of a COCO file, and every image file that it names."""

import hashlib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from oiv5_d2.acquisition.jpeg import UPRIGHT, decode, read_header
from oiv5_d2.conversion import coco_file, masks
from oiv5_d2.conversion.masks import RelBox
from oiv5_d2.processes import map_tasks
from oiv5_d2.selection.subset import Subset

IMAGES_PER_TASK = 64
TASKS_PER_WORKER = 8  # fewer are done before another process has started
SIZES = ("small", "medium", "large")  # COCO's: below 32 x 32, below 96 x 96, above
_SIZE_EDGES = (32**2, 96**2)


_OBJECT_TYPES = {
    "Id": "int64",
    "ImageRow": "int64",
    "Category": "int64",
    "Label": "str",
    "MaskPath": "str",
    "Reason": "str",
    "Area": "int64",
    "Share": "float64",
    "Size": "str",
    "PredictedIoU": "float64",
    "BoxIoU": "float64",
    "Outside": "float64",
}


class ImageFile(NamedTuple):
    """One image as found on disk."""

    open_images_id: str
    fault: str
    """"" or what is wrong: missing, size, turned, unreadable."""
    detail: str
    sha256: str


class _Expected(NamedTuple):
    open_images_id: str
    path: Path
    height: int
    width: int


def read_images(path: Path) -> pd.DataFrame:
    """Return the images of a COCO file: Id, ImageID, FileName, Height, Width, sorted by Id."""
    rows = [
        (image["id"], image["open_images_id"], image["file_name"], image["height"], image["width"])
        for image in coco_file.read_records(path, "images")
    ]
    return pd.DataFrame(rows, columns=["Id", "ImageID", "FileName", "Height", "Width"])


def measure_objects(path: Path, images: pd.DataFrame, subset: Subset) -> pd.DataFrame:
    """Return a row an annotation, measured.

    Args:
        path: a COCO file.
        images: of that file, from `read_images`.
        subset: what the file was made from; it has the boxes that the annotators started from.

    Returns:
        Id, ImageRow (position in `images`), Category (index in the classes), Label (MID), MaskPath,
        Reason ("" for a training target), Area (px), Share (of the image's area), Size (of
        `SIZES`), PredictedIoU, BoxIoU (of the mask's tight box and the released box) and Outside
        (share of the mask's pixels that no pixel of the released box covers); the last two are NaN
        for ignored objects.
    """
    sizes = images[["Height", "Width"]].to_numpy()
    row_of = dict(zip(images["Id"].tolist(), range(len(images)), strict=True))
    boxes = subset.instances[["XMin", "YMin", "XMax", "YMax"]].to_numpy()
    rows = []
    for annotation in coco_file.read_records(path, "annotations"):
        image_row = row_of[annotation["image_id"]]
        height, width = sizes[image_row].tolist()
        box = RelBox(*boxes[annotation["id"] - 1].tolist())
        fit = (np.nan, np.nan) if annotation["iscrowd"] else _fit(annotation, box, height, width)
        rows.append(
            (
                annotation["id"],
                image_row,
                annotation["category_id"] - 1,
                annotation["label"],
                annotation["mask_path"],
                annotation["ignore_reason"],
                annotation["area"],
                annotation["area"] / (height * width),
                SIZES[int(np.searchsorted(_SIZE_EDGES, annotation["area"], side="right"))],
                annotation["predicted_iou"],
                *fit,
            )
        )
    frame = pd.DataFrame(rows, columns=list(_OBJECT_TYPES))
    return frame.astype(_OBJECT_TYPES)  # without rows pandas would not know the types


def inspect_images(
    images: pd.DataFrame, images_dir: Path, workers: int, advance: Callable[[int], object]
) -> list[ImageFile]:
    """Decode every image in full, compare it with what the COCO file says, and hash its bytes.

    Args:
        images: from `read_images`.
        images_dir: the folder that FileName is relative to.
        workers: the most processes to use; the result does not depend on it.
        advance: called with the number of images newly decoded.
    """
    tasks = list(_tasks(images, images_dir))
    num_workers = max(1, min(workers, len(tasks) // TASKS_PER_WORKER))
    found: list[ImageFile] = []
    for some in map_tasks(_inspect_all, tasks, num_workers):
        found += some
        advance(len(some))
    return found


def presence(images: pd.DataFrame, objects: pd.DataFrame, num_classes: int) -> NDArray[np.bool_]:
    """Return (N, C) bool: whether an image has an annotation of the class, crowds included.

    Only for images that training keeps, those with a training target: these are what Detectron2's
    sampler sees, and it counts their crowds.
    """
    every = _count(images, objects, num_classes)
    kept = _count(images, objects[objects["Reason"] == ""], num_classes).any(axis=1)
    present: NDArray[np.bool_] = every[kept] > 0
    return present


def num_objects(images: pd.DataFrame, objects: pd.DataFrame, num_classes: int) -> NDArray[np.int64]:
    """Return (N, C): the number of training targets, for the same images as `presence`."""
    counts = _count(images, objects[objects["Reason"] == ""], num_classes)
    return counts[counts.any(axis=1)]


def _count(images: pd.DataFrame, objects: pd.DataFrame, num_classes: int) -> NDArray[np.int64]:
    counts = np.zeros((len(images), num_classes), dtype=np.int64)
    np.add.at(counts, (objects["ImageRow"].to_numpy(), objects["Category"].to_numpy()), 1)
    return counts


def _fit(annotation: Any, box: RelBox, height: int, width: int) -> tuple[float, float]:
    """Return the IoU of the tight and the released box, and the share of the mask outside it."""
    x, y, w, h = annotation["bbox"]
    left, top, box_w, box_h = masks.to_xywh_abs(box, height, width)
    overlap_w = max(0.0, min(x + w, left + box_w) - max(x, left))
    overlap_h = max(0.0, min(y + h, top + box_h) - max(y, top))
    overlap = overlap_w * overlap_h
    drawn = masks.encode_box(box, height, width)
    x0, y0, drawn_w, drawn_h = drawn.box
    inside = annotation["area"]
    if x < x0 or y < y0 or x + w > x0 + drawn_w or y + h > y0 + drawn_h:
        common = coco_mask.merge([annotation["segmentation"], drawn.rle], intersect=True)
        inside = int(coco_mask.area(common))
    return overlap / (w * h + box_w * box_h - overlap), 1 - inside / annotation["area"]


def _tasks(images: pd.DataFrame, images_dir: Path) -> Iterator[list[_Expected]]:
    columns = (images[name].tolist() for name in ("ImageID", "FileName", "Height", "Width"))
    expected = (
        _Expected(open_images_id, images_dir / name, height, width)
        for open_images_id, name, height, width in zip(*columns, strict=True)
    )
    while task := list(islice(expected, IMAGES_PER_TASK)):
        yield task


def _inspect_all(task: list[_Expected]) -> list[ImageFile]:
    return [_inspect(*expected) for expected in task]


def _inspect(open_images_id: str, path: Path, height: int, width: int) -> ImageFile:
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ImageFile(open_images_id, "missing", "", "")
    try:
        header = read_header(path)
        decode(path)
    except (OSError, ValueError) as error:
        return ImageFile(open_images_id, "unreadable", str(error), digest)
    if header.orientation != UPRIGHT:
        turned = f"EXIF orientation {header.orientation}"
        return ImageFile(open_images_id, "turned", turned, digest)
    if (header.height, header.width) != (height, width):
        sizes = f"{header.width} x {header.height}, not {width} x {height}"
        return ImageFile(open_images_id, "size", sizes, digest)
    return ImageFile(open_images_id, "", "", digest)
