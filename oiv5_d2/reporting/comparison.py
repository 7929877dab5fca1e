"""Predictions beside the truth: images scored one by one, and the best, typical and worst shown."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from oiv5_d2.conversion import masks
from oiv5_d2.drawing.colours import PAPER
from oiv5_d2.drawing.shapes import Shape, draw
from oiv5_d2.drawing.sheets import Cell, Sheet, lay_out
from oiv5_d2.reporting.gallery import legend, write_jpeg
from oiv5_d2.reporting.truth import (
    AnnotatedImage,
    Part,
    open_part,
    read_image,
    read_images,
    to_shapes,
)
from oiv5_d2.runs.matches import MIN_SCORE, match
from oiv5_d2.runs.prepared import Prepared

Detection = dict[str, Any]  # one entry of COCO's result format

HALF = (300, 400)  # (height, width) of each of a pair
GAP = 4
PAIRS_OF_A_KIND, PAIRS_IN_A_ROW = 2, 2
MAX_BYTES = 500_000  # it is committed


class Scored(NamedTuple):
    """One image, its detections from the thresholds on, and their panoptic quality, 0 to 1."""

    image: AnnotatedImage
    found: list[Detection]
    quality: float


def write_comparison(
    prepared: Prepared,
    predictions: Iterable[Detection],
    least: Mapping[str, float],
    title: str,
    path: Path,
) -> None:
    """Write pairs of truth and prediction as JPEG: a few of the best, typical and worst images.

    Args:
        prepared: the data.
        predictions: in COCO's result format.
        least: the score from which on a class's detections are shown; `MIN_SCORE` without one.
        title: of the sheet.
        path: of the JPEG.

    Raises:
        Problem: ABSENT or DAMAGED, the data; EMPTY, no image has an object to find.
    """
    part = open_part(prepared)
    images = read_images(part.coco_path, part.traits)
    thresholds = {id_: least.get(name, MIN_SCORE) for id_, name in part.classes.items()}
    examples = choose_examples(score_images(images, predictions, thresholds), PAIRS_OF_A_KIND)
    cells = [compare(part, kind, one) for kind, group in examples.items() for one in group]
    scores = ", ".join(f"{name} {thresholds[id_]:.2f}" for id_, name in part.classes.items())
    subtitle = f"truth | predictions of at least {scores}; legend: objects in all images"
    room = (HALF[0], 2 * HALF[1] + GAP)
    sheet = Sheet(title, subtitle, legend(part), PAIRS_IN_A_ROW, room)
    write_jpeg(path, lay_out(sheet, cells), MAX_BYTES)


def score_images(
    images: Iterable[AnnotatedImage],
    predictions: Iterable[Detection],
    thresholds: Mapping[int, float],
) -> list[Scored]:
    """Score the detections of each image that has an object to find.

    Args:
        images: with their annotations.
        predictions: in COCO's result format.
        thresholds: the least score that counts, by category id.
    """
    by_image: dict[int, list[Detection]] = defaultdict(list)
    for one in predictions:
        if one["score"] >= thresholds[one["category_id"]]:
            by_image[one["image_id"]].append(one)
    found = ((image, by_image[image.record["id"]]) for image in images if image.objects)
    return [Scored(image, own, quality(image, own)) for image, own in found]


def quality(image: AnnotatedImage, found: Sequence[Detection]) -> float:
    """Return the panoptic quality of one image's detections, 0 to 1."""
    return match(found, image.annotations).quality


def choose_examples(scored: Sequence[Scored], num_each: int) -> dict[str, list[Scored]]:
    """Return so many of the best, the middle and the worst images; none is taken twice.

    Images with a single object are left out if there are enough others: their scores are extreme
    by nature.
    """
    rich = [one for one in scored if len(one.image.objects) > 1]
    pool = rich if len(rich) >= 3 * num_each else scored
    ranked = sorted(pool, key=lambda one: (-one.quality, one.image.record["id"]))
    num_each = min(num_each, max(1, len(ranked) // 3))
    middle = max(num_each, (len(ranked) - num_each) // 2)
    after = middle + num_each
    last = max(after, len(ranked) - num_each)
    return {"best": ranked[:num_each], "typical": ranked[middle:after], "worst": ranked[last:]}


def compare(part: Part, kind: str, one: Scored) -> Cell:
    """Return the truth about an image to the left, and its detections to the right."""
    pixels = read_image(part, one.image)
    true = to_shapes(part, one.image)
    predicted = found_shapes(one.found, part.classes)
    left, right = (draw(pixels, shapes, part.colours, HALF) for shapes in (true, predicted))
    bar = np.full((len(left), GAP, 3), PAPER, dtype=np.uint8)
    caption = f"{kind}: quality {one.quality:.2f}, {one.image.record['open_images_id']}"
    author = one.image.record.get("author")
    credit = f"; photo: {author}" if author else ""  # as CC BY asks
    detail = f"objects {len(one.image.objects)}, found {len(one.found)}{credit}"
    return Cell(np.hstack([left, bar, right]), caption, detail)


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
