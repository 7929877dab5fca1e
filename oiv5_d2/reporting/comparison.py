"""Predictions beside the truth: images scored one by one, and the best, typical and worst shown."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as run_lengths

from oiv5_d2.conversion import masks
from oiv5_d2.drawing.shapes import Shape, draw, fit
from oiv5_d2.drawing.sheets import Cell, Sheet, side_by_side
from oiv5_d2.reporting.gallery import Part, legend, name_of
from oiv5_d2.reporting.truth import AnnotatedImage, read_image, to_shapes

Detection = dict[str, Any]  # one entry of COCO's result format

MIN_SCORE = 0.5  # of the detections that are shown and scored
MIN_IOU = 0.5  # of a detection with the object that it is matched to
HALF = (300, 400)  # (height, width) of each of a pair
GAP = 4
KINDS = ("best", "typical", "worst")


class Scored(NamedTuple):
    """One image, its detections of at least `MIN_SCORE`, and their panoptic quality, 0 to 1."""

    image: AnnotatedImage
    found: list[Detection]
    quality: float


def score_images(
    images: Sequence[AnnotatedImage], predictions: Sequence[Detection]
) -> list[Scored]:
    """Score the detections of each image that has an object to find.

    Args:
        images: with their annotations.
        predictions: COCO's result format, of any images.
    """
    by_image: dict[int, list[Detection]] = defaultdict(list)
    for one in predictions:
        if one["score"] >= MIN_SCORE:
            by_image[one["image_id"]].append(one)
    return [
        Scored(i, found := by_image[i.record["id"]], quality(i.annotations, found))
        for i in images
        if any(not one["iscrowd"] for one in i.annotations)
    ]


def quality(annotations: Sequence[Mapping[str, Any]], found: Sequence[Detection]) -> float:
    """Return the panoptic quality of one image's detections, 0 to 1.

    The sum of the IoUs of the matched objects, over their number plus half of the missed objects
    and half of the false detections. A detection is matched to the object of its class with the
    highest IoU, best score first; those inside an ignored region do not count.
    """
    objects = [one for one in annotations if not one["iscrowd"]]
    ignored = [one for one in annotations if one["iscrowd"]]
    ranked = sorted(found, key=lambda one: -one["score"])
    overlap = _overlaps(ranked, objects)
    free = set(range(len(objects)))
    matched, num_false = [], 0
    for i, one in enumerate(ranked):
        best = max(free, key=lambda j: overlap[i, j], default=None)
        if best is not None and overlap[i, best] > MIN_IOU:
            free.remove(best)
            matched.append(overlap[i, best])
        elif not _overlaps([one], ignored, iscrowd=True).max(initial=0) > MIN_IOU:
            num_false += 1
    total = len(matched) + 0.5 * len(free) + 0.5 * num_false
    return float(sum(matched) / total) if total else 1.0


def choose_examples(scored: Sequence[Scored], num_each: int) -> dict[str, list[Scored]]:
    """Return so many of the best, the middle and the worst images; none is taken twice.

    Images with a single object are left out if there are enough others: their scores are extreme
    by nature.
    """
    rich = [one for one in scored if _num_objects(one) > 1]
    pool = rich if len(rich) >= 3 * num_each else list(scored)
    ranked = sorted(pool, key=lambda one: (-one.quality, one.image.record["id"]))
    num_each = min(num_each, max(1, len(ranked) // 3))
    middle = max(num_each, (len(ranked) - num_each) // 2)
    spans = ((0, num_each), (middle, middle + num_each), (len(ranked) - num_each, len(ranked)))
    examples: dict[str, list[Scored]] = {}
    taken: set[int] = set()
    for kind, (start, stop) in zip(KINDS, spans, strict=True):
        examples[kind] = [one for one in ranked[max(start, 0) : stop] if id(one) not in taken]
        taken |= {id(one) for one in examples[kind]}
    return examples


def compare(part: Part, examples: Mapping[str, Sequence[Scored]]) -> list[Cell]:
    """Return pairs, truth to the left and prediction to the right."""
    cells = []
    for kind, group in examples.items():
        for one in group:
            pixels = read_image(part.images_dir, one.image.record["file_name"])
            size = fit(pixels.shape[:2], HALF)
            true = to_shapes(one.image.annotations, part.overview.classes, part.label_names)
            predicted = found_shapes(one.found, part.overview.classes)
            left, right = (draw(pixels, s, part.colours, size) for s in (true, predicted))
            detail = f"objects {_num_objects(one)}, found {len(one.found)}{_credit(one.image)}"
            caption = f"{kind}: quality {one.quality:.2f}, {name_of(one.image)}"
            cells.append(Cell(side_by_side(left, right, GAP), caption, detail))
    return cells


def comparison_sheet(part: Part, title: str, columns: int) -> Sheet:
    """Return the sheet for such pairs."""
    subtitle = f"truth | prediction of score {MIN_SCORE} and above; legend: objects in all images"
    room = (HALF[0], 2 * HALF[1] + GAP)
    return Sheet(title, subtitle, legend(part), columns, room)


def found_shapes(found: Sequence[Detection], classes: Mapping[int, str]) -> list[Shape]:
    """Return detections as shapes, tagged with class and score."""
    shapes = []
    for one in found:
        x, y, width, height = one["bbox"]
        name = classes[one["category_id"]]
        mask = masks.decode(one["segmentation"]) if "segmentation" in one else None
        tag = f"{name} {one['score']:.2f}"
        shapes.append(Shape(name, (x, y, x + width, y + height), mask, tag))
    return shapes


def _overlaps(
    found: Sequence[Detection], objects: Sequence[Mapping[str, Any]], iscrowd: bool = False
) -> np.ndarray:
    """Return (found, objects) IoU, 0 between classes; of a crowd, the share of what was found."""
    if not found or not objects:
        return np.zeros((len(found), len(objects)))
    key = "segmentation" if all("segmentation" in one for one in found) else "bbox"
    flags = [iscrowd] * len(objects)
    iou = run_lengths.iou([one[key] for one in found], [one[key] for one in objects], flags)
    classes = [np.array([one["category_id"] for one in ones]) for ones in (found, objects)]
    return np.where(classes[0][:, None] == classes[1][None, :], iou, 0.0)


def _num_objects(one: Scored) -> int:
    return sum(not annotation["iscrowd"] for annotation in one.image.annotations)


def _credit(image: AnnotatedImage) -> str:
    """Name the photographer, as CC BY asks."""
    author = image.record.get("author")
    return f"; photo: {author}" if author else ""
