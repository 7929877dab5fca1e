"""Where Hydra looks for sweepers: it takes no class of another package for one."""

from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.utils import configure_log
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class TrialSweeper(Sweeper):  # type: ignore[misc]
    """Start each run of a multirun as a trial; configs/hydra/sweeper has the settings."""

    def __init__(self, **settings: Any) -> None:
        self._settings = settings

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what Hydra composed, without any trial's own settings."""
        self._config = config

    def sweep(self, arguments: list[str]) -> None:
        """Run all trials; the words are those of the command line, without Hydra's own."""
        # Here, as Hydra imports this file for every tool.
        from oiv5_d2.console.commands import check_run
        from oiv5_d2.console.errors import CONFIG_DIR
        from oiv5_d2.console.shell import command
        from oiv5_d2.console.slurm import check_installed
        from oiv5_d2.sweeps.settings import Settings, first_words, frozen_configs
        from oiv5_d2.sweeps.sweep import run_sweep

        hydra = self._config.hydra
        configure_log(hydra.hydra_logging, hydra.verbose)
        settings = Settings(**OmegaConf.to_container(hydra.sweeper, resolve=True))
        if settings.slurm is not None:
            check_installed()
        # A mistake in what all trials have is one mistake, not one of each trial's.
        configs_dir = frozen_configs(Path(settings.sweep_dir)) or CONFIG_DIR
        check_run(first_words(settings, arguments), configs_dir)
        run_sweep(settings, arguments, partial(command, "train_net"))
