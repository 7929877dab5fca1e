"""Where a model's first weights come from, and what of them did not fit."""

import logging
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer

logger = logging.getLogger(__name__)


class Loader(DetectionCheckpointer):  # type: ignore[misc]
    """A checkpointer that keeps what did not fit, instead of a warning a parameter."""

    incompatible: Any = None

    def _log_incompatible_keys(self, incompatible_keys: Any) -> None:
        self.incompatible = incompatible_keys


def load_pretrained(model: torch.nn.Module, path: str) -> list[str]:
    """Load weights into ``model``; what has another shape, or is not there, keeps its random start.

    A COCO model has 81 class scores and 80 masks where ours has 5 and 4: these layers begin anew.

    Args:
        model: as Detectron2 built it, on its device.
        path: a file, a ``detectron2://`` path of the model zoo or a URL; empty for none.

    Returns:
        The names of the parameters that keep their random start, sorted; none for an empty path.

    Raises:
        ValueError: the weights can't be had or read, or no parameter of the backbone is among them.
    """
    if not path:
        logger.info("No weights given: training starts from random ones")
        return []
    loader = Loader(model)
    try:
        loader.load(path)
    except (
        Exception
    ) as error:  # pickle, zip, HTTP and torch each raise their own; all mean the same
        raise ValueError(
            f"d2.MODEL.WEIGHTS={path} can't be read ({first_line(error)}): give a .pth or .pkl "
            "file, a detectron2:// path and a network to fetch it, or none (then BN, from scratch)"
        ) from error
    missing = set(loader.incompatible.missing_keys)
    backbone = {name for name, _ in loader.model.named_parameters() if name.startswith("backbone.")}
    if backbone <= missing:
        raise ValueError(
            f"d2.MODEL.WEIGHTS={path} holds no parameter of this model's backbone: "
            "it belongs to another architecture"
        )
    fresh = sorted(missing | {name for name, *_ in loader.incompatible.incorrect_shapes})
    logger.info("Weights: %s. Start anew at random: %s", path, ", ".join(fresh) or "nothing")
    return fresh


def first_line(error: Exception) -> str:
    """Return an error's first line, or its type where it says nothing."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
