"""Where a model's first weights come from, and which parameters they do not fit."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.utils import comm
from detectron2.utils.file_io import PathManager

from oiv5_d2.problems import Kind, Problem, Remedy, wrong_setting
from oiv5_d2.training.heads import carry_over, classes_of
from oiv5_d2.training.weight_files import ForeignContentError, read_weights

logger = logging.getLogger(__name__)


class WeightLoader(DetectionCheckpointer):  # type: ignore[misc]
    """A checkpointer that executes nothing, and keeps the names of what did not fit.

    Args:
        model: the model to load into.
        classes: its classes, whose rows are carried over from a head for other classes; empty to
            start such a head at random.
    """

    incompatible: Any = None

    def __init__(self, model: torch.nn.Module, classes: Sequence[str] = ()) -> None:
        super().__init__(model)
        self._classes = list(classes)

    def _load_file(self, filename: str) -> dict[str, Any]:
        return read_weights(Path(filename))

    def _load_model(self, checkpoint: dict[str, Any]) -> Any:
        weights = checkpoint["model"]
        source = checkpoint.get("run", {}).get("classes") or classes_of(weights)
        if self._classes and source and list(source) != self._classes:
            carried = carry_over(weights, self.model.state_dict(), self._classes, source)
            _log_classes(carried, self._classes)
        return super()._load_model(checkpoint)

    def _log_incompatible_keys(self, incompatible_keys: Any) -> None:
        self.incompatible = incompatible_keys


def load_pretrained(model: torch.nn.Module, path: str, classes: Sequence[str] = ()) -> list[str]:
    """Load weights into ``model``; parameters missing or of another shape keep their random start.

    A COCO model has 81 class scores and 80 masks where ours has 5 and 4. With ``classes`` the rows
    of those that COCO has too are carried over by name (`heads`), and one line says which. The
    classes of the weights are those that their run names, or COCO's if 80 are scored.

    Args:
        model: as Detectron2 built it, on its device.
        path: a file, a ``detectron2://`` path of the model zoo or a URL; empty for none.
        classes: of ``model``, in their order; empty to start a head for other classes at random.

    Returns:
        The names of the parameters that keep their random start, sorted; none for an empty path.

    Raises:
        Problem: ABSENT, there is no such file; UNREACHABLE, it cannot be downloaded; DAMAGED, it
            cannot be read; UNSUPPORTED, it holds more than weights (none of it is executed);
            MISMATCH, no parameter of the backbone is in it; SETTING, a package that reads such a
            file is not installed.
    """
    if not path:
        logger.info("No weights given: training starts from random ones")
        return []
    loader, local = WeightLoader(model, classes), _local(path)
    try:
        loader.load(local)
    except ForeignContentError as error:
        raise _wrong(Kind.UNSUPPORTED, path, f"holds {error}", Remedy.SAVE_WEIGHTS) from error
    except ImportError as error:
        detail = f"{first_line(error)}: python tools/install.py export"
        raise wrong_setting("d2.MODEL.WEIGHTS", path, detail) from error
    # pickle, zip and torch each raise their own errors; all mean the same.
    except Exception as error:
        raise _wrong(Kind.DAMAGED, path, first_line(error)) from error
    if loader.incompatible is None:  # another process reads the file and sends its weights
        return []
    missing = set(loader.incompatible.missing_keys)
    backbone = {name for name, _ in loader.model.named_parameters() if name.startswith("backbone.")}
    if backbone <= missing:
        raise _wrong(Kind.MISMATCH, path, "no parameter of this model's backbone is in it")
    fresh = sorted(missing | {name for name, *_ in loader.incompatible.incorrect_shapes})
    logger.info("Weights: %s. Random at the start: %s", path, ", ".join(fresh) or "nothing")
    return fresh


def _local(path: str) -> str:
    """Return the file's path here, after a download where one is needed."""
    try:
        local = str(PathManager.get_local_path(path))
    except OSError as error:
        raise _wrong(Kind.UNREACHABLE, path, first_line(error), Remedy.CHECK_ADDRESS) from error
    if not os.path.isfile(local) and comm.is_main_process():
        raise _wrong(Kind.ABSENT, path, "")
    return local


def _log_classes(carried: dict[str, str], classes: Sequence[str]) -> None:
    anew = ", ".join(name for name in classes if name not in carried) or "none"
    pairs = ", ".join(f"{name} from {source}" for name, source in carried.items()) or "none"
    logger.info("Classes carried over: %s. Random at the start: %s", pairs, anew)


def _wrong(kind: Kind, path: str, detail: str, remedy: Remedy = Remedy.CHANGE_SETTING) -> Problem:
    key = "d2.MODEL.WEIGHTS"
    return Problem(kind, f"{key}={path}", detail, key=key, remedy=remedy)


def first_line(error: Exception) -> str:
    """Return an error's first line, or its type if it has no message."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
