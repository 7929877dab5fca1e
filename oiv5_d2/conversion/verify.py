"""Decode annotations of a COCO file again, and compare them with what they were made from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from oiv5_d2.acquisition.shards import read_mask_file
from oiv5_d2.conversion import coco_file, masks
from oiv5_d2.conversion.convert import read_converted
from oiv5_d2.problems import Kind, Problem, Remedy
from oiv5_d2.selection.subset import Subset


def verify(path: Path, subset: Subset, data_dir: Path, sample: int) -> int:
    """Decode annotations again and compare them pixel by pixel with what they were made from.

    It takes another way than the conversion: OpenCV reads the PNG, the whole mask is resized, and
    the box is drawn.

    Args:
        path: a COCO file that `convert` made.
        subset: what it was made from.
        data_dir: where the fetched files are.
        sample: how many annotations to check, evenly spaced over the file.

    Returns:
        the number that was checked: all of them if there are fewer.

    Raises:
        Problem: MISMATCH, one differs; the detail names it.
    """
    num_annotations = read_converted(path).num_annotations
    wanted = set(np.linspace(0, num_annotations - 1, min(sample, num_annotations)).astype(int))
    annotations = [
        annotation
        for index, annotation in enumerate(coco_file.read_records(path, "annotations"))
        if index in wanted
    ]
    image_ids = {annotation["image_id"] for annotation in annotations}
    images = {
        image["id"]: image
        for image in coco_file.read_records(path, "images")
        if image["id"] in image_ids
    }
    for annotation in annotations:
        row = subset.instances.iloc[annotation["id"] - 1]
        _compare(path, annotation, row, images[annotation["image_id"]], data_dir / "masks")
    return len(annotations)


def _compare(
    path: Path, annotation: Mapping[str, Any], row: Any, image: Mapping[str, Any], masks_dir: Path
) -> None:
    size = image["height"], image["width"]
    if annotation["iscrowd"]:
        box = masks.RelBox(row.XMin, row.YMin, row.XMax, row.YMax)
        x, y, width, height = masks.encode_box(box, *size).box
        truth = np.zeros(size, dtype=bool)
        truth[y : y + height, x : x + width] = True
    else:
        split = image["file_name"].split("/")[0]
        data = read_mask_file(masks_dir, split, row.ImageID, row.MaskPath)
        png = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_ANYDEPTH)
        assert png is not None, "OpenCV cannot read a PNG that Pillow could"
        truth = masks.resize(png > 0, *size)
        is_cut = "cut_pixels" in annotation
        if not is_cut and tuple(annotation["bbox"]) != masks.tight_box(truth):
            raise _differs(path, annotation, "box")
    if image["open_images_id"] != row.ImageID or annotation["mask_path"] != row.MaskPath:
        raise _differs(path, annotation, "row")
    found = masks.decode(masks.to_rle(annotation["segmentation"], *size))
    num_cut = annotation.get("cut_pixels", 0)  # by objects in front, see `occlusion`
    if (found & ~truth).any() or np.count_nonzero(truth & ~found) != num_cut:
        raise _differs(path, annotation, "mask")
    if annotation["area"] != np.count_nonzero(found):
        raise _differs(path, annotation, "area")


def _differs(path: Path, annotation: Mapping[str, Any], what: str) -> Problem:
    detail = f"{what} of annotation {annotation['id']} ({annotation['mask_path'] or 'box'})"
    return Problem(Kind.MISMATCH, path, detail, remedy=Remedy.PREPARE_AGAIN)
