"""Detectron2's ``DefaultTrainer``, with steps that depend on configuration and number only."""

import logging
import time
import weakref
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer, HookBase, SimpleTrainer
from detectron2.engine import hooks as stock
from detectron2.evaluation.testing import flatten_results_dict
from detectron2.solver import LRMultiplier
from detectron2.utils import comm
from detectron2.utils.events import EventWriter
from fvcore.nn.precise_bn import get_bn_modules

from oiv5_d2.jobs import Show, unseen
from oiv5_d2.modeling.class_weights import weigh_classes
from oiv5_d2.problems import Problem
from oiv5_d2.runs.layout import AVERAGED_WEIGHTS, FINAL_WEIGHTS, is_trial
from oiv5_d2.runs.metrics import EMA, VALIDATION
from oiv5_d2.training.averages import Weights
from oiv5_d2.training.checkpoints import BEST_WEIGHTS, Checkpointer, link, numbered, thin_out, write
from oiv5_d2.training.clipping import build_optimizer
from oiv5_d2.training.data.loader import Loader, build_train_loader
from oiv5_d2.training.evaluations import BuildEvaluator, Evaluations
from oiv5_d2.training.features import Features
from oiv5_d2.training.group import share_buffers
from oiv5_d2.training.hooks.averaging import MeanOfCheckpoints, MovingAverage
from oiv5_d2.training.hooks.checkpoints import SaveCheckpoints
from oiv5_d2.training.hooks.divergence import CheckLosses
from oiv5_d2.training.hooks.early_stop import EndEarly, EndedEarly
from oiv5_d2.training.hooks.evaluation import Evaluate
from oiv5_d2.training.hooks.progress import ReportSteps
from oiv5_d2.training.hooks.pruning import Prune
from oiv5_d2.training.hooks.seeding import SeedSteps
from oiv5_d2.training.hooks.stages import Stages, read_stages
from oiv5_d2.training.hooks.stopping import StopOnSignal
from oiv5_d2.training.hooks.testing import TestBest
from oiv5_d2.training.hooks.unwritten import DropUnwritten
from oiv5_d2.training.hooks.writing import Write
from oiv5_d2.training.steps import AUTO, Steps

BuildWriters = Callable[[], list[EventWriter]]

WRITE_PERIOD = 20  # steps between two rows of metrics.json; an evaluation has one of its own
SEEN_STEPS = 4  # whose largest image is tried for trainer.accumulate=auto


