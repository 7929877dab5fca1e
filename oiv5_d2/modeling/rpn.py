"""Detectron2's region proposal network, which takes no background from ignore regions."""

from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import PROPOSAL_GENERATOR_REGISTRY
from detectron2.modeling.proposal_generator import RPN
from detectron2.structures import Boxes

from oiv5_d2.modeling.known import KnowingInstances, Known, is_covered
from oiv5_d2.modeling.settings import Annotation


@PROPOSAL_GENERATOR_REGISTRY.register()
class PartialRPN(RPN):  # type: ignore[misc]
    """`RPN` that leaves out sampled background anchors which may be objects.

    They are left out after the sampling, so that every other term of the loss is the stock RPN's.
    """

    @configurable  # type: ignore[untyped-decorator]
    def __init__(self, *, annotation: Annotation, **stock: Any) -> None:
        super().__init__(**stock)
        self.annotation = annotation

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: Any) -> dict[str, Any]:
        """Return the arguments of a configuration."""
        return {**super().from_config(cfg, input_shape), "annotation": Annotation(**cfg.ANNOTATION)}

    @torch.no_grad()
    def label_and_sample_anchors(
        self, anchors: list[Boxes], gt_instances: list[KnowingInstances]
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Return labels (1 object, 0 background, -1 left out) and boxes, as `RPN` does."""
        together, labels, boxes = Boxes.cat(anchors), [], []
        for image in gt_instances:  # one by one, so that what is drawn is in the images' order
            (found,), matched = super().label_and_sample_anchors(anchors, [image])
            labels.append(self._leave_out(found, together, image.known))
            boxes += matched
        return labels, boxes

    def _leave_out(self, labels: torch.Tensor, anchors: Boxes, known: Known) -> torch.Tensor:
        doubtful = torch.zeros_like(labels, dtype=torch.bool)
        if self.annotation.rpn_regions:
            doubtful |= is_covered(anchors, known.regions, self.annotation.overlap).any(dim=0)
        if self.annotation.rpn_background < 1:
            luck = torch.rand(labels.shape, device=labels.device)
            doubtful |= ~known.verified.all() & (luck >= self.annotation.rpn_background)
        return labels.masked_fill((labels == 0) & doubtful, -1)
