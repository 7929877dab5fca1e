"""The losses of training, on the images that the model is evaluated on, each apart."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from detectron2.config import CfgNode
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from torch.nn.modules.batchnorm import _BatchNorm

from oiv5_d2.runs.metrics import TOTAL_LOSS
from oiv5_d2.training.data.mapper import derive_seed, seeded
from oiv5_d2.training.data.validation import build_validation_loader


def measure_losses(cfg: CfgNode, model: torch.nn.Module) -> dict[str, float]:
    """Return the mean over the images of ``DATASETS.TEST`` of each loss, and of their sum.

    Images are resized as for an evaluation and not augmented. Which proposals a loss is computed on
    is drawn for each image from the run's seed and its position. So the number depends neither on
    the processes nor on their loader workers. Neither do the model's buffers change: batch norm
    uses the statistics that it has.

    Args:
        cfg: the run's.
        model: without a wrapper; all processes call this.

    Returns:
        ``{"loss_mask": ..., "total_loss": ...}``.
    """
    found: list[dict[str, float]] = []
    positions, loader = build_validation_loader(cfg)
    with seeded(cfg.SEED), torch.no_grad(), _computing_losses(model), EventStorage():
        for position, sample in zip(positions, loader, strict=True):
            torch.manual_seed(derive_seed(cfg.SEED, position))
            found.append({name: loss.item() for name, loss in model([sample]).items()})
    images = [image for images in comm.all_gather(found) for image in images]
    # Exact sums: their order, and so the number of processes, makes no difference.
    means = {name: math.fsum(image[name] for image in images) / len(images) for name in images[0]}
    return {**means, TOTAL_LOSS: math.fsum(means.values())}


@contextmanager
def _computing_losses(model: torch.nn.Module) -> Iterator[None]:
    """Let a model compute losses without changing; all its modules are put back at the end."""
    modes = {module: module.training for module in model.modules()}
    model.train()
    for module in modes:
        if isinstance(module, _BatchNorm):
            module.eval()
    try:
        yield
    finally:
        for module, is_training in modes.items():
            module.training = is_training
