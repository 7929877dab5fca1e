"""Staged training: which part of the network learns, and how fast, as a function of the step.

The schedule of Matterport's Mask R-CNN: first all that is new, then the upper half of the backbone,
then the whole. A part that is frozen gets no gradients, so neither momentum nor weight decay moves
it, and its batch norm uses and keeps the statistics that it has.
"""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from detectron2.engine import HookBase, defaults
from torch.nn.modules.batchnorm import _BatchNorm

from oiv5_d2.keys import near
from oiv5_d2.problems import wrong_setting

logger = logging.getLogger(__name__)

BLOCKS = ("stem", "res2", "res3", "res4", "res5")  # of a ResNet, from the image on
# What trains -> the blocks of the backbone that are frozen; all beside the blocks always trains.
FROZEN = {
    "heads": BLOCKS,
    "res5+": BLOCKS[:4],
    "res4+": BLOCKS[:3],
    "res3+": BLOCKS[:2],
    "all": (),
}
_BLOCK = re.compile(rf"backbone\.(?:bottom_up\.)?({'|'.join(BLOCKS)})\.")


class Stage(NamedTuple):
    """A part of the run.

    Attributes:
        train: a name of `FROZEN`.
        until: where it ends: a share of the run up to 1.0, a step if an integer. None for the end.
        rate: what the learning rate is multiplied by.
    """

    train: str
    until: float | int | None = None
    rate: float = 1.0


def read_stages(entries: Sequence[Mapping[str, Any]]) -> tuple[Stage, ...]:
    """Return the stages of ``trainer.stages``.

    Raises:
        Problem: SETTING, an unknown key or part, an end out of range or missing before the last
            stage, ends that do not rise as they are written, or a rate that is not positive.
    """
    stages = tuple(_read_stage(dict(entry)) for entry in entries)
    for before, stage in zip((None, *stages), stages, strict=False):
        if before and before.until is None:
            raise _wrong(before._asdict(), "only the last stage may go without its end")
        if before and type(before.until) is type(stage.until) and stage.until <= before.until:  # type: ignore[operator]
            raise _wrong(stage._asdict(), f"it has to end after {before.until}")
    return stages


def check_stages(entries: Sequence[Mapping[str, Any]], is_pretrained: bool) -> None:
    """Refuse stages that cannot be, and those that would freeze random weights.

    Raises:
        Problem: SETTING.
    """
    for stage in read_stages(entries):
        if FROZEN[stage.train] and not is_pretrained:
            detail = "d2.MODEL.WEIGHTS is empty, so random weights would be frozen"
            change = "d2.MODEL.WEIGHTS trainer.stages"
            raise wrong_setting("trainer.stages", stage.train, detail, change=change)


def _read_stage(entry: dict[str, Any]) -> Stage:
    for key in entry:
        if key not in Stage._fields:
            raise _wrong(entry, f"{key}: unknown key{near(key, Stage._fields)}")
    stage = Stage(**{"train": "", **entry})
    if stage.train not in FROZEN:
        raise _wrong(entry, f"train is one of {', '.join(FROZEN)}")
    if stage.until is not None and not 0 < stage.until <= _last(stage.until):
        raise _wrong(entry, "until is a share of the run (0.0 to 1.0), or a step (an integer)")
    if not stage.rate > 0:
        raise _wrong(entry, "rate has to be positive")
    return stage


def _last(until: float | int) -> float:
    return float("inf") if isinstance(until, int) else 1.0


def _wrong(entry: Mapping[str, Any], detail: str) -> Exception:
    return wrong_setting("trainer.stages", dict(entry), detail)


def stage_at(stages: Sequence[Stage], step: int, max_iter: int) -> Stage:
    """Return the stage of a step, counted from 0; after the end of the last one, the last."""
    for stage in stages[:-1]:
        assert stage.until is not None
        end = stage.until if isinstance(stage.until, int) else round(stage.until * max_iter)
        if step < end:
            return stage
    return stages[-1]


class Stages(HookBase):  # type: ignore[misc]
    """Freeze parts of the model and scale the learning rate, stage by stage.

    A stage depends on the step only, so a resumed run is in the stage of its step. What Detectron2
    itself froze (``FREEZE_AT``) stays so. Several processes exchange the gradients of what trains.
    It has to come before the hooks that log or change the rate after a step.

    Args:
        stages: at least one.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._stages = tuple(stages)
        self._now: Stage | None = None
        self._still: list[torch.nn.Module] = []

    def before_train(self) -> None:
        """Note what trains without stages, and each group's rate."""
        self._model = self.trainer.checkpointer.model  # without a wrapper
        named = self._model.named_parameters()
        self._trained = {name: one for name, one in named if one.requires_grad}
        self._base_lrs = list(self.trainer.scheduler.base_lrs)

    def before_step(self) -> None:
        """Enter the stage of this step."""
        stage = stage_at(self._stages, self.trainer.iter, self.trainer.max_iter)
        if stage != self._now:
            self._enter(stage)
        for norm in self._still:  # an evaluation sets the whole model to training again
            norm.eval()

    def _enter(self, stage: Stage) -> None:
        frozen = FROZEN[stage.train]
        for norm in self._still:
            norm.train()
        for name, parameter in self._trained.items():
            parameter.requires_grad = _block(name) not in frozen
            if not parameter.requires_grad:
                parameter.grad = None  # the optimizer passes over what has no gradient
        self._still = list(_norms(self._model, frozen))
        self._set_rate(stage.rate)
        self._exchange_what_trains()
        self._now = stage
        trained = sum(one.numel() for one in self._trained.values() if one.requires_grad)
        total = sum(one.numel() for one in self._model.parameters())
        about = f"{trained:,} of {total:,} parameters train, rate x {stage.rate:g}"
        logger.info("Step %d, stage %s: %s", self.trainer.iter, stage.train, about)

    def _set_rate(self, factor: float) -> None:
        scheduler = self.trainer.scheduler
        scheduler.base_lrs = [rate * factor for rate in self._base_lrs]
        rates = scheduler.get_lr()
        for group, rate in zip(self.trainer.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    def _exchange_what_trains(self) -> None:
        """Wrap the model anew: the wrapper waits for the gradients of what trained at its birth."""
        if self.trainer.model is not self._model:
            self.trainer.model = None  # the former wrapper lets go of the parameters
            self.trainer.model = defaults.create_ddp_model(self._model, broadcast_buffers=False)


def _block(name: str) -> str:
    """Return the block of the backbone that a parameter or module is in; empty for all else."""
    match = _BLOCK.match(f"{name}.")
    return match[1] if match else ""


def _norms(model: torch.nn.Module, frozen: Sequence[str]) -> Iterator[torch.nn.Module]:
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and _block(name) in frozen:
            yield module
