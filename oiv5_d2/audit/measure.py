"""What an audit measures: the objects of a COCO file, its image files, and what parts share."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from io import BytesIO
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from oiv5_d2.acquisition.jpeg import UPRIGHT, header_of
from oiv5_d2.conversion import coco_file, masks
from oiv5_d2.conversion.image_store import Images
from oiv5_d2.conversion.masks import RelBox
from oiv5_d2.conversion.records import have_same_aspect
from oiv5_d2.processes import map_tasks
from oiv5_d2.selection.subset import Subset

IMAGES_PER_TASK = 64
TASKS_PER_WORKER = 8  # fewer are done before another process has started
SIZES = ("small", "medium", "large")  # COCO's: below 32 x 32, below 96 x 96, above
_SIZE_EDGES = (32**2, 96**2)
_OBJECT_TYPES = (
    dict.fromkeys(("Id", "ImageRow", "Category", "Area"), "int64")
    | dict.fromkeys(("Label", "MaskPath", "Reason", "Size", "Shape"), "str")
    | dict.fromkeys(("Share", "PredictedIoU", "BoxIoU", "Outside"), "float64")
)

Place = tuple[str, str]  # part, ImageID
BoxOf = Callable[[Mapping[str, Any]], Sequence[float]]


class ImageFile(NamedTuple):
    """One image as found on disk."""

    open_images_id: str
    fault: str
    """"" or what is wrong: missing, size, turned, unreadable."""
    detail: str
    sha256: str


def read_images(path: Path) -> pd.DataFrame:
    """Return the images of a COCO file: Id, ImageID, FileName, Height, Width, sorted by Id."""
    pick = itemgetter("id", "open_images_id", "file_name", "height", "width")
    rows = map(pick, coco_file.read_records(path, "images"))
    return pd.DataFrame(rows, columns=["Id", "ImageID", "FileName", "Height", "Width"])


def measure_objects(path: Path, images: pd.DataFrame, box_of: BoxOf) -> pd.DataFrame:
    """Return a row an annotation, measured.

    Args:
        path: a COCO file.
        images: of that file, from `read_images`.
        box_of: returns the box that an annotation started from, as fractions: XMin, YMin, XMax,
            YMax.

    Returns:
        Id, ImageRow (position in `images`), Category (index in the classes), Label (MID), MaskPath,
        Reason ("" for a training target), Area (px), Share (of the image's area), Size (of
        `SIZES`), PredictedIoU, BoxIoU (of the mask's tight box and the released box) and Outside
        (share of the mask's pixels that no pixel of the released box covers); the last two are NaN
        for ignored objects. Shape is "" unless image and mask have another shape: "turned" or
        "other".
    """
    sizes = images[["Height", "Width"]].to_numpy()
    row_of = dict(zip(images["Id"].tolist(), range(len(images)), strict=True))
    rows = []
    for annotation in coco_file.read_records(path, "annotations"):
        image_row = row_of[annotation["image_id"]]
        height, width = sizes[image_row].tolist()
        box = RelBox(*box_of(annotation))
        fit = (np.nan, np.nan) if annotation["iscrowd"] else _fit(annotation, box, height, width)
        share = annotation["area"] / (height * width)
        shape = _shape(annotation.get("mask_size"), height, width)
        category = annotation["category_id"] - 1
        rows.append((*_said(annotation), image_row, category, share, *fit, shape))
    read = ["Label", "MaskPath", "Reason", "PredictedIoU", "Id", "Area"]
    measured = ["ImageRow", "Category", "Share", "BoxIoU", "Outside", "Shape"]
    frame = pd.DataFrame(rows, columns=[*read, *measured])
    sizes = np.searchsorted(_SIZE_EDGES, frame["Area"], side="right")
    frame = frame.assign(Size=np.take(SIZES, sizes))
    return frame.astype(_OBJECT_TYPES)  # without rows pandas would not know the types


def released_boxes(subset: Subset) -> BoxOf:
    """Return the function that `measure_objects` wants, for a file that was made from a subset."""
    boxes = subset.instances[["XMin", "YMin", "XMax", "YMax"]].to_numpy()
    return lambda annotation: boxes[annotation["id"] - 1].tolist()


def _said(annotation: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what a record says: label, mask, reason, predicted IoU, id, area."""
    id_ = annotation["id"]
    name = annotation.get("mask_path", f"annotation {id_}")
    about = annotation.get("label", ""), name, annotation["ignore_reason"]
    return (*about, annotation.get("predicted_iou"), id_, annotation["area"])


def inspect_images(
    images: pd.DataFrame, source: Images, workers: int, advance: Callable[[int], object]
) -> list[ImageFile]:
    """Decode every image in full, compare it with what the COCO file says, and hash its bytes.

    Args:
        images: from `read_images`.
        source: where they are read from.
        workers: the most processes to use; the result does not depend on it.
        advance: called with the number of images newly decoded.
    """
    starts = range(0, len(images), IMAGES_PER_TASK)
    tasks = [images[start : start + IMAGES_PER_TASK] for start in starts]
    num_workers = max(1, min(workers, len(tasks) // TASKS_PER_WORKER))
    found: list[ImageFile] = []
    for some in map_tasks(partial(_inspect_all, source), tasks, num_workers):
        found += some
        advance(len(some))
    return found


def find_leaks(files: Mapping[str, Sequence[ImageFile]]) -> dict[str, list[Any]]:
    """Return the images that parts share: a model must not have seen what it is evaluated on.

    Args:
        files: the image files of each part.

    Returns:
        sorted groups of [part, ImageID]: ``same_id`` in several parts; ``same_bytes``, files that
        are equal byte for byte under other ids in several parts; ``copies``, the same inside one
        part.
    """
    places = [((part, file.open_images_id), file) for part, some in files.items() for file in some]
    by_content = _grouped((file.sha256, place) for place, file in places if file.sha256)
    equal = [group for group in by_content if len({id_ for _, id_ in group}) > 1]
    return {
        "same_id": _grouped((file.open_images_id, place) for place, file in places),
        "same_bytes": [group for group in equal if len({part for part, _ in group}) > 1],
        "copies": [group for group in equal if len({part for part, _ in group}) == 1],
    }


def count_by_class(
    images: pd.DataFrame, objects: pd.DataFrame, num_classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the training targets and all annotations of each image, by class: twice (N, C).

    Only for images that training keeps, those with a training target: these are what Detectron2's
    sampler sees, and it counts their crowds.
    """
    counts = np.zeros((2, len(images), num_classes), dtype=np.int64)
    for count, some in zip(counts, (objects[objects["Reason"] == ""], objects), strict=True):
        np.add.at(count, (some["ImageRow"].to_numpy(), some["Category"].to_numpy()), 1)
    targets, every = counts[:, counts[0].any(axis=1)]
    return targets, every


def _grouped(keyed: Iterable[tuple[str, Place]]) -> list[list[Place]]:
    """Return the sorted groups of two and more that have one key."""
    groups: dict[str, set[Place]] = {}
    for key, place in keyed:
        groups.setdefault(key, set()).add(place)
    return sorted(sorted(group) for group in groups.values() if len(group) > 1)


def _fit(annotation: Any, box: RelBox, height: int, width: int) -> tuple[float, float]:
    """Return BoxIoU and Outside of `measure_objects`."""
    released = masks.to_xywh_abs(box, height, width)
    rle = masks.to_rle(annotation["segmentation"], height, width)
    iou = coco_mask.iou([coco_mask.toBbox(rle)], [released], [False])[0, 0]
    drawn = masks.encode_box(box, height, width)
    common = coco_mask.merge([rle, drawn.rle], intersect=True)
    return float(iou), 1 - int(coco_mask.area(common)) / annotation["area"]


def _shape(mask_size: Sequence[int] | None, height: int, width: int) -> str:
    """Return Shape of `measure_objects`; a mask's size is recorded only where it does not fit."""
    if mask_size is None:
        return ""
    return "turned" if have_same_aspect((mask_size[1], mask_size[0]), (height, width)) else "other"


def _inspect_all(source: Images, images: pd.DataFrame) -> list[ImageFile]:
    rows: Iterable[Any] = images.itertuples(index=False)
    return [
        ImageFile(row.ImageID, *_inspect(source, row.FileName, row.Height, row.Width))
        for row in rows
    ]


def _inspect(source: Images, name: str, height: int, width: int) -> tuple[str, str, str]:
    """Return the fields of an `ImageFile` after the id."""
    try:
        data = source.read(name)
    except OSError:
        return "missing", "", ""
    digest = hashlib.sha256(data).hexdigest()
    try:
        header = header_of(BytesIO(data), full_decode=True)
    except (OSError, ValueError) as error:
        return "unreadable", str(error), digest
    if header.orientation != UPRIGHT:
        return "turned", f"EXIF orientation {header.orientation}", digest
    if (header.height, header.width) != (height, width):
        return "size", f"{header.width} x {header.height}, not {width} x {height}", digest
    return "", "", digest
