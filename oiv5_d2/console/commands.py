"""Words of a command line: for a person to type, and for Detectron2's installed version."""

import os
import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from oiv5_d2.console.errors import CONFIG_DIR, suggesting
from oiv5_d2.console.shell import command
from oiv5_d2.keys import check_known, leaves
from oiv5_d2.openimages.tidy import open_text
from oiv5_d2.problems import Kind, Problem, Remedy, wrong_setting
from oiv5_d2.runs.composing import hydra_of
from oiv5_d2.runs.layout import NOTES
from oiv5_d2.runs.prepared import Prepared, locate
from oiv5_d2.runs.provenance import detectron2_version

GROUP = "detectron2"  # of configs/: Detectron2's defaults, a file per version
OVERRIDES = f"{NOTES}/overrides.yaml"  # in a run's folder: its words, by Hydra
CLASSES = "data.classes"  # a setting that may be a file
COMMITTED = "v0.6"  # the one that the defaults lists name


def data_commands(choice: str, overrides: Iterable[str]) -> dict[Remedy, str]:
    """Return the commands to suggest where data is missing or damaged, ready for a shell.

    Args:
        choice: the file of ``configs/data``.
        overrides: a command line's words; those under ``data`` belong to the choice.
    """
    prepare = command("prepare_data", *data_words(choice, overrides))
    return {
        Remedy.PREPARE: prepare,
        Remedy.PREPARE_AGAIN: f"{prepare} force=true",
        Remedy.PACK_AGAIN: f"{prepare} pack=true",
    }


def data_words(choice: str, overrides: Iterable[str]) -> list[str]:
    """Return the words that choose the same data, for any tool; see `data_commands`."""
    return [f"data={choice}", *(word for word in overrides if _key_of(word).startswith("data."))]


def repeat_run() -> None:
    """Put the words of an earlier run, ``again=<its folder>``, in their place on the command line.

    Those that are given anew, and its folder, are left out.

    Raises:
        Problem: ABSENT, it is no run's folder; DAMAGED, what is kept there of its words.
    """
    place = next((i for i, word in enumerate(sys.argv) if word.startswith("again=")), None)
    if place is None:
        return
    path = Path(sys.argv[place].partition("=")[2].strip("'\"")).expanduser() / OVERRIDES
    try:
        words = [str(word) for word in OmegaConf.to_container(OmegaConf.load(path))]  # type: ignore[union-attr]
    except FileNotFoundError as error:
        detail = "give the folder of a run"
        remedy = Remedy.CHANGE_SETTING
        raise Problem(Kind.ABSENT, path, detail, key="again", remedy=remedy) from error
    except (YAMLError, OmegaConfBaseException, TypeError) as error:
        raise Problem(Kind.DAMAGED, path, "not a list of words", remedy=Remedy.NONE) from error
    given = {_key_of(word) for word in sys.argv} | {"run_dir", "resume", "sweep_dir"}
    sys.argv[place : place + 1] = [word for word in words if _key_of(word) not in given]


def _key_of(word: str) -> str:
    return word.lstrip("+~").partition("=")[0]


def read_class_file() -> None:
    """Put the classes of a file, ``data.classes=<path>``, in its place on the command line.

    The file has a name or MID a line; empty lines and what follows a # are skipped.

    Raises:
        Problem: ABSENT; DAMAGED, it is no text; EMPTY.
    """
    for index, word in enumerate(sys.argv):
        key, _, value = word.partition("=")
        if key == CLASSES and value and not value.startswith(("[", "$")):
            names = _read_names(Path(value.strip("'\"")).expanduser())
            quoted = ("'" + name.replace("'", r"\'") + "'" for name in names)
            sys.argv[index] = f"{key}=[{','.join(quoted)}]"


def _read_names(path: Path) -> list[str]:
    remedy = Remedy.CHANGE_SETTING
    try:
        with open_text(path) as text:
            lines = text.read().splitlines()
    except OSError as error:
        detail = "give a list, such as [Person,Car], or a file with a class a line"
        raise Problem(Kind.ABSENT, path, detail, key=CLASSES, remedy=remedy) from error
    except UnicodeError as error:
        raise Problem(Kind.DAMAGED, path, "not UTF-8", remedy=Remedy.SAVE_AS_UTF8) from error
    names = [name for line in lines if (name := line.partition("#")[0].strip())]
    if not names:
        raise Problem(Kind.EMPTY, path, "no class", key=CLASSES, remedy=remedy)
    return names


def choose_defaults() -> None:
    """Choose the defaults of the installed Detectron2 on the command line, if not v0.6's.

    The file of another version is written to ``configs/detectron2`` on first use, beside the
    committed one: the settings of every key are then in one place, where grep finds them.
    """
    name = f"v{detectron2_version()}"
    if name == COMMITTED or any(word.startswith(f"{GROUP}=") for word in sys.argv):
        return
    if not (CONFIG_DIR / GROUP / f"{name}.yaml").is_file():
        # By name, as only a tool that trains has to wait for Detectron2.
        import_module("oiv5_d2.training.config").write_defaults(CONFIG_DIR)
    sys.argv.append(f"{GROUP}={name}")


