"""Box heads whose classification loss weighs classes differently, for data with rare ones."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from detectron2.modeling.roi_heads.fast_rcnn import FastRCNNOutputLayers
from torch.nn import functional as F

from oiv5_d2.keys import near
from oiv5_d2.problems import wrong_setting

BALANCED = "balanced"
BETA = 0.999  # of Cui et al.; objects beyond the first thousand or so count for little

Losses = dict[str, torch.Tensor]


def read_class_weights(
    choice: str | Mapping[str, float] | None, counts: Mapping[str, int]
) -> tuple[float, ...]:
    """Return the weight of each class; empty where all are to weigh the same.

    Args:
        choice: ``trainer.class_weights``: ``balanced``, or weights by class, 1 for those left out.
        counts: objects to train on by class, in class order.

    Raises:
        Problem: SETTING, an unknown choice or class, or a weight that is not positive.
    """
    if choice is None:
        return ()
    key = "trainer.class_weights"
    if isinstance(choice, str):
        if choice != BALANCED:
            raise wrong_setting(key, choice, f"there are null, {BALANCED}, and weights by class")
        return balanced(list(counts.values()))
    for name, weight in choice.items():
        if name not in counts:
            raise wrong_setting(key, name, f"no such class{near(name, counts)}")
        if not weight > 0:
            raise wrong_setting(f"{key}.{name}", weight, "a weight is above 0")
    return tuple(float(choice.get(name, 1.0)) for name in counts)


def balanced(counts: Sequence[int], beta: float = BETA) -> tuple[float, ...]:
    """Return class-balanced weights, with a mean of 1 (Cui et al., 2019).

    A class weighs the inverse of its effective number of objects, ``(1 - beta**n) / (1 - beta)``:
    each further object adds less, as it is more like those before it.

    Args:
        counts: objects of each class; a class without any counts as one.
        beta: from 0, all weigh the same, to below 1, where a weight is the inverse of the count.
    """
    inverse = [(1 - beta) / (1 - beta ** max(1, count)) for count in counts]
    return tuple(len(inverse) * weight / sum(inverse) for weight in inverse)


def weigh_classes(model: torch.nn.Module, weights: Sequence[float]) -> None:
    """Let the box heads of a model weigh the classification loss of each proposal by its class.

    Background weighs 1. The sum is divided by the number of proposals, as in Detectron2, so that
    weights of 1 give its loss. The model's parameters and buffers stay as they are.

    Args:
        model: with one box predictor or, in a cascade, several.
        weights: (K,) above 0, in class order.
    """
    with_background = torch.tensor([*weights, 1.0])
    for layers in model.modules():
        if isinstance(layers, FastRCNNOutputLayers):
            layers.losses = partial(_losses, layers, layers.losses, with_background)


def _losses(
    layers: Any,
    stock: Callable[..., Losses],
    weights: torch.Tensor,
    predictions: tuple[torch.Tensor, torch.Tensor],
    proposals: list[Any],
) -> Losses:
    losses, (scores, _) = stock(predictions, proposals), predictions
    classes = torch.cat([one.gt_classes for one in proposals])
    total = F.cross_entropy(scores, classes, weights.to(scores), reduction="sum")
    factor = layers.loss_weight.get("loss_cls", 1.0)
    return {**losses, "loss_cls": factor * total / max(1, len(classes))}
