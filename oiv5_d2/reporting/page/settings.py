"""Every setting of a run, with Detectron2's default and whether the command line set it."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, ListConfig, OmegaConf

from oiv5_d2.keys import leaves
from oiv5_d2.runs.layout import CONFIG_YAML, hydra_file
from oiv5_d2.runs.privacy import public

DETECTRON2 = "d2"
DEFAULTS = Path("configs") / "detectron2" / "v0.6.yaml"


class Setting(NamedTuple):
    """One key.

    Attributes:
        key: dotted, as on the command line.
        value: of the run, as YAML has it in one line.
        default: Detectron2's; empty for a key of this project.
        is_given: the command line named it.
    """

    key: str
    value: str
    default: str
    is_given: bool

    @property
    def is_changed(self) -> bool:
        """True if it differs from the default, or from what the run's files say."""
        return self.is_given or bool(self.default and self.value != self.default)


def read_settings(run_dir: Path, root: Path) -> list[Setting]:
    """Return all settings, Detectron2's last; nothing that should stay private.

    Args:
        run_dir: the run.
        root: the project's folder, which has Detectron2's defaults.
    """
    given = {word.split("=", 1)[0].lstrip("+~") for word in given_words(run_dir)}
    own = read_leaves(hydra_file(run_dir, "config"))
    own = {k: v for k, v in own.items() if not k.startswith(f"{DETECTRON2}.")}
    theirs = read_leaves(OmegaConf.load(run_dir / CONFIG_YAML))
    defaults: dict[str, Any] = {}
    if (root / DEFAULTS).is_file():
        defaults = read_leaves(OmegaConf.select(OmegaConf.load(root / DEFAULTS), DETECTRON2))
        # The project's own groups are in the file too, in capital letters.
        groups = {key.split(".")[0] for key in defaults}
        theirs = {k: v for k, v in theirs.items() if k.split(".")[0] in groups}
    settings = [Setting(k, word(v), "", _names(given, k)) for k, v in sorted(own.items())]
    for name, value in sorted(theirs.items()):
        key, default = f"{DETECTRON2}.{name}", word(defaults[name]) if name in defaults else ""
        settings.append(Setting(key, word(value), default, _names(given, key)))
    return settings


def given_words(run_dir: Path) -> list[str]:
    """Return the words of the command line, such as ``data=mini``; nothing private."""
    return [str(public(word)) for word in hydra_file(run_dir, "overrides")]


def chosen_files(run_dir: Path) -> dict[str, str]:
    """Return which file of each group of ``configs`` the run was composed of."""
    choices = OmegaConf.select(hydra_file(run_dir, "hydra"), "hydra.runtime.choices") or {}
    return {
        str(group): str(file)
        for group, file in sorted(choices.items())
        if file and not str(group).startswith("hydra/")
    }


def read_leaves(config: DictConfig | ListConfig) -> dict[str, Any]:
    """Return the values of a configuration by dotted key; nothing private."""
    # Interpolations stay as they are written: some name what only the run's process knew.
    plain = OmegaConf.to_container(config, resolve=False)
    return dict(leaves(public(plain))) if isinstance(plain, Mapping) else {}


def _names(given: Iterable[str], key: str) -> bool:
    """Return True if one of the given keys is this one, or has it below.

    ``data=mini`` chooses a file: it gives none of the keys below ``data``.
    """
    return any(key == one or ("." in one and key.startswith(f"{one}.")) for one in given)


def word(value: Any) -> str:
    """Return a value in one line, as YAML has it."""
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
