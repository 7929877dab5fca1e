"""Where a model's first weights come from, and which parameters they do not fit."""

import logging
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer

from oiv5_d2.problems import Kind, Problem, Remedy

logger = logging.getLogger(__name__)


class Loader(DetectionCheckpointer):  # type: ignore[misc]
    """A checkpointer that keeps the names of what did not fit, instead of one warning each."""

    incompatible: Any = None

    def _log_incompatible_keys(self, incompatible_keys: Any) -> None:
        self.incompatible = incompatible_keys


def load_pretrained(model: torch.nn.Module, path: str) -> list[str]:
    """Load weights into ``model``; parameters missing or of another shape keep their random start.

    A COCO model has 81 class scores and 80 masks where ours has 5 and 4: these layers start anew.

    Args:
        model: as Detectron2 built it, on its device.
        path: a file, a ``detectron2://`` path of the model zoo or a URL; empty for none.

    Returns:
        The names of the parameters that keep their random start, sorted; none for an empty path.

    Raises:
        Problem: DAMAGED, the weights cannot be found, downloaded or read; MISMATCH, no parameter
            of the backbone is among them.
    """
    if not path:
        logger.info("No weights given: training starts from random ones")
        return []
    loader = Loader(model)
    try:
        loader.load(path)
    # pickle, zip, HTTP and torch each raise their own errors; all mean the same.
    except Exception as error:
        raise _wrong(Kind.DAMAGED, path, f"cannot be read: {first_line(error)}") from error
    missing = set(loader.incompatible.missing_keys)
    backbone = {name for name, _ in loader.model.named_parameters() if name.startswith("backbone.")}
    if backbone <= missing:
        raise _wrong(Kind.MISMATCH, path, "no parameter of this model's backbone is in it")
    fresh = sorted(missing | {name for name, *_ in loader.incompatible.incorrect_shapes})
    logger.info("Weights: %s. Random at the start: %s", path, ", ".join(fresh) or "nothing")
    return fresh


def _wrong(kind: Kind, path: str, detail: str) -> Problem:
    key, remedy = "d2.MODEL.WEIGHTS", Remedy.CHANGE_SETTING
    return Problem(kind, f"{key}={path}", detail, key=key, remedy=remedy)


def first_line(error: Exception) -> str:
    """Return an error's first line, or its type if it has no message."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
