"""A step in several micro batches, with the gradients of the whole batch but for rounding.

The mean over micro batches is something else. Detectron2 divides the losses of boxes by the number
of sampled proposals and that of masks by the number of foreground ones that have a mask, both of
the whole batch; it draws the samples image by image from one generator; it pads images to the
largest of the batch. So each step begins with a look ahead, without gradients: proposals are
sampled and counted for all of its images, with the draws of the whole batch, which each micro batch
repeats. It costs the forward pass of the backbone and the proposal network.

Batch norm that is trained is the exception: it normalises by each micro batch's own statistics.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from detectron2.structures import ImageList
from detectron2.utils.events import EventStorage
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.modules.batchnorm import _BatchNorm

from oiv5_d2.modeling.rcnn import truth_of
from oiv5_d2.modeling.roi_heads import only_masked

Sample = dict[str, Any]
Draws = tuple[Tensor, ...]  # states of the generators


class Counts(NamedTuple):
    """What Detectron2 divides losses by; of a micro batch, or its share of the step's."""

    images: float
    proposals: float
    foreground: float


# By how a loss's name begins; any other is divided by images.
DIVISORS = {"loss_cls": "proposals", "loss_box": "proposals", "loss_mask": "foreground"}


class MicroBatch(NamedTuple):
    """A part of a step.

    Attributes:
        samples: as the loader made them.
        draws: before the proposal network samples anchors, and before the heads sample proposals.
        shares: of the step's counts, each in [0, 1].
    """

    samples: list[Sample]
    draws: tuple[Draws, Draws]
    shares: Counts

    def weigh(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return this part's summands of the step's losses."""
        return {name: loss * self._share(name) for name, loss in losses.items()}

    def _share(self, name: str) -> float:
        kind = next((kind for start, kind in DIVISORS.items() if name.startswith(start)), "images")
        share: float = getattr(self.shares, kind)
        return share


class MicroBatches:
    """The micro batches of one step, for use in a ``with`` statement.

    While one is the current one, the model pads and samples as it would in the whole batch.

    Args:
        model: Detectron2's ``GeneralizedRCNN`` in training mode, not wrapped for several processes.
        batch: the samples of a step in this process.
        number: of micro batches, at most that of samples.
        precision: makes the context in which the model computes.
    """

    def __init__(
        self,
        model: Any,
        batch: Sequence[Sample],
        number: int,
        precision: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self._model, self._heads = model, model.roi_heads
        self._preprocess = model.preprocess_image
        self._sample = model.roi_heads.label_and_sample_proposals
        self._precision = precision
        self._batches = [list(batch[part]) for part in _parts(len(batch), number)]
        self._size = _padded_size(batch, model.backbone.size_divisibility)

    def __enter__(self) -> Iterator[MicroBatch]:
        self._model.preprocess_image = self._pad_to_step
        with self._precision():  # of its own: autocast would reuse weights without gradients
            found = self._look_ahead()
        self._heads.label_and_sample_proposals = self._sample_as_in_step
        return self._one_by_one(found)

    def __exit__(self, *_: object) -> None:
        # On the instance they hid the methods of the class.
        del self._model.preprocess_image, self._heads.label_and_sample_proposals

    def _one_by_one(self, found: list[MicroBatch]) -> Iterator[MicroBatch]:
        for self._current in found:
            self._set_draws(self._current.draws[0])
            yield self._current

    def _look_ahead(self) -> list[MicroBatch]:
        try:
            return self._sample_all()
        except FloatingPointError:  # of Detectron2, which the forward pass meets and reports again
            draws, number = (self._draws(), self._draws()), len(self._batches)
            share = Counts(*[1 / number] * 3)
            return [MicroBatch(batch, draws, share) for batch in self._batches]

    @torch.no_grad()
    def _sample_all(self) -> list[MicroBatch]:
        # In the order of a whole batch: anchors of all images are drawn first, then proposals.
        with EventStorage(), keep_statistics(self._model):  # what is logged here, is logged again
            proposed = [(self._draws(), *self._propose(batch)) for batch in self._batches]
            sampled = [(self._draws(), self._count(*pair)) for _, *pair in proposed]
        shares = _shares([counts for _, counts in sampled])
        draws = [(rpn, heads) for (rpn, *_), (heads, _) in zip(proposed, sampled, strict=True)]
        return [MicroBatch(*one) for one in zip(self._batches, draws, shares, strict=True)]

    def _propose(self, batch: list[Sample]) -> tuple[Any, list[Any]]:
        """Return the proposals and the truth of each image."""
        truth = [truth_of(sample).to(self._model.device) for sample in batch]
        images = self._model.preprocess_image(batch)
        features = self._model.backbone(images.tensor)
        return self._model.proposal_generator(images, features, truth)[0], truth

    def _count(self, proposals: Any, truth: list[Any]) -> Counts:
        sampled = self._sample(proposals, truth)
        background = self._heads.num_classes
        masked = [only_masked(one, background) for one in sampled]
        foreground = sum(int((one.gt_classes != background).sum()) for one in masked)
        return Counts(len(sampled), sum(map(len, sampled)), foreground)

    def _sample_as_in_step(self, *arguments: Any) -> Any:
        self._set_draws(self._current.draws[1])
        return self._sample(*arguments)

    def _pad_to_step(self, samples: list[Sample]) -> ImageList:
        images = self._preprocess(samples)
        height, width = images.tensor.shape[-2:]
        more = (0, self._size[1] - width, 0, self._size[0] - height)
        return ImageList(pad(images.tensor, more), images.image_sizes)

    def _draws(self) -> Draws:
        on_gpu = self._model.device.type == "cuda"
        of_gpu = [torch.cuda.get_rng_state(self._model.device)] if on_gpu else []
        return (torch.get_rng_state(), *of_gpu)

    def _set_draws(self, draws: Draws) -> None:
        of_cpu, *of_gpu = draws
        torch.set_rng_state(of_cpu)
        for state in of_gpu:
            torch.cuda.set_rng_state(state, self._model.device)


def _parts(total: int, number: int) -> list[slice]:
    """Return as many parts of a batch, whose sizes differ by one at most."""
    ends = [total * i // number for i in range(number + 1)]
    return [slice(*pair) for pair in pairwise(ends)]


def _padded_size(batch: Sequence[Sample], divisor: int) -> tuple[int, int]:
    """Return the height and width in pixels to which Detectron2 pads a batch."""
    height, width = (
        -(-max(sample["image"].shape[axis] for sample in batch) // max(divisor, 1))
        * max(divisor, 1)
        for axis in (-2, -1)
    )
    return height, width


def _shares(counts: Sequence[Counts]) -> list[Counts]:
    totals = [max(sum(column), 1) for column in zip(*counts, strict=True)]
    return [Counts(*(n / total for n, total in zip(one, totals, strict=True))) for one in counts]


@contextmanager
def keep_statistics(model: torch.nn.Module) -> Iterator[None]:
    """Keep batch norm's running statistics as they are, in training mode too."""
    layers = [one for one in model.modules() if isinstance(one, _BatchNorm)]
    tracking = [one for one in layers if one.track_running_stats]
    try:
        for one in tracking:
            one.track_running_stats = False
        yield
    finally:
        for one in tracking:
            one.track_running_stats = True
