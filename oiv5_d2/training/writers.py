"""Where a run's numbers go besides Detectron2's terminal, JSON and TensorBoard writers."""

import logging
import os
import queue
import sys
import threading
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from detectron2.utils.events import EventWriter, get_event_storage

from oiv5_d2.training.weights import first_line

logger = logging.getLogger(__name__)

INIT_SECONDS = 30  # to reach the service; then the run is kept offline
FINISH_SECONDS = 120  # to send what is left when a run ends
SERVICE = "wandb-core"  # the process that wandb starts beside ours

END = None  # in the queue: nothing comes after it


class WandbWriter(EventWriter):  # type: ignore[misc]
    """Log to Weights & Biases: one ``log`` per step and the whole config; never stops the training.

    What hooks put into the event storage is sent: scalars, and images by ``put_image``.

    Without a key, or when the service cannot be reached, the run is kept offline in the run
    directory (``wandb sync`` sends it later). All of W&B is called in a thread of its own: if it
    fails at any point, that is logged once as a warning; if it hangs, it is left behind when the
    run ends. The training continues in both cases, and what W&B wrote to disk stays.

    Args:
        settings: keyword arguments of ``wandb.init``.
        config: the whole configuration, as shown on the run's page.
        output_dir: the run directory; W&B's files go below it.
        finish_seconds: how long the end of the run waits for W&B.
    """

    def __init__(
        self,
        settings: dict[str, Any],
        config: dict[str, Any],
        output_dir: str,
        finish_seconds: float = FINISH_SECONDS,
    ) -> None:
        self._last_step = -1
        self._exit_code: Any = 0
        self._finish_seconds = finish_seconds
        self._steps: queue.SimpleQueue[tuple[int, dict[str, Any]] | None] = queue.SimpleQueue()
        arguments = {"config": config, "dir": output_dir, **settings}
        self._thread = threading.Thread(target=self._work, args=(arguments,), daemon=True)
        self._thread.start()

    def write(self) -> None:
        """Log all scalars and images since the last call, all of a step in one ``log``."""
        steps: dict[int, dict[str, Any]] = defaultdict(dict)
        storage = get_event_storage()
        for name, (value, step) in storage.latest_with_smoothing_hint(20).items():
            if step > self._last_step:
                steps[step][name] = value
        for name, image, step in storage._vis_data:  # cleared by TensorBoard's writer, after ours
            if step > self._last_step:
                steps[step][name] = np.moveaxis(np.asarray(image), 0, -1)
        for step in sorted(steps):
            self._steps.put((step, steps[step]))
        self._last_step = max([self._last_step, *steps])

    def close(self) -> None:
        """End the W&B run, as failed after an error or a signal; wait no longer than the limit."""
        error = sys.exc_info()[1]
        self._exit_code = (error.code if isinstance(error, SystemExit) else 1) if error else 0
        self._steps.put(END)
        self._thread.join(self._finish_seconds)
        if self._thread.is_alive():
            logger.warning(
                "W&B did not finish within %.0f s: left behind. `wandb sync` sends what it wrote",
                self._finish_seconds,
            )
            _end_service()  # otherwise wandb waits for it when Python exits

    def _work(self, arguments: dict[str, Any]) -> None:
        # Any exception: no failure of W&B may stop a training. It is reported, not swallowed.
        try:
            run = _start(arguments)
            while (item := self._steps.get()) is not END:
                step, values = item
                run.log({name: _loggable(value) for name, value in values.items()}, step=step)
            run.finish(exit_code=self._exit_code)
        except Exception as error:
            logger.warning(
                "W&B failed (%s: %s); the run continues without it", type(error).__name__, error
            )


def _loggable(value: Any) -> Any:
    """Return a scalar as it is, and an (H, W, 3) RGB array as W&B's image."""
    import wandb

    return wandb.Image(value) if isinstance(value, np.ndarray) else value


def choose_mode() -> str:
    """Return W&B's mode: ``WANDB_MODE`` if set, ``online`` with a key, else ``offline``."""
    import wandb

    if mode := os.environ.get("WANDB_MODE"):
        return mode
    try:
        if wandb.login(prompt=False):
            return "online"
    except wandb.errors.Error as error:  # it asks the service, and refuses a key of another length
        logger.warning("W&B does not take the key (%s): the run is kept offline", first_line(error))
        return "offline"
    logger.info("No W&B key: the run is kept offline; `wandb login`, then `wandb sync` its folder")
    return "offline"


def _start(arguments: dict[str, Any]) -> Any:
    """Start a run: online if the service can be reached, else offline."""
    import wandb  # here, so that a run with logger=none needs none of it

    # Without its own folder to write to, wandb takes the system's temporary one.
    Path(arguments["dir"]).mkdir(parents=True, exist_ok=True)
    limits = wandb.Settings(init_timeout=INIT_SECONDS)
    arguments = {"mode": choose_mode(), **arguments}
    try:
        return wandb.init(settings=limits, **arguments)
    except wandb.errors.Error as error:
        if arguments["mode"] == "offline":
            raise
        logger.warning("W&B cannot be reached (%s): the run is kept offline", error)
        return wandb.init(settings=limits, **{**arguments, "mode": "offline"})


def _end_service() -> None:
    """Kill wandb's service process, a child of this one, and what it started."""
    for child in psutil.Process().children():
        if child.name() == SERVICE:
            for process in [*child.children(recursive=True), child]:
                process.kill()
