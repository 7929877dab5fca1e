"""Predictions beside the truth: pictures scored one by one, and the telling ones shown."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as run_lengths

from oiv5_d2.conversion import masks
from oiv5_d2.drawing.pictures import Shape, draw, fit
from oiv5_d2.drawing.sheets import Cell, Sheet, side_by_side
from oiv5_d2.reporting.gallery import Part, legend
from oiv5_d2.reporting.truth import Annotated, read_image, to_shapes

Detection = dict[str, Any]  # one entry of COCO's result format

MIN_SCORE = 0.5  # of the detections that are shown and scored
MIN_IOU = 0.5  # of a detection with the object it is taken for
HALF = (300, 400)  # (height, width) of each of a pair
GAP = 4
KINDS = ("best", "typical", "worst")


class Scored(NamedTuple):
    """One picture, its detections above the floor, and how good they are, 0 to 1."""

    picture: Annotated
    found: list[Detection]
    quality: float


def score_pictures(pictures: Sequence[Annotated], predictions: Sequence[Detection]) -> list[Scored]:
    """Score the detections of each picture that has an object to find.

    Args:
        pictures: with their annotations.
        predictions: COCO's result format, of any pictures.
    """
    by_image: dict[int, list[Detection]] = defaultdict(list)
    for one in predictions:
        if one["score"] >= MIN_SCORE:
            by_image[one["image_id"]].append(one)
    return [
        Scored(p, found := by_image[p.image["id"]], quality(p.annotations, found))
        for p in pictures
        if any(not one["iscrowd"] for one in p.annotations)
    ]


def quality(annotations: Sequence[Mapping[str, Any]], found: Sequence[Detection]) -> float:
    """Return the panoptic quality of one picture's detections, 0 to 1.

    The sum of the IoUs of what was found, over found plus half of what was missed and half of what
    was made up. Detections go to the object of their class with the highest IoU, best score first;
    those inside a region to be ignored do not count.
    """
    objects = [one for one in annotations if not one["iscrowd"]]
    ignored = [one for one in annotations if one["iscrowd"]]
    ranked = sorted(found, key=lambda one: -one["score"])
    overlap = _overlaps(ranked, objects)
    free = set(range(len(objects)))
    matched, num_made_up = [], 0
    for i, one in enumerate(ranked):
        best = max(free, key=lambda j: overlap[i, j], default=None)
        if best is not None and overlap[i, best] > MIN_IOU:
            free.remove(best)
            matched.append(overlap[i, best])
        elif not _overlaps([one], ignored, iscrowd=True).max(initial=0) > MIN_IOU:
            num_made_up += 1
    total = len(matched) + 0.5 * len(free) + 0.5 * num_made_up
    return float(sum(matched) / total) if total else 1.0


def choose_telling(scored: Sequence[Scored], num_each: int) -> dict[str, list[Scored]]:
    """Return so many of the best, the middle and the worst pictures; none is taken twice.

    Pictures of a single object are left out where enough others are there: their scores are
    extreme by nature.
    """
    rich = [one for one in scored if _num_objects(one) > 1]
    pool = rich if len(rich) >= 3 * num_each else list(scored)
    ranked = sorted(pool, key=lambda one: (-one.quality, one.picture.image["id"]))
    num_each = min(num_each, max(1, len(ranked) // 3))
    middle = max(num_each, (len(ranked) - num_each) // 2)
    spans = ((0, num_each), (middle, middle + num_each), (len(ranked) - num_each, len(ranked)))
    telling: dict[str, list[Scored]] = {}
    taken: set[int] = set()
    for kind, (start, stop) in zip(KINDS, spans, strict=True):
        telling[kind] = [one for one in ranked[max(start, 0) : stop] if id(one) not in taken]
        taken |= {id(one) for one in telling[kind]}
    return telling


def compare(part: Part, telling: Mapping[str, Sequence[Scored]]) -> list[Cell]:
    """Return pairs, truth to the left and prediction to the right."""
    cells = []
    for kind, group in telling.items():
        for one in group:
            image = read_image(part.images_dir, one.picture.image["file_name"])
            size = fit(image.shape[:2], HALF)
            true = to_shapes(one.picture.annotations, part.overview.classes, part.label_names)
            guessed = found_shapes(one.found, part.overview.classes)
            left, right = (draw(image, s, part.colours, size) for s in (true, guessed))
            detail = f"objects {_num_objects(one)}, found {len(one.found)}{_credit(one.picture)}"
            name = one.picture.image.get("image_id", one.picture.image["file_name"])
            caption = f"{kind}: quality {one.quality:.2f}, {name}"
            cells.append(Cell(side_by_side(left, right, GAP), caption, detail))
    return cells


def comparison_sheet(part: Part, title: str, columns: int) -> Sheet:
    """Return the sheet that such pairs go on."""
    subtitle = f"truth | prediction of score {MIN_SCORE} and above; legend: objects in all pictures"
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
    return sum(not annotation["iscrowd"] for annotation in one.picture.annotations)


def _credit(picture: Annotated) -> str:
    """Name the photographer, as CC BY asks."""
    author = picture.image.get("author")
    return f"; photo: {author}" if author else ""
