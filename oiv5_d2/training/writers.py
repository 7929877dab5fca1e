"""Where a run's numbers go besides Detectron2's terminal, JSON and TensorBoard writers."""

import logging
import os
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

from detectron2.utils.events import EventWriter, get_event_storage

logger = logging.getLogger(__name__)

# The service may be slow or gone; training waits no longer than this for it.
INIT_TIMEOUT_SECONDS = 30


class WandbWriter(EventWriter):  # type: ignore[misc]
    """Log to Weights & Biases: one ``log`` a step, the whole config, never in training's way.

    Without a key, or when the service can't be reached, the run is kept offline in the run
    directory (``wandb sync`` sends it later). Whatever goes wrong with W&B at any point is logged
    once as a warning; from then on this writer does nothing and the training goes on.

    Args:
        settings: keyword arguments of ``wandb.init``.
        config: the whole configuration, as shown on the run's page.
        output_dir: the run directory; W&B's files go below it.
    """

    def __init__(self, settings: dict[str, Any], config: dict[str, Any], output_dir: str) -> None:
        self._last_step = -1
        self._run: Any = None
        self._guard(lambda: self._start(settings, config, output_dir), "start")

    @property
    def run_id(self) -> str | None:
        """The W&B run's id, None when there is no run."""
        return None if self._run is None else str(self._run.id)

    def write(self) -> None:
        """Log every scalar that came since the last call, all of a step in one ``log``."""
        if self._run is None:
            return
        steps: dict[int, dict[str, float]] = defaultdict(dict)
        for name, (value, step) in get_event_storage().latest_with_smoothing_hint(20).items():
            if step > self._last_step:
                steps[step][name] = value
        for step in sorted(steps):
            self._guard(partial(self._run.log, steps[step], step=step), "log")
        self._last_step = max([self._last_step, *steps])

    def close(self) -> None:
        """End the W&B run."""
        if self._run is not None:
            self._guard(self._run.finish, "finish")
            self._run = None

    def _start(self, settings: dict[str, Any], config: dict[str, Any], output_dir: str) -> None:
        import wandb  # here, so that a run with logger=none needs none of it

        arguments = {"config": config, "dir": output_dir, "mode": choose_mode(), **settings}
        limits = wandb.Settings(init_timeout=INIT_TIMEOUT_SECONDS)
        try:
            self._run = wandb.init(settings=limits, **arguments)
        except wandb.errors.Error as error:
            if arguments["mode"] == "offline":
                raise
            logger.warning("W&B can't be reached (%s): the run is kept offline", error)
            self._run = wandb.init(settings=limits, **{**arguments, "mode": "offline"})

    def _guard(self, action: Callable[[], Any], what: str) -> None:
        # Any exception: W&B runs threads and a service of its own, and no failure of theirs may
        # cost a training. It is reported, not swallowed.
        try:
            action()
        except Exception as error:
            logger.warning("W&B failed to %s (%s); the run goes on without it", what, error)
            self._run = None


def choose_mode() -> str:
    """Return W&B's mode: ``WANDB_MODE`` if set, ``online`` with a key, else ``offline``."""
    import wandb

    if mode := os.environ.get("WANDB_MODE"):
        return mode
    if wandb.login(prompt=False):
        return "online"
    logger.info("No W&B key: the run is kept offline; `wandb login`, then `wandb sync` its folder")
    return "offline"
