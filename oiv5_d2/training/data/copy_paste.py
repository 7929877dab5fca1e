"""Simple Copy-Paste (Ghiasi et al. 2021): objects of another image, pasted with their masks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from detectron2.structures import Boxes, Instances

from oiv5_d2.training.data.cropped_masks import CroppedMasks

Sample = dict[str, Any]  # as Detectron2's mapper returns it
Mix = Callable[[Sample, Callable[[], Sample]], Sample]  # of a sample, and a draw of another one


@dataclass(frozen=True)
class CopyPaste:
    """Paste some objects of another image over a sample; cut the masks of what they cover.

    Both images have been resized, cropped and flipped, each by its own draws. If they differ in
    size, the other one is placed at random. There is no blending: the paper finds no gain in it.

    Attributes:
        probability: that a sample gets objects.
        share: the probability of each object of the other image.
        min_visible: an object is dropped if a smaller share of its pixels is left, 0 to 1.
    """

    probability: float
    share: float
    min_visible: float

    def __post_init__(self) -> None:
        """Refuse what is no share.

        Raises:
            ValueError: a value is below 0 or above 1.
        """
        if not all(0 <= one <= 1 for one in (self.probability, self.share, self.min_visible)):
            raise ValueError("each is from 0 to 1")

    def __call__(self, sample: Sample, draw_another: Callable[[], Sample]) -> Sample:
        """Return the sample with pasted objects, or as it was.

        Args:
            sample: ``image`` (3, H, W) uint8, ``instances`` with boxes, classes and cropped masks.
                Other instances in it, such as ignored regions, are covered but never pasted.
            draw_another: returns another such sample; called only if there is something to paste.
        """
        if np.random.random() >= self.probability:
            return sample
        other = draw_another()
        objects = other["instances"]
        chosen = np.random.random(len(objects)) < self.share
        if objects.has("gt_has_mask"):
            chosen &= objects.gt_has_mask.numpy()
        if not chosen.any():
            return sample
        size: tuple[int, int] = tuple(sample["image"].shape[1:])
        offset = _draw_offset(size, objects.image_size)
        pasted = _move(objects[torch.from_numpy(chosen)], size, offset, self.min_visible)
        return self._cover(sample, pasted, _shift(other["image"], size, offset))

    def _cover(self, sample: Sample, pasted: Instances, pixels: torch.Tensor) -> Sample:
        covered = pasted.gt_masks.union()
        cut = {
            name: _cut(value, covered, self.min_visible if name == "instances" else 0.0)
            for name, value in sample.items()
            if isinstance(value, Instances) and value.has("gt_masks")
        }
        own = cut.get("instances")
        together = Instances.cat([own, pasted]) if own else pasted
        image = torch.where(covered, pixels, sample["image"])
        return {**sample, **cut, "image": image, "instances": together}


def _draw_offset(size: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    """Return where the other image's first row and column lie; (0, 0) for the same size."""
    gaps = (mine - its for mine, its in zip(size, other, strict=True))
    y, x = (np.random.randint(min(gap, 0), max(gap, 0) + 1) for gap in gaps)
    return y, x


def _shift(pixels: torch.Tensor, size: tuple[int, int], offset: tuple[int, int]) -> torch.Tensor:
    """Return pixels (..., h, w) on a canvas of another size, zero where they do not reach."""
    (height, width), (y, x) = size, offset
    canvas = pixels.new_zeros((*pixels.shape[:-2], height, width))
    shown = pixels[..., max(-y, 0) : max(height - y, 0), max(-x, 0) : max(width - x, 0)]
    top, left = max(y, 0), max(x, 0)
    canvas[..., top : top + shown.shape[-2], left : left + shown.shape[-1]] = shown
    return canvas


def _move(
    objects: Instances, size: tuple[int, int], offset: tuple[int, int], min_visible: float
) -> Instances:
    y, x = offset
    boxes = objects.gt_boxes.tensor + torch.tensor([x, y, x, y])
    return _remake(objects, boxes, objects.gt_masks.shifted(size, x, y), min_visible)


def _cut(objects: Instances, covered: torch.Tensor, min_visible: float) -> Instances:
    masks = objects.gt_masks.without(covered)
    return _remake(objects, objects.gt_boxes.tensor, masks, min_visible)


def _remake(
    objects: Instances, boxes: torch.Tensor, masks: CroppedMasks, min_visible: float
) -> Instances:
    """Return objects with what is left of their masks, and boxes around that.

    Args:
        objects: with the whole masks; their other fields are kept.
        boxes: (N, 4) XYXY, right for the masks that are still whole.
        masks: N, what is left of them.
        min_visible: as in `CopyPaste`; what has nothing left is dropped at 0, too.
    """
    whole, left = objects.gt_masks.area(), masks.area()
    kept = (left > 0) & (left >= min_visible * whole)
    tight = masks.get_bounding_boxes().tensor
    found = Instances(masks.image_size)
    for name, value in objects[kept].get_fields().items():
        if name not in ("gt_boxes", "gt_masks"):
            found.set(name, value)
    found.gt_boxes = Boxes(torch.where((left == whole)[:, None], boxes, tight)[kept])
    found.gt_masks = masks[kept]
    return found
