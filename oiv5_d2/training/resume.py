"""What a resumed run must have in common with its checkpoint, and what may differ."""

import json
from typing import Any, NamedTuple

from detectron2.config import CfgNode

from oiv5_d2.keys import leaves
from oiv5_d2.problems import Kind, Problem, Remedy
from oiv5_d2.training.config import plain
from oiv5_d2.training.data.augmentations import Augment

# Length, rate, periods, workers, paths, rounding, averages; all else makes it another run.
MAY_CHANGE = (
    "CUDNN_BENCHMARK",
    "DATALOADER.NUM_WORKERS",
    "DATASETS.TEST",
    "INPUT.MAX_SIZE_TEST",
    "INPUT.MIN_SIZE_TEST",
    "MODEL.DEVICE",
    "MODEL.WEIGHTS",
    "OUTPUT_DIR",
    "SOLVER.",
    "TEST.",
    "VERSION",
    "VIS_PERIOD",
    "trainer.accumulate",
    "trainer.channels_last",
    "trainer.ema",
    "trainer.stages",
)


class Change(NamedTuple):
    """A key that differs, with both values as the command line would have them."""

    key: str
    before: str
    now: str


def identify(
    cfg: CfgNode,
    classes: tuple[str, ...],
    data: dict[str, Any],
    trainer: dict[str, Any],
    augment: Augment,
) -> dict[str, Any]:
    """Return what a checkpoint says about its run, in strings and numbers only.

    Args:
        cfg: the whole configuration.
        classes: display names.
        data: `runs.prepared.fingerprint` by name of the data set.
        trainer: settings of ours below ``trainer`` that what is computed depends on, by name.
        augment: the steps of augmentation.
    """
    sha256 = {name: data[name]["sha256"] for name in cfg.DATASETS.TRAIN}
    return {
        "classes": list(classes),
        "config": cfg.dump(),
        "data": sha256,
        "trainer": trainer,
        "augment": {name: dict(settings) for name, settings in augment.items()},
    }


def compare(
    before: dict[str, Any], now: dict[str, Any], subject: str = "resume=true"
) -> list[Change]:
    """Return what differs between two runs and may, by key.

    Args:
        before: of the checkpoint, as `identify` made it.
        now: of this run.
        subject: of the problem.

    Raises:
        Problem: MISMATCH, the model, the data or how it is fed differ: all keys with both values.
    """
    changes = [
        *_changes("d2.", _values(before["config"]), _values(now["config"])),
        *_changes("", _others(before), _others(now)),
    ]
    refused = [one for one in changes if not _may_change(one.key)]
    if refused:
        detail = ", ".join(f"{one.key} was {one.before}, is {one.now}" for one in refused)
        key = " ".join(f"{one.key}={one.before}" for one in refused if one.key != "data")
        remedy = Remedy.CHANGE_SETTING if key else Remedy.PREPARE_AGAIN
        raise Problem(Kind.MISMATCH, subject, detail, key=key, remedy=remedy)
    return changes


def _values(config: str) -> dict[str, Any]:
    return dict(leaves(plain(CfgNode.load_cfg(config))))


def _others(identity: dict[str, Any]) -> dict[str, Any]:
    return {
        "data": identity["data"],
        "data.classes": identity["classes"],
        **{f"trainer.{name}": value for name, value in identity["trainer"].items()},
        "augment": _augment_words(identity["augment"]),
    }


def _augment_words(augment: Augment) -> str:
    """Return what stands after ``augment=`` on a command line that asks for these steps."""
    settings = (f"{key}={_word(value)}" for key, value in leaves(augment, "augment."))
    return " ".join([f"[{','.join(augment)}]" if augment else "default", *settings])


def _changes(prefix: str, before: dict[str, Any], now: dict[str, Any]) -> list[Change]:
    return [
        Change(f"{prefix}{key}", _word(before.get(key)), _word(now.get(key)))
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    ]


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _may_change(key: str) -> bool:
    return key.removeprefix("d2.").startswith(MAY_CHANGE)
