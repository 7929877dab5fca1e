"""The rules of thumb by which settings follow from the data, each with its reason.

A rule yields advice. Later rules see what earlier ones advised: anchors need the image sizes.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from oiv5_d2.audit import balance
from oiv5_d2.recipe import anchors
from oiv5_d2.recipe.anchors import Anchors
from oiv5_d2.recipe.objects import Floats, Objects, in_model

# Detectron2's zoo on COCO train2017: 90,000 steps of 16 images are its 1x schedule.
ZOO_IMAGES = 117_266
ZOO_EPOCHS = 12
# Six times that; longer brought nothing, from random weights too (He et al., Rethinking ImageNet
# Pre-training, ICCV 2019).
MOST_EPOCHS = 72
ZOO_SHORTEST, ZOO_LONGEST = 800, 1333  # px
ZOO_SHRINK = (0.8, 0.84, 0.88, 0.92, 0.96, 1.0)  # its training sizes, 640 to 800 px
# Settings that would undo what a user decided by one of the others.
DECIDED_BY = {
    "trainer.epochs": ("d2.SOLVER.MAX_ITER",),
    "trainer.reference_batch": ("d2.SOLVER.MAX_ITER", "d2.SOLVER.STEPS", "d2.SOLVER.BASE_LR"),
}
# What IoU and recall together have to rise by. The RPN of trained weights knows its own anchors.
GAIN, GAIN_OF_TRAINED = 0.02, 0.1

Settings = Mapping[str, Any]  # dotted keys -> values


class Advice(NamedTuple):
    """The value of a setting, and why."""

    key: str
    value: Any
    because: str


class Ingredients(NamedTuple):
    """What the rules start from.

    Attributes:
        objects: of the training data.
        batch: images in a step, for which the chosen solver's learning rate is meant.
        rate: that learning rate.
    """

    objects: Objects
    batch: int
    rate: float


Rule = Callable[[Ingredients, Settings], Iterator[Advice]]


def sizes(given: Ingredients, _: Settings) -> Iterator[Advice]:
    """Yield sizes that enlarge few images: that costs time and adds no detail."""
    short, long = given.objects.sizes.min(axis=1), given.objects.sizes.max(axis=1)
    median = float(np.median(short))
    shortest = max(32, min(ZOO_SHORTEST, _to_32(median)))
    shape = min(float(np.quantile(long / short, 0.98)), ZOO_LONGEST / ZOO_SHORTEST)
    longest = _to_32(shortest * shape)
    because = f"the median image is {median:.0f} px on its shorter side, at most {ZOO_SHORTEST}"
    train = [round(share * shortest) for share in ZOO_SHRINK]
    yield Advice("d2.INPUT.MIN_SIZE_TRAIN", train, f"{because}; down to 0.8 of it, as in the zoo")
    yield Advice("d2.INPUT.MIN_SIZE_TEST", shortest, because)
    because = f"longer side / shorter side of 98 % of the images is at most {shape:.2f}"
    for key in ("d2.INPUT.MAX_SIZE_TRAIN", "d2.INPUT.MAX_SIZE_TEST"):
        yield Advice(key, longest, because)


def _to_32(pixels: float) -> int:
    """Round to a multiple of the coarsest feature map's stride in the backbone."""
    return 32 * round(pixels / 32)


def sampler(given: Ingredients, _: Settings) -> Iterator[Advice]:
    """Yield the sampler that the audit recommends for these classes."""
    counts = given.objects.per_image()
    found = balance.report(counts > 0, counts)
    best = found["recommended"]
    name, threshold = best["DATALOADER.SAMPLER_TRAIN"], best["DATALOADER.REPEAT_THRESHOLD"]
    because = f"the most frequent class has {found['ratio']:.1f} times the objects of the rarest"
    if not threshold:
        limit = f"{because}; fewer than {balance.WORST_RATIO:.0f} need no repeats"
        yield Advice("d2.DATALOADER.SAMPLER_TRAIN", name, limit)
        return
    yield Advice("d2.DATALOADER.SAMPLER_TRAIN", name, f"{because}; {best['ratio']:.1f} with it")
    yield Advice("d2.DATALOADER.REPEAT_THRESHOLD", float(threshold), "the audit's recommendation")


