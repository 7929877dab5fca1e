"""Is an exported model still the model? Both look at the same images.

Two programs round differently, by some 1e-6. That decides nothing, but where proposals have the
same score: either program ranks those as it likes, and a few detections then have no counterpart.
"""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as run_lengths

from oiv5_d2.evaluation import coco
from oiv5_d2.evaluation.detections import SEGM
from oiv5_d2.evaluation.truth import build_truth
from oiv5_d2.inference.ledger import to_detections
from oiv5_d2.inference.predictor import Detection, Predictor
from oiv5_d2.problems import Kind, Problem, Remedy

RgbImage = NDArray[np.uint8]  # (H, W, 3)

MOST_SCORE, MOST_PIXELS, LEAST_IOU = 1e-3, 0.5, 0.99
MOST_ALONE = 0.02  # share of the detections that may have no counterpart


class Parity(NamedTuple):
    """How far an exported model is from its original, on all images together.

    Attributes:
        num_images: looked at.
        num_found: detections of both.
        num_alone: of these, those without a counterpart of the same class within `MOST_SCORE`,
            `MOST_PIXELS` and `LEAST_IOU`.
        score: the largest difference of two counterparts' scores.
        pixels: the largest difference of their boxes' sides.
        iou: the least overlap of their masks.
        ap: mask AP of the original and of the exported model, 0 to 100; NaN without objects.
        milliseconds: an image of the original, and of the exported model: medians.
    """

    num_images: int
    num_found: int
    num_alone: int
    score: float
    pixels: float
    iou: float
    ap: tuple[float, float]
    milliseconds: tuple[float, float]

    @property
    def holds(self) -> bool:
        """True if nearly all detections have their counterpart."""
        return self.num_alone <= MOST_ALONE * max(1, self.num_found)


def refuse(found: Parity, words: str, most_loss: float | None) -> None:
    """Refuse an exported model that is not the model, or costs too much.

    Args:
        found: of `compare`.
        words: what was asked for.
        most_loss: mask AP that smaller numbers may cost; None for a copy in the model's own.

    Raises:
        Problem: MISMATCH.
    """
    if most_loss is None and not found.holds:
        detail = f"{found.num_alone} of {found.num_found} detections have no counterpart"
        raise Problem(Kind.MISMATCH, words, detail, remedy=Remedy.NONE)
    before, after = found.ap
    if most_loss is not None and before - after > most_loss:
        detail = f"mask AP {after:.2f} on {found.num_images} images, {before:.2f} in fp32"
        key, remedy = "precision max_loss", Remedy.CHANGE_SETTING
        raise Problem(Kind.MISMATCH, words, detail, key=key, remedy=remedy)


def compare(
    original: Predictor, exported: Predictor, images: Sequence[RgbImage], truth: dict[str, Any]
) -> Parity:
    """Return how far the second is from the first; images are shown to both in turns.

    Args:
        original: the model.
        exported: its copy.
        images: to look at.
        truth: the content of a COCO file of these images, in their order.
    """
    found: list[list[list[Detection]]] = [[], []]
    seconds = []
    for image in images:
        both, times = zip(*(_timed(one, image) for one in (original, exported)), strict=True)
        for side, some in zip(found, both, strict=True):
            side.append(some)
        seconds.append(times)
    pairs = [two for both in zip(*found, strict=True) for two in _counterparts(*both)]
    num_found = sum(len(some) for side in found for some in side)
    first, second = (1000 * np.median(seconds, axis=0)).tolist()
    return Parity(
        num_images=len(images),
        num_found=num_found,
        num_alone=num_found - 2 * len(pairs),
        score=max((abs(one.score - other.score) for one, other in pairs), default=0.0),
        pixels=max((_distance(*two) for two in pairs), default=0.0),
        iou=min((_overlap(*two) for two in pairs), default=1.0),
        ap=(_precision(found[0], truth), _precision(found[1], truth)),
        milliseconds=(first, second),
    )


def _timed(predictor: Predictor, image: RgbImage) -> tuple[list[Detection], float]:
    begin = time.perf_counter()
    found = predictor(image)
    return found, time.perf_counter() - begin


def _counterparts(
    first: Sequence[Detection], second: Sequence[Detection]
) -> list[tuple[Detection, Detection]]:
    """Return the pairs of detections that are the same one."""
    waiting, pairs = list(second), []
    for one in first:
        for place, other in enumerate(waiting):
            if _is_same(one, other):
                pairs.append((one, waiting.pop(place)))
                break
    return pairs


def _is_same(one: Detection, other: Detection) -> bool:
    return (
        one.class_name == other.class_name
        and abs(one.score - other.score) <= MOST_SCORE
        and _distance(one, other) <= MOST_PIXELS
        and _overlap(one, other) >= LEAST_IOU
    )


def _distance(one: Detection, other: Detection) -> float:
    return max(abs(a - b) for a, b in zip(one.box, other.box, strict=True))


def _overlap(one: Detection, other: Detection) -> float:
    """Return the overlap of two masks; 1 if they are equal, empty ones too."""
    if one.rle is None or other.rle is None or one.rle == other.rle:
        return 1.0
    return float(run_lengths.iou([one.rle], [other.rle], [0])[0, 0])


def _precision(found: Sequence[Sequence[Detection]], content: dict[str, Any]) -> float:
    copied = {**content, "annotations": [dict(one) for one in content["annotations"]]}
    truth = build_truth(copied, "images", "")
    return coco.evaluate(truth, to_detections(found, truth), SEGM)["AP"]
