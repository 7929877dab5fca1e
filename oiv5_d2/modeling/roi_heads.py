"""Detectron2's ROI heads, with losses that leave out what people did not annotate."""

from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import ROI_HEADS_REGISTRY
from detectron2.modeling.roi_heads import StandardROIHeads
from detectron2.structures import Instances

from oiv5_d2.modeling.known import KnowingInstances, open_classes
from oiv5_d2.modeling.losses import marginalise, sigmoid_loss
from oiv5_d2.modeling.settings import SIGMOID, Annotation

Features = dict[str, torch.Tensor]
Losses = dict[str, torch.Tensor]


@ROI_HEADS_REGISTRY.register()
class PartialROIHeads(StandardROIHeads):  # type: ignore[misc]
    """`StandardROIHeads` for targets without masks, ignore regions and unverified classes.

    What is predicted, and with which layers, is the stock heads'. Targets have ``gt_has_mask``.
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
    def label_and_sample_proposals(
        self, proposals: list[Instances], targets: list[KnowingInstances]
    ) -> list[Instances]:
        """Return the stock sample, with `open_classes` of each proposal: (N, K) bool."""
        sampled: list[Instances] = super().label_and_sample_proposals(proposals, targets)
        for found, image in zip(sampled, targets, strict=True):
            found.open_classes = open_classes(found.proposal_boxes, image.known, self.annotation)
        return sampled

    def _forward_box(self, features: Features, proposals: list[Instances]) -> Any:
        if not self.training:
            return super()._forward_box(features, proposals)
        levels = [features[name] for name in self.box_in_features]
        pooled = self.box_pooler(levels, [one.proposal_boxes for one in proposals])
        scores, deltas = self.box_predictor(self.box_head(pooled))
        classes = torch.cat([one.gt_classes for one in proposals])
        is_open = torch.cat([one.open_classes for one in proposals])
        merged = marginalise(scores, classes, is_open)
        losses: Losses = self.box_predictor.losses((merged, deltas), proposals)
        if self.annotation.loss == SIGMOID:
            losses["loss_cls"] = sigmoid_loss(scores, classes, is_open)
        return losses

    def _forward_mask(self, features: Features, instances: list[Instances]) -> Any:
        if self.training:
            instances = [only_masked(one, self.num_classes) for one in instances]
        return super()._forward_mask(features, instances)


def only_masked(proposals: Instances, background: int) -> Instances:
    """Return proposals that are background to the mask head unless their object has a mask."""
    if not proposals.has("gt_has_mask"):  # an image without targets
        return proposals
    marked = Instances(proposals.image_size, **proposals.get_fields())
    marked.gt_classes = marked.gt_classes.masked_fill(~marked.gt_has_mask, background)
    return marked
