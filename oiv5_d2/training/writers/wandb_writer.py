"""What a training run sends to Weights & Biases, and when."""

import json
import math
import re
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.engine import HookBase
from detectron2.evaluation.testing import flatten_results_dict
from detectron2.utils.events import EventWriter, get_event_storage

from oiv5_d2.problems import Stopped
from oiv5_d2.runs.layout import EVALUATION
from oiv5_d2.runs.metrics import is_loss
from oiv5_d2.runs.prepared import Prepared
from oiv5_d2.runs.results import (
    LABEL_ERRORS_CSV,
    PREDICTIONS_JSON,
    RESULTS_JSON,
    Results,
    read_results,
)
from oiv5_d2.training.writers.artifacts import (
    count_bytes,
    log_models,
    log_predictions,
    use_dataset,
)
from oiv5_d2.training.writers.examples import Examples
from oiv5_d2.training.writers.fed import show_fed
from oiv5_d2.training.writers.history import History
from oiv5_d2.training.writers.overlays import Pixels
from oiv5_d2.training.writers.service import Connection
from oiv5_d2.training.writers.settings import About, Send
from oiv5_d2.training.writers.suspects import tabulate_suspects
from oiv5_d2.training.writers.tables import (
    slice_numbers,
    spans,
    tabulate_classes,
    tabulate_slices,
)

PROGRESS = "wandb/progress.json"  # in the run directory
STEP, EPOCH, IMAGES = AXES = ("step", "epoch", "images")
NUMBER = re.compile(r" \(\d+\)$")  # of images that belong together, after their name
SENT_A_SECOND = 2_000_000  # bytes; the end of a run waits for its models accordingly