class Trainer(DefaultTrainer):  # type: ignore[misc]
    """Train Mask R-CNN as the frozen ``cfg`` says.

    Args:
        cfg: the frozen configuration; ``cfg.OUTPUT_DIR`` is the run directory.
        build_evaluator: makes the evaluator of one data set from (cfg, data set name, its folder).
        more_writers: makes the writers beside Detectron2's terminal, JSON and TensorBoard; called
            on the main process only.
        features: the rest of the settings.
        identity: what a checkpoint says about its run: classes, configuration, data.
        show: shows steps and evaluations as they go.
    """

    def __init__(
        self,
        cfg: CfgNode,
        build_evaluator: BuildEvaluator,
        more_writers: BuildWriters,
        features: Features,
        identity: dict[str, Any],
        show: Show = unseen,
    ) -> None:
        # Before super().__init__, which builds loader, hooks and writers.
        self._features, self._identity = features, identity
        self._more_writers, self._show = more_writers, show
        self._seconds_before, self._started = 0.0, time.monotonic()
        self.rate_factor = 1.0
        self.last_saved = -1
        self.last_results: dict[str, Any] = {}
        self._ema = MovingAverage(features.ema) if features.ema else None
        last, period = features.average_last, cfg.SOLVER.CHECKPOINT_PERIOD
        self._mean = MeanOfCheckpoints(last, period) if last else None
        super().__init__(cfg)
        inner: SimpleTrainer = self._trainer  # type: ignore[has-type]
        self._trainer = Steps(inner, features.precision)
        self.evaluations = Evaluations(cfg, self.model, build_evaluator, show)

    def build_model(self, cfg: CfgNode) -> torch.nn.Module:
        """Return the model that ``cfg`` describes, on its device."""
        model: torch.nn.Module = super().build_model(cfg)
        if self._features.class_weights:
            weigh_classes(model, self._features.class_weights)
        if self._features.channels_last and cfg.MODEL.DEVICE == "cpu":
            model.to(memory_format=torch.channels_last)
        return model

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: torch.nn.Module) -> torch.optim.Optimizer:
        """Return Detectron2's optimizer."""
        return build_optimizer(cfg, model)

    def build_train_loader(self, cfg: CfgNode) -> Loader:
        """Return the loader of the training data, at the first step."""
        return build_train_loader(cfg, self._features.augment, self._features.data_share)

    def build_writers(self) -> list[EventWriter]:
        """Return our writers and Detectron2's, whose TensorBoard writer clears the images."""
        return [*self._more_writers(), *super().build_writers()]

    def build_hooks(self) -> list[HookBase]:
        """Return the hooks, in their order of work.

        What is saved and evaluated has made its step, writers see all numbers of it (one that is a
        hook, the trainer, too), and a stop comes when everything is written.
        """
        cfg, this = self.cfg, weakref.proxy(self)
        self.checkpointer = Checkpointer(self.model, cfg.OUTPUT_DIR, trainer=this)
        found = [
            SeedSteps(cfg.SEED),
            *self._stages(),
            CheckLosses(),
            stock.IterationTimer(),
            stock.LRScheduler(),
            *self._reports(),
            *self._precise_bn(),
            *filter(None, [self._ema]),
            SaveCheckpoints(cfg.SOLVER.CHECKPOINT_PERIOD),
            *self._evaluation(),
            *filter(None, [self._mean]),
            *([TestBest(self._features.test)] if self._features.test else []),
        ]
        if comm.is_main_process():
            writers = self.build_writers()
            found += [writer for writer in writers if isinstance(writer, HookBase)]
            found.append(Write(writers, WRITE_PERIOD))
        else:
            found.append(DropUnwritten())
        return [*found, StopOnSignal(), EndEarly()]

    def _evaluation(self) -> list[HookBase]:
        wanted, period = self._features, self.cfg.TEST.EVAL_PERIOD
        first, patience = wanted.evaluate_first, wanted.early_stop
        evaluation = Evaluate(period, wanted.metric, first, patience, wanted.min_gain)
        return [evaluation, *([Prune(evaluation)] if is_trial(Path(self.cfg.OUTPUT_DIR)) else [])]

    def _stages(self) -> list[HookBase]:
        stages = read_stages(self._features.stages)
        return [Stages(stages)] if stages else []

    def _reports(self) -> list[HookBase]:
        """Return the hook that reports steps, on the main process: it alone has all losses."""
        batch_size = self.cfg.SOLVER.IMS_PER_BATCH
        return [ReportSteps(self._show, batch_size)] if comm.is_main_process() else []

    def _precise_bn(self) -> list[HookBase]:
        cfg = self.cfg
        if not (cfg.TEST.PRECISE_BN.ENABLED and get_bn_modules(self.model)):
            return []
        loader, period = self.build_train_loader(cfg), cfg.TEST.EVAL_PERIOD
        return [stock.PreciseBN(period, self.model, loader, cfg.TEST.PRECISE_BN.NUM_ITER)]

    def save(self, is_best: bool = False) -> None:
        """Write a checkpoint of the step just made; all processes call this.

        Args:
            is_best: give it the name of the best one as well; if an average of the weights decides
                that, its weights alone get that name.

        Raises:
            Problem: DISK_FULL.
        """
        share_buffers(self.model)
        path = Path(self.cfg.OUTPUT_DIR) / numbered(self.iter)
        self.checkpointer.save(path.stem, iteration=self.iter, run=self._identity)
        self.last_saved = self.iter
        if comm.is_main_process():
            if self.iter + 1 >= self.max_iter:
                link(path, FINAL_WEIGHTS)
                if self._ema:
                    self.write_average(EMA, self._ema.weights)
            if is_best:
                self._keep_best(path)
            spared = self._mean.needs(self.iter) if self._mean else ()
            thin_out(path.parent, self._features.keep_checkpoints, spared)

    def _keep_best(self, path: Path) -> None:
        if self._ema and self._features.metric.startswith(f"{EMA}/"):
            self._write_weights(path.with_name(BEST_WEIGHTS), self._ema.weights)
        else:
            link(path, BEST_WEIGHTS)

    def write_average(self, average: str, weights: Weights) -> None:
        """Write a file of weights only, from the main process; stock Detectron2 loads it.

        Args:
            average: of `AVERAGES`.
            weights: its.

        Raises:
            Problem: DISK_FULL.
        """
        if comm.is_main_process():
            path = Path(self.cfg.OUTPUT_DIR) / AVERAGED_WEIGHTS.format(average=average)
            self._write_weights(path, weights)

    def _write_weights(self, path: Path, weights: Weights) -> None:
        write(path, {"model": weights, "run": self._identity})

    def resume(self, path: Path) -> None:
        """Continue after the step of a checkpoint, with the configuration's rate and length."""
        groups = [
            {key: value for key, value in group.items() if key != "params"}
            for group in self.optimizer.param_groups
        ]
        base_lrs = list(self.scheduler.base_lrs)
        self.checkpointer.load(str(path))
        for group, configured in zip(self.optimizer.param_groups, groups, strict=True):
            group.update(configured)
        self.start_iter = self.iter + 1
        self.last_saved = self.iter
        self.data_loader.start_at(self.start_iter)
        self._set_rate(base_lrs)

    def lower_rate(self, factor: float) -> None:
        """Multiply the learning rate of all steps to come; checkpoints keep that."""
        base_lrs = [rate / self.rate_factor for rate in self.scheduler.base_lrs]
        self.rate_factor *= factor
        self._set_rate(base_lrs)

    def _set_rate(self, base_lrs: list[float]) -> None:
        """Let the schedule be the configuration's at the present step, whatever was loaded."""
        self.scheduler.base_lrs = [rate * self.rate_factor for rate in base_lrs]
        if isinstance(self.scheduler, LRMultiplier):
            rates = self.scheduler.get_lr()
            for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
                group["lr"] = rate

    def state_dict(self) -> dict[str, Any]:
        """Return Detectron2's state, and the optimizer's, which v0.6 leaves out."""
        state: dict[str, Any] = super().state_dict()
        more = {"seconds": self.seconds, "rate_factor": self.rate_factor}
        return {**state, "_trainer": self._trainer.state_dict(), **more}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        super().load_state_dict(state)
        self._trainer.load_state_dict(state["_trainer"])
        self._seconds_before, self.rate_factor = state["seconds"], state["rate_factor"]

    @property
    def seconds(self) -> float:
        """How long the run has taken, with the pieces before a resume, to their checkpoint."""
        return self._seconds_before + time.monotonic() - self._started

    def evaluate(self) -> dict[str, Any]:
        """Evaluate the model of this step on all data sets of ``DATASETS.TEST``.

        Returns:
            ``{"bbox": {...}, "segm": {...}}``; with several data sets, one such dict by name. The
            same of the weights' moving average below ``ema``, and below ``validation`` the losses,
            where there are such. Empty in all processes but the main one.
        """
        names = self.cfg.DATASETS.TEST
        found, more = self.evaluations.of_model(names), {}
        if self._ema:
            more[EMA] = self.evaluations.of_weights(self._ema.weights, names, EMA)
        if self._features.validation_loss:
            more[VALIDATION] = self.evaluations.of_losses()
        self.last_results = {**found, **more} if found else {}
        # Detectron2's name: TEST.EXPECTED_RESULTS is compared with it at the end.
        self._last_eval_results = found
        return self.last_results

    def add_results(self, name: str, found: dict[str, Any]) -> None:
        """Record, below a name, what was evaluated after the last step (on the main process)."""
        if found:
            self.last_results = {**self.last_results, name: found}
            numbers = flatten_results_dict({name: found})
            self.storage.put_scalars(**numbers, smoothing_hint=False)

    def train(self) -> dict[str, Any]:
        """Train to ``SOLVER.MAX_ITER``, or to an early end; return the last results.

        Returns:
            As `evaluate`, with what was evaluated after the last step.

        Raises:
            Problem: DISK_FULL or DIVERGED.
            Stopped: by a signal, with a checkpoint on disk.
        """
        self._trainer.accumulate = self.count_micro_batches()
        loop = logging.getLogger("detectron2.engine.train_loop")
        loop.addFilter(_is_no_problem)
        try:
            super().train()
        except EndedEarly:
            self.iter: int = self.max_iter
        finally:
            loop.removeFilter(_is_no_problem)
            self.data_loader.close()
        return self.last_results

    def count_micro_batches(self) -> int:
        """Return in how many micro batches each step is to be computed."""
        if self._features.accumulate != AUTO:
            return int(self._features.accumulate)
        seen = [next(self.data_loader) for _ in range(SEEN_STEPS)]
        self.data_loader.start_at(self.start_iter)
        number: int = self._trainer.choose_micro_batches(list(chain(*seen)), len(seen[0]))
        return number


def _is_no_problem(record: logging.LogRecord) -> bool:
    """Drop Detectron2's traceback of what the screen says in a line."""
    return not (record.exc_info and isinstance(record.exc_info[1], Problem))