def length(given: Ingredients, now: Settings) -> Iterator[Advice]:
    """Yield the epochs: fewer images are seen more often, all together as their square root."""
    num_images = max(1, round(len(given.objects.sizes) * now["trainer.data_share"]))
    epochs = ZOO_EPOCHS * max(1.0, math.sqrt(ZOO_IMAGES / num_images))
    because = f"{num_images:,} images; the zoo sees {ZOO_IMAGES:,} in {ZOO_EPOCHS} epochs"
    yield Advice("trainer.epochs", float(min(round(epochs), MOST_EPOCHS)), because)


def rate(given: Ingredients, now: Settings) -> Iterator[Advice]:
    """Yield the batch that the solver is meant for: the rate follows this run's."""
    own, batch = given.rate, now["d2.SOLVER.IMS_PER_BATCH"]
    because = f"the solver's rate is {own:g} for {given.batch} images in a step"
    because += f", so {own * batch / given.batch:.3g} for {batch}"
    yield Advice("trainer.reference_batch", given.batch, because)


def fitting_anchors(given: Ingredients, now: Settings) -> Iterator[Advice]:
    """Yield anchors for the objects, if they fit clearly better than the model's own."""
    own = read_anchors(now)
    if own is None:
        return
    boxes, class_of = boxes_in_model(given.objects, now), given.objects.class_of
    best = anchors.propose(boxes, class_of, own)
    before, after = (_fit(boxes, given.objects, each) for each in (own, best))
    is_trained = bool(now["d2.MODEL.WEIGHTS"])
    is_better = sum(after) - sum(before) >= (GAIN_OF_TRAINED if is_trained else GAIN)
    because = (
        f"mean best IoU {before[0]:.2f} -> {after[0]:.2f}, recall {before[1]:.1%} -> {after[1]:.1%}"
    )
    if not is_better:
        because = f"{because}: too little to change them"
        because += ", as the weights know these" if is_trained else ""
    chosen = best if is_better else own
    yield Advice(_SIZES, [[_plain(size)] for size in chosen.sizes], because)
    yield Advice(_RATIOS, [list(chosen.ratios)], because)


_SIZES = "d2.MODEL.ANCHOR_GENERATOR.SIZES"
_RATIOS = "d2.MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS"


def read_anchors(now: Settings) -> Anchors | None:
    """Return a feature pyramid's anchors; None for a model that places them in another way."""
    levels = now["d2.MODEL.RPN.IN_FEATURES"]
    each, ratios = now[_SIZES], now[_RATIOS]
    is_pyramid = len(each) == len(levels) and all(name[1:].isdigit() for name in levels)
    if not is_pyramid or {len(size) for size in each} != {1} or len(ratios) != 1:
        return None
    strides = tuple(2 ** int(name[1:]) for name in levels)
    return Anchors(tuple(float(size[0]) for size in each), tuple(ratios[0]), strides)


def boxes_in_model(objects: Objects, now: Settings) -> Floats:
    """Return all boxes (N, 4), xywh_abs, at the middle one of the training sizes."""
    shortest = float(np.median(now["d2.INPUT.MIN_SIZE_TRAIN"]))
    return in_model(objects, shortest, now["d2.INPUT.MAX_SIZE_TRAIN"])


def _fit(boxes: Floats, objects: Objects, which: Anchors) -> tuple[float, float]:
    """Return IoU and recall, each the mean of the classes' means."""
    fits = anchors.measure(boxes, objects.class_of, which, objects.classes).values()
    overlap, recall = (np.mean([getattr(f, name) for f in fits]) for name in ("overlap", "recall"))
    return float(overlap), float(recall)


def _plain(size: float) -> int | float:
    return int(size) if size.is_integer() else size


RULES: tuple[Rule, ...] = (sizes, sampler, length, rate, fitting_anchors)


def follow(
    given: Ingredients, now: Settings, is_explicit: Callable[[str], bool]
) -> tuple[list[Advice], Settings]:
    """Return all advice, and the settings after it.

    Args:
        given: the data and the solver.
        now: the composed settings.
        is_explicit: says whether a user set a key: then its value stays, and later rules use it.
    """
    settings, found = dict(now), []
    for rule in RULES:
        for advice in list(rule(given, settings)):
            found.append(advice)
            if not any(map(is_explicit, (advice.key, *DECIDED_BY.get(advice.key, ())))):
                settings[advice.key] = advice.value
    return found, settings


def changes(before: Settings, after: Settings) -> Iterable[tuple[str, Any]]:
    """Return the keys whose values differ, with the new ones."""
    return [(key, value) for key, value in after.items() if value != before[key]]