class WandbWriter(EventWriter, HookBase):  # type: ignore[misc]
    """Sends what hooks put into the event storage, and what each evaluation found.

    It is a hook as well, which stands after the evaluations and sees the trainer.

    Args:
        connection: to W&B.
        about: the run.
        send: what is sent beside numbers.
    """

    def __init__(self, connection: Connection, about: About, send: Send) -> None:
        self._connection, self._about, self._send = connection, about, send
        self._history = History(about.run_dir / PROGRESS)
        self._examples: Examples | None = None
        self._last_step = -1
        self._results: Any = None  # of the last evaluation, and its step
        self._evaluated = -1
        connection.put(partial(_define_axes, metric=about.metric), "axes")

    def before_train(self) -> None:
        """Send what the run learns from, and what was evaluated before the first step."""
        if kind := self._send.dataset:
            for dataset in (*self._about.train, *self._about.tested):
                send = partial(use_dataset, dataset=dataset, about=self._about, kind=kind)
                self._connection.put(send, "data sets")
        if self._send.training_images and not self.trainer.start_iter:
            with self._connection.without(name := "training images"):
                samples = self.trainer.data_loader.first(self._send.training_images)
                self._connection.put(partial(self._show_fed, 0, self._axes(0), samples), name)
        self._note_evaluation()

    def after_step(self) -> None:
        """Send what was evaluated after this step."""
        self._note_evaluation()

    def write(self) -> None:
        """Log all scalars and images since the last call, a row a step."""
        steps: dict[int, dict[str, Any]] = defaultdict(dict)
        storage = get_event_storage()
        for name, (value, step) in storage.latest_with_smoothing_hint(20).items():
            if step > self._last_step and not self._is_sent(name, step):
                steps[step][name] = value
        for name, image, step in storage._vis_data:  # cleared by TensorBoard's writer, after ours
            if step > self._last_step:
                steps[step].setdefault(NUMBER.sub("", name), []).append(_to_pixels(image))
        for step in sorted(steps):
            self._log(step, steps[step])
        self._last_step = max([self._last_step, *steps])

    def close(self) -> None:
        """End the W&B run, as failed after an error or a signal; wait no longer than the limit."""
        error = sys.exc_info()[1]
        if error:
            exit_code = error.code if isinstance(error, SystemExit) else 1
            self._connection.close(int(exit_code or 0), isinstance(error, Stopped))
            return
        if models := self._send.models:
            metrics = _without_nan(flatten_results_dict(self._results or {}))
            send = partial(log_models, about=self._about, send=self._send, results=metrics)
            self._connection.put(send, "models")
        seconds = count_bytes(self._about, models) / SENT_A_SECOND
        self._connection.close(0, more_seconds=seconds)

    def _note_evaluation(self) -> None:
        results = self.trainer.last_results
        if not results or results is self._results:
            return
        self._results, self._evaluated = results, self.trainer.storage.iter
        self.write()  # what came before it: W&B's steps do not go back
        # At once: the event storage forgets them if the next ones come before it is written.
        self._log(self._evaluated, flatten_results_dict(results), is_evaluation=True)
        is_last = self.trainer.iter + 1 >= self.trainer.max_iter
        for dataset in self._about.tested:
            folder = self._about.run_dir / EVALUATION / dataset.name
            self._send_results(folder, is_last)
            if is_last and self._send.predictions:
                send = partial(log_predictions, folder=folder, dataset_name=dataset.name)
                self._connection.put(send, "predictions")
        if self._about.tested and (self._send.images or self._send.extremes or self._send.tables):
            self._send_images(self._about.tested[0], is_last)

    def _send_results(self, folder: Path, is_last: bool) -> None:
        """Send what the results have beside the numbers that hooks get: intervals and slices."""
        with self._connection.without(name := "intervals and slices"):
            results = read_results(folder / RESULTS_JSON)
            if folder.name == self._about.tested[0].name:
                numbers = {**spans(results), **slice_numbers(results)}
                self._log(self._evaluated, numbers, is_evaluation=True)
            if is_last and self._send.tables:
                self._connection.put(partial(self._tabulate, self._evaluated, results), name)

    def _send_images(self, dataset: Prepared, is_last: bool) -> None:
        """Send images of the evaluation just made; its file may be another one soon."""
        with self._connection.without(name := "validation images"):
            folder = self._about.run_dir / EVALUATION / dataset.name
            content = (folder / PREDICTIONS_JSON).read_bytes()
            send = partial(self._show, self._evaluated, self._axes(self._evaluated))
            self._connection.put(partial(send, dataset, content, is_last), name)

    def _show(
        self,
        step: int,
        axes: Mapping[str, float],
        dataset: Prepared,
        content: bytes,
        is_last: bool,
        run: Any,
    ) -> None:
        self._examples = self._examples or Examples(dataset, self._about.classes)
        judged, send = self._examples.judge(json.loads(content)), self._send
        values = self._examples.show(judged, send.images, send.extremes)
        if is_last and send.tables:
            values["validation/table"] = self._examples.tabulate(judged, send.table_images)
            path = self._about.run_dir / EVALUATION / dataset.name / LABEL_ERRORS_CSV
            suspects = tabulate_suspects(path, dataset, self._about.classes, send.table_images)
            values |= {"validation/label_errors": suspects} if suspects else {}
        self._history.log(run, step, {**values, **axes}, is_evaluation=True)

    def _show_fed(
        self, step: int, axes: Mapping[str, float], samples: Sequence[Any], run: Any
    ) -> None:
        image_format = self._about.config["d2"]["INPUT"]["FORMAT"]
        images = show_fed(samples, image_format, self._about.classes)
        self._history.log(run, step, {"train/images": images, **axes})

    def _tabulate(self, step: int, results: Results, run: Any) -> None:
        tables = {f"classes/{results.dataset}": tabulate_classes(results)}
        if slices := tabulate_slices(results):
            tables[f"slices/{results.dataset}"] = slices
        self._history.log(run, step, tables, is_evaluation=True)

    def _is_sent(self, name: str, step: int) -> bool:
        return step == self._evaluated and name in flatten_results_dict(self._results)

    def _log(self, step: int, values: dict[str, Any], is_evaluation: bool = False) -> None:
        row = {**values, **self._axes(step)}
        self._connection.put(
            lambda run: self._history.log(run, step, _loggable(row), is_evaluation)
        )

    def _axes(self, step: int) -> dict[str, float]:
        """Return where a step is on each x-axis; without a trainer, only its number."""
        if self.trainer is None:
            return {STEP: step}
        images = (step + 1) * self.trainer.cfg.SOLVER.IMS_PER_BATCH
        epoch = images / self.trainer.data_loader.num_images
        return {STEP: step, EPOCH: epoch, IMAGES: images}


def _define_axes(run: Any, metric: str) -> None:
    """Let charts have the training step as their x-axis, with epochs and images to choose from."""
    for name in AXES:
        run.define_metric(name, hidden=True)
    run.define_metric("*", step_metric=STEP)
    run.define_metric(metric, step_metric=STEP, summary="min" if is_loss(metric) else "max")


def _loggable(values: dict[str, Any]) -> dict[str, Any]:
    """Return scalars as they are, and lists of (H, W, 3) RGB arrays as W&B's images."""
    import wandb

    return {
        name: list(map(wandb.Image, value)) if isinstance(value, list) else value
        for name, value in values.items()
    }


def _to_pixels(image: Any) -> Pixels:
    """Return (H, W, 3) of what the event storage takes: (3, H, W), bytes or numbers 0 to 1.

    Detectron2's mask head puts tensors there that still belong to the graph of their step.
    """
    values = np.asarray(image.detach().cpu() if isinstance(image, torch.Tensor) else image)
    if values.dtype != np.uint8:
        values = np.clip(255 * values, 0, 255).round().astype(np.uint8)
    return np.moveaxis(values, 0, -1)


def _without_nan(numbers: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in numbers.items()}
