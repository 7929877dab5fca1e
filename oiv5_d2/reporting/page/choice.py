"""Which images the page's gallery has, and why: best, typical, worst, and likely label errors."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple

from oiv5_d2.evaluation.label_errors import Suspect
from oiv5_d2.evaluation.truth import Truth
from oiv5_d2.reporting.comparison import Detection, choose_examples, score_images
from oiv5_d2.reporting.truth import AnnotatedImage

LABEL_ERROR = "label error"


class Chosen(NamedTuple):
    """An image of the gallery.

    Attributes:
        image: with its annotations.
        kinds: why it was chosen, one or two of them.
        quality: the panoptic quality of its detections from the thresholds on, 0 to 1.
        suspects: what is doubted of its annotation.
    """

    image: AnnotatedImage
    kinds: list[str]
    quality: float
    suspects: list[Suspect]


def choose_images(
    images: Sequence[AnnotatedImage],
    predictions: Sequence[Detection],
    thresholds: Mapping[int, float],
    doubted: Mapping[int, list[Suspect]],
    number: int,
) -> list[Chosen]:
    """Return at most `number` images, one of each kind in turn: the first ones show what there is.

    Args:
        images: to choose from.
        predictions: in COCO's result format.
        thresholds: the least score that counts, by category id.
        doubted: suspects by image id, as `take_suspects` returns them.
        number: of images.
    """
    scored = score_images(images, predictions, thresholds)
    # An image without an object is not scored; what is found there is false.
    qualities = {one.image.record["id"]: one.quality for one in scored}
    by_id = {one.record["id"]: one for one in images}
    examples = choose_examples(scored, (number - len(doubted)) // 3)
    groups = {kind: [o.image.record["id"] for o in group] for kind, group in examples.items()}
    groups = {LABEL_ERROR: list(doubted), **groups}
    kinds: dict[int, list[str]] = {}
    for kind, id_ in _in_turn(groups):
        kinds.setdefault(id_, []).append(kind)
    return [
        Chosen(by_id[id_], found, qualities.get(id_, 0.0), doubted.get(id_, []))
        for id_, found in kinds.items()
    ]


def take_suspects(
    suspects: Sequence[Suspect], truth: Truth, num_images: int
) -> dict[int, list[Suspect]]:
    """Return the likeliest suspects by image id, as many as are on so many images."""
    taken: dict[int, list[Suspect]] = {}
    for one in suspects:
        id_ = truth.images[one.image]["id"]
        if id_ not in taken and len(taken) == num_images:
            break
        taken.setdefault(id_, []).append(one)
    return taken


def _in_turn(groups: Mapping[str, Sequence[int]]) -> Iterator[tuple[str, int]]:
    """Yield the first of each group, then the second, and so on."""
    for turn in zip_longest(*([(kind, id_) for id_ in group] for kind, group in groups.items())):
        yield from (one for one in turn if one is not None)
