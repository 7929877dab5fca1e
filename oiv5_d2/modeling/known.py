"""What is known about an image beside its objects: ignore regions and verified classes."""

from typing import Any, NamedTuple

import torch
from detectron2.structures import Boxes, Instances, pairwise_ioa

from oiv5_d2.modeling.settings import ANY, BACKGROUND, Annotation


class Known(NamedTuple):
    """What people said about one image."""

    regions: Boxes
    """(M, 4) XYXY in pixels: they hold objects that are not among the training targets."""
    region_classes: torch.Tensor
    """(M,) int64."""
    verified: torch.Tensor
    """(K,) bool: whether all objects of a class are either targets or in regions."""

    def to(self, *args: Any, **kwargs: Any) -> "Known":
        """Return a copy on another device, as `torch.Tensor.to`."""
        return Known(*(value.to(*args, **kwargs) for value in self))


class KnowingInstances(Instances):  # type: ignore[misc]
    """An image's training targets, with what else is known about the image.

    A subclass, so that Detectron2's meta architecture hands it on to the RPN and to the ROI heads.
    """

    def __init__(self, targets: Instances, known: Known) -> None:
        super().__init__(targets.image_size, **targets.get_fields())
        self._known = known

    @property
    def known(self) -> Known:
        """What else is known about the image."""
        return self._known

    def to(self, *args: Any, **kwargs: Any) -> "KnowingInstances":
        """Return a copy on another device, as `torch.Tensor.to`."""
        return KnowingInstances(super().to(*args, **kwargs), self._known.to(*args, **kwargs))


def is_covered(boxes: Boxes, regions: Boxes, overlap: float) -> torch.Tensor:
    """Return which boxes are in which regions: (M, N) bool.

    As in the official metric, by the share of the box's own area that the region covers: a large
    box around a small region is not in it.
    """
    covered: torch.Tensor = pairwise_ioa(regions, boxes) >= overlap
    return covered


def open_classes(boxes: Boxes, known: Known, annotation: Annotation) -> torch.Tensor:
    """Return of which classes each box may show an object that nobody annotated: (N, K) bool."""
    num_classes = len(known.verified)
    is_open = torch.zeros(len(boxes), num_classes, dtype=torch.bool, device=boxes.device)
    if annotation.unverified:
        is_open |= ~known.verified
    if annotation.regions != BACKGROUND:
        covered = is_covered(boxes, known.regions, annotation.overlap)
        classes = torch.arange(num_classes, device=boxes.device)
        of_class = known.region_classes[:, None] == classes  # (M, K)
        if annotation.regions == ANY:
            of_class = torch.ones_like(of_class)
        is_open |= (covered[:, :, None] & of_class[:, None]).any(dim=0)
    return is_open
