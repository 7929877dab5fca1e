"""Detectron2's ROI heads, with losses that leave out what people did not annotate."""

from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import ROI_HEADS_REGISTRY
from detectron2.modeling.roi_heads import StandardROIHeads, select_foreground_proposals
from detectron2.structures import ImageList, Instances

from oiv5_d2.modeling.box_masks import Pixels, box_mask_loss, crop_colours
from oiv5_d2.modeling.known import KnowingInstances, open_classes
from oiv5_d2.modeling.losses import marginalise, sigmoid_loss
from oiv5_d2.modeling.settings import SIGMOID, Annotation

Features = dict[str, torch.Tensor]
Losses = dict[str, torch.Tensor]

_RGB = "rgb"  # beside the feature maps: the images, (B, 3, H, W), 0 to 255


@ROI_HEADS_REGISTRY.register()
class PartialROIHeads(StandardROIHeads):  # type: ignore[misc]
    """`StandardROIHeads` for targets without masks, ignore regions and unverified classes.

    What is predicted, and with which layers, is the stock heads'. Targets have ``gt_has_mask``.
    """

    @configurable  # type: ignore[untyped-decorator]
    def __init__(self, *, annotation: Annotation, pixels: Pixels, **stock: Any) -> None:
        super().__init__(**stock)
        self.annotation, self.pixels = annotation, pixels

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: Any) -> dict[str, Any]:
        """Return the arguments of a configuration."""
        stock: dict[str, Any] = super().from_config(cfg, input_shape)
        pixels = Pixels(cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD, cfg.INPUT.FORMAT == "BGR")
        return {**stock, "annotation": Annotation(**cfg.ANNOTATION), "pixels": pixels}

    def forward(
        self,
        images: ImageList,
        features: Features,
        proposals: list[Instances],
        targets: list[KnowingInstances] | None = None,
    ) -> Any:
        """Return what the stock heads do: proposals and losses, or detections."""
        if self.training and self.annotation.box_masks > 0:
            features = {**features, _RGB: self.pixels.to_rgb(images.tensor)}
        return super().forward(images, features, proposals, targets)

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
        if not self.training:
            return super()._forward_mask(features, instances)
        masked = [only_masked(one, self.num_classes) for one in instances]
        losses: Losses = super()._forward_mask(features, masked)
        if self.mask_on and self.annotation.box_masks > 0:
            boxed = [_choose(one, False, self.num_classes) for one in instances]
            loss = self._box_mask_loss(features, boxed)
            losses["loss_box_mask"] = self.annotation.box_masks * loss
        return losses

    def _box_mask_loss(self, features: Features, instances: list[Instances]) -> torch.Tensor:
        """Return the mean over the proposals of objects without a mask; 0 if there are none."""
        found, _ = select_foreground_proposals(instances, self.num_classes)
        proposals = [one.proposal_boxes for one in found]
        pooled = self.mask_pooler([features[name] for name in self.mask_in_features], proposals)
        logits: torch.Tensor = self.mask_head.layers(pooled)
        objects = [one for one in found if len(one)]  # only they have all fields
        if not objects:
            return logits.sum() * 0
        classes = torch.cat([one.gt_classes for one in objects])
        channel = classes if logits.shape[1] > 1 else torch.zeros_like(classes)
        logits = logits[torch.arange(len(classes), device=logits.device), channel]
        corners = [one.tensor for one in proposals]
        lab = crop_colours(features[_RGB], corners, logits.shape[-1])
        boxes = torch.cat([one.gt_boxes.tensor for one in objects])
        return box_mask_loss(logits, lab, torch.cat(corners), boxes)


def only_masked(proposals: Instances, background: int) -> Instances:
    """Return proposals that are background to the mask head unless their object has a mask."""
    return _choose(proposals, True, background)


def _choose(proposals: Instances, has_mask: bool, background: int) -> Instances:
    """Return proposals that are background unless their object has a mask, or has none."""
    if not proposals.has("gt_has_mask"):  # an image without targets
        return proposals
    chosen = Instances(proposals.image_size, **proposals.get_fields())
    others = chosen.gt_has_mask != has_mask
    chosen.gt_classes = chosen.gt_classes.masked_fill(others, background)
    return chosen
