"""Detectron2's meta architecture, for samples that say what is known about their image."""

from typing import Any

import torch
from detectron2.modeling import META_ARCH_REGISTRY, GeneralizedRCNN
from detectron2.structures import Instances

from oiv5_d2.modeling.known import KnowingInstances, Known


@META_ARCH_REGISTRY.register()
class PartialRCNN(GeneralizedRCNN):  # type: ignore[misc]
    """`GeneralizedRCNN` whose RPN and ROI heads get `KnowingInstances` in training.

    A sample has, beside ``image`` and ``instances``, ``regions``: `Instances` with ``gt_boxes`` and
    ``gt_classes``; and ``verified``: (K,) bool.
    """

    def forward(self, batched_inputs: list[dict[str, Any]]) -> Any:
        """Return losses in training and detections otherwise, as Detectron2 does."""
        if self.training:
            batched_inputs = [{**one, "instances": truth_of(one)} for one in batched_inputs]
        return super().forward(batched_inputs)


def truth_of(sample: dict[str, Any]) -> Instances:
    """Return the targets of a sample: `KnowingInstances` where it has what else is known."""
    if "regions" not in sample:
        return sample["instances"]
    regions = sample["regions"]
    known = Known(regions.gt_boxes, regions.gt_classes, torch.as_tensor(sample["verified"]))
    return KnowingInstances(sample["instances"], known)