def follow_torchrun() -> None:
    """Let Hydra write its folder and its log in the main process only, if ``torchrun`` started us.

    Raises:
        Problem: SETTING, a sweep: its runs start one after another, each with its own processes.
    """
    if "RANK" not in os.environ:
        return
    if {"-m", "--multirun"} & set(sys.argv):
        detail = "torchrun starts one run; a sweep starts the processes of each of its runs itself"
        raise wrong_setting("--multirun", "torchrun", detail, change="launch")
    if int(os.environ["RANK"]) > 0:
        sys.argv += ["hydra.run.dir=.", "hydra/job_logging=none"]


def is_watched() -> bool:
    """Return True where there is a screen to write to: in one of the processes of ``torchrun``."""
    return os.environ.get("RANK", "0") == "0"


def check_run_dir(launch: Mapping[str, Any], overrides: Iterable[str]) -> None:
    """Refuse several machines without a folder of the same name on all.

    Raises:
        Problem: SETTING.
    """
    if launch["max_nodes"] > 1 and not any(word.startswith("run_dir=") for word in overrides):
        detail = "each machine would name another folder, by its clock"
        change = "run_dir=outputs/<name>/<a name>"
        raise wrong_setting("launch.max_nodes", launch["max_nodes"], detail, change=change)


def check_d2(d2: Mapping[str, Any], choice: str) -> None:
    """Refuse keys under ``d2`` that Detectron2 does not know, without importing it.

    Args:
        d2: Detectron2's keys of a composed config.
        choice: the file of ``configs/detectron2``.

    Raises:
        Problem: SETTING, with the nearest known keys.
    """
    defaults: Any = OmegaConf.to_container(OmegaConf.load(CONFIG_DIR / GROUP / f"{choice}.yaml"))
    check_known((key for key, _ in leaves({"d2": d2})), {key for key, _ in leaves(defaults)})


def locate_datasets(run: Any) -> list[Prepared]:
    """Find a run's data sets before the long import: most first runs fail for want of them.

    Raises:
        Problem: ABSENT, one is not prepared; SETTING, one of another data set family.
    """
    lists = filter(OmegaConf.is_list, (run.d2.DATASETS.TRAIN, run.d2.DATASETS.TEST))
    names = [name for names in lists for name in names]
    return locate(run.data.name, Path(run.data.dir), [*names, *filter(None, [run.trainer.test])])


def check_run(words: Iterable[str], configs_dir: Path) -> None:
    """Refuse words with which no run could begin, as far as it can be seen without PyTorch.

    Args:
        words: of a command line of ``train_net``.
        configs_dir: the files of settings.

    Raises:
        Problem: SETTING, a key of Detectron2's that it does not know; or `locate_datasets`'s.
        HydraException: what Hydra does not take.
    """
    words = list(words)
    with hydra_of(configs_dir):
        run = compose("train", words, return_hydra_config=True)
    choices = run.hydra.runtime.choices
    d2: Any = OmegaConf.to_container(run.d2)
    check_d2(d2, choices[GROUP])
    with suggesting(data_commands(choices.data, words)):
        locate_datasets(run)


def hydra_notes(run: Any) -> dict[str, str]:
    """Return the files that Hydra writes about a command, by name, for a run to write itself.

    Hydra would write them before the command is checked, also over those of a run whose resume is
    refused.

    Args:
        run: as it was composed.
    """
    chosen = HydraConfig.get()
    contents = {"config": run, "hydra": HydraConfig.instance().cfg}
    notes = {name: OmegaConf.to_yaml(content) for name, content in contents.items()}
    return {**notes, "overrides": OmegaConf.to_yaml(chosen.overrides.task)}


def changed_settings(run: Any) -> dict[str, object]:
    """Return the keys of Detectron2 on the command line, without d2, and their values.

    Raises:
        Problem: SETTING, an unknown key.
    """
    d2: Any = OmegaConf.to_container(run.d2)
    check_d2(d2, HydraConfig.get().runtime.choices.detectron2)
    words = (word.partition("=")[0].lstrip("+") for word in HydraConfig.get().overrides.task)
    keys = [word for word in words if word.startswith("d2.")]
    values = ((key.removeprefix("d2."), OmegaConf.select(run, key)) for key in keys)
    return {
        key: OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        for key, value in values
    }


def explicit_keys(overrides: Iterable[str]) -> set[str]:
    """Return the dotted keys that a command line sets, itself or by a file that it names.

    ``solver=3x`` and ``+experiment=r50_traffic`` set what is written in these files, but not what
    the files that they build on have.

    Args:
        overrides: a command line's words.
    """
    found: set[str] = set()
    for word in overrides:
        key, _, value = word.lstrip("+~").partition("=")
        path = CONFIG_DIR / key / f"{value}.yaml"
        if path.is_file():
            content: Any = OmegaConf.to_container(OmegaConf.load(path))
            found.update(name for name, _ in leaves(content))
        else:
            found.add(key)
    return found


def is_below(key: str, keys: Iterable[str]) -> bool:
    """Return True if a dotted key, or a section that it is in, is one of `keys`."""
    return any(f"{key}.".startswith(f"{one}.") for one in keys)


def in_solver(choice: str) -> tuple[int, float]:
    """Return the batch and the learning rate that are written in a file of ``configs/solver``."""
    solver = OmegaConf.load(CONFIG_DIR / "solver" / f"{choice}.yaml").d2.SOLVER
    return int(solver.IMS_PER_BATCH), float(solver.BASE_LR)
