"""Hydra, asked for a configuration by code."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra


@contextmanager
def hydra_of(configs_dir: Path) -> Iterator[None]:
    """Let Hydra compose from a folder, also within a tool that Hydra started, which it returns to.

    Args:
        configs_dir: the files of settings.
    """
    outer = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(configs_dir.absolute()), version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().hydra = outer
