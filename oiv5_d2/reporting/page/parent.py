"""What sets a run apart from its parent: its experiment, without the command line."""

from pathlib import Path
from typing import NamedTuple

from hydra import compose
from hydra.errors import HydraException
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from oiv5_d2.reporting.page.settings import chosen_files, read_leaves, word
from oiv5_d2.runs.composing import hydra_of
from oiv5_d2.runs.layout import hydra_file

CONFIGS, TRAIN, EXPERIMENT = "configs", "train", "experiment"
PLACES = frozenset({"run_dir", "sweep_dir"})  # where a run is, and not what it is


class Change(NamedTuple):
    """A setting, or a group of ``configs`` and its file.

    Attributes:
        key: dotted, or the group's name.
        value: of the run.
        parent: the parent's; empty if it has no such setting.
    """

    key: str
    value: str
    parent: str


class Parent(NamedTuple):
    """What a run is compared with.

    Attributes:
        name: as on the command line.
        changes: what the run has and the parent has not: groups first, then settings by name.
    """

    name: str
    changes: list[Change]


def read_parent(run_dir: Path, root: Path) -> Parent | None:
    """Return a run's parent as the project's files describe it now.

    Args:
        run_dir: the run.
        root: the project's folder.

    Returns:
        None if the run has no notes of Hydra, or the files are no longer there.
    """
    files, config = chosen_files(run_dir), hydra_file(run_dir, "config")
    choice = files.pop(EXPERIMENT, None)
    words = [f"+{EXPERIMENT}={choice}"] if choice else []
    composed = _compose(root, words) if config else None
    if composed is None:
        return None
    parent_files, settings = composed
    groups = [
        Change(name, file, parent_files.get(name, ""))
        for name, file in files.items()
        if file != parent_files.get(name)
    ]
    name = words[0].lstrip("+") if words else f"{CONFIGS}/{TRAIN}.yaml"
    return Parent(name, groups + _differing(config, settings))


def _compose(root: Path, words: list[str]) -> tuple[dict[str, str], DictConfig] | None:
    """Return the chosen file of each group, and the settings."""
    folder = root / CONFIGS
    if not (folder / f"{TRAIN}.yaml").is_file():
        return None
    try:
        with hydra_of(folder):
            composed = compose(TRAIN, words, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException):
        return None
    files = {str(k): str(v) for k, v in composed.hydra.runtime.choices.items() if v}
    with open_dict(composed):
        del composed["hydra"]
    return files, composed


def _differing(config: DictConfig, parent: DictConfig) -> list[Change]:
    mine, theirs = read_leaves(config), read_leaves(parent)
    return [
        Change(key, word(value), word(theirs[key]) if key in theirs else "")
        for key, value in sorted(mine.items())
        if value != theirs.get(key) and value != {} and key not in PLACES
    ]
