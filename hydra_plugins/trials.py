"""Where Hydra looks for sweepers: it takes no class of another package for one."""

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
        from oiv5_d2.console.slurm import check_installed
        from oiv5_d2.sweeps.settings import Settings
        from oiv5_d2.sweeps.sweep import run_sweep

        hydra = self._config.hydra
        configure_log(hydra.hydra_logging, hydra.verbose)
        settings = Settings(**OmegaConf.to_container(hydra.sweeper, resolve=True))
        if settings.slurm is not None:
            check_installed()
        run_sweep(settings, arguments)
