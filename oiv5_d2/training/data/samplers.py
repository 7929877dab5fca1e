"""Which images belong to a step, as a function of the seed, the step, the batch and the data.

The batch is that of all processes together, so the number of processes does not change it either.
Only indices are handled here: images of one orientation are grouped without loading any.
"""

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from oiv5_d2.problems import wrong_setting
from oiv5_d2.training.data.records import Indices, Objects

Order = Callable[[np.random.Generator], Indices]  # draws one epoch: which images, in which order

_EPOCH, _SHARE = 0, 1  # separate the random streams of one seed


def build_order(name: str, objects: Objects, repeat_threshold: float) -> Order:
    """Return the sampler of a name, over all images.

    Args:
        name: as in ``DATALOADER.SAMPLER_TRAIN``.
        objects: of the images.
        repeat_threshold: ``DATALOADER.REPEAT_THRESHOLD``: images of classes that fewer images
            show, as a share of all, are repeated.

    Raises:
        Problem: SETTING, no sampler has that name.
    """
    check_sampler(name)
    return SAMPLERS[name](objects, repeat_threshold)


def check_sampler(name: str) -> None:
    """Refuse a sampler that there is not.

    Raises:
        Problem: SETTING, with the names that there are.
    """
    if name not in SAMPLERS:
        detail = f"there are {', '.join(SAMPLERS)}"
        raise wrong_setting("d2.DATALOADER.SAMPLER_TRAIN", name, detail)


def _plain(objects: Objects, _: float) -> Order:
    return lambda rng: rng.permutation(objects.num_images)


def _repeat_factor(objects: Objects, threshold: float) -> Order:
    """Repeat images of rare classes; the fraction of a factor is rounded at random each epoch."""
    factors = repeat_factors(objects, threshold)

    def draw(rng: np.random.Generator) -> Indices:
        times = np.floor(factors + rng.random(len(factors))).astype(np.int64)
        return rng.permutation(np.repeat(np.arange(len(factors)), times))

    return draw


def repeat_factors(objects: Objects, threshold: float) -> NDArray[np.float64]:
    """Return each image's factor, (N,), to the bit as Detectron2's sampler has it."""
    factors = np.ones(objects.num_images)
    for members in _images_by_class(objects).values():
        share = len(members) / objects.num_images
        factors[members] = np.maximum(factors[members], math.sqrt(threshold / share))
    return factors.astype(np.float32).astype(np.float64)


def _class_aware(objects: Objects, _: float) -> Order:
    """Draw a class first, each equally often, then one of its images."""
    members = list(_images_by_class(objects.only(objects.is_target)).values())
    num_images = objects.num_images

    def draw(rng: np.random.Generator) -> Indices:
        counts = np.full(len(members), num_images // len(members))
        counts[rng.permutation(len(members))[: num_images % len(members)]] += 1
        drawn = [_repeatedly(rng, *one) for one in zip(members, counts, strict=True)]
        return rng.permutation(np.concatenate(drawn))

    return draw


def _images_by_class(objects: Objects) -> Mapping[int, Indices]:
    """Return the indices of the images that show each class, in the order of the classes."""
    present = np.flatnonzero(np.bincount(objects.categories)).tolist()
    return {one: objects.showing(objects.categories == one) for one in present}


def _repeatedly(rng: np.random.Generator, members: Indices, count: int) -> Indices:
    """Return so many members, none a second time before all others came."""
    rounds = -(-count // len(members))
    return np.concatenate([rng.permutation(members) for _ in range(rounds)] or [members])[:count]


SAMPLERS: dict[str, Callable[[Objects, float], Order]] = {
    "TrainingSampler": _plain,
    "RepeatFactorTrainingSampler": _repeat_factor,
    "ClassAwareSampler": _class_aware,
}


def share_of(num_images: int, share: float, seed: int) -> Indices:
    """Return a random share of the images, in their order; a smaller share is part of a larger.

    Args:
        num_images: of all.
        share: above 0, at most 1.
        seed: of the choice.

    Raises:
        Problem: SETTING, the share is out of range.
    """
    if not 0 < share <= 1:
        raise wrong_setting("trainer.data_share", share, "a share is above 0 and at most 1")
    order = np.random.default_rng([seed, _SHARE]).permutation(num_images)
    return np.sort(order[: max(1, round(share * num_images))])


class Batches:
    """Endless batches of image indices: the batch of step n is always the same.

    Args:
        order: draws an epoch.
        is_wide: (number of images,) bool, True for an image wider than high. A batch has only
            images of one orientation. None to mix them.
        batch_size: of all processes together.
        seed: of the run.
    """

    def __init__(
        self, order: Order, is_wide: NDArray[np.bool_] | None, batch_size: int, seed: int
    ) -> None:
        self._order, self._is_wide = order, is_wide
        self._batch_size, self._seed = batch_size, seed

    def from_step(self, first: int) -> Iterator[list[int]]:
        """Yield the batches from step `first` on; earlier ones are drawn, without their images."""
        for step, batch in enumerate(self._all()):
            if step >= first:
                yield batch

    def _all(self) -> Iterator[list[int]]:
        waiting: tuple[list[int], list[int]] = ([], [])
        for index in self._indices():
            group = waiting[self._is_wide is not None and bool(self._is_wide[index])]
            group.append(index)
            if len(group) == self._batch_size:
                yield group[:]
                group.clear()

    def _indices(self) -> Iterator[int]:
        epoch = 0
        while True:
            rng = np.random.default_rng([self._seed, _EPOCH, epoch])
            yield from self._order(rng).tolist()
            epoch += 1
