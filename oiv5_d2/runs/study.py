"""The Optuna study that a sweep's trials are in, and what a run knows of its trial.

A run that is a trial finds `TRIAL_JSON` in its folder. It reports its evaluations to the study
itself, from whichever machine it is on.
"""

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock

from oiv5_d2.files import write_whole
from oiv5_d2.keys import near
from oiv5_d2.problems import Kind, Problem, Remedy, wrong_setting
from oiv5_d2.runs.layout import TRIAL_JSON

STUDY_LOG = "study.log"
PRUNED = "pruned"  # an attribute of a trial that has ended early

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class TrialFile:
    """What a run knows of its trial: the content of `TRIAL_JSON`.

    Attributes:
        number: of the trial.
        study: the study's name in its storage.
        storage: an Optuna storage URL; None for `STUDY_LOG` in the folder above the run's.
        pruner: name and arguments of a class of ``optuna.pruners``; None for none.
    """

    number: int
    study: str
    storage: str | None
    pruner: dict[str, Any] | None

    def write(self, run_dir: Path) -> None:
        """Write it to the folder of a run, which has to exist."""
        write_whole(run_dir / TRIAL_JSON, (json.dumps(asdict(self), indent=2) + "\n").encode())


class Reports:
    """What a run tells its study, and asks it.

    Args:
        run_dir: the run's folder, with `TRIAL_JSON`.
    """

    def __init__(self, run_dir: Path) -> None:
        trial = TrialFile(**json.loads((run_dir / TRIAL_JSON).read_text()))
        self._storage = open_storage(trial.storage, run_dir.parent)
        pruner = build(optuna.pruners, "Pruner", trial.pruner) if trial.pruner else None
        self._study = optuna.load_study(study_name=trial.study, storage=self._storage)
        self._study.pruner = pruner or optuna.pruners.NopPruner()
        self._id = trial_id(self._storage, trial.study, trial.number)

    def report(self, step: int, value: float) -> bool:
        """Note an evaluation; return True if the trial is not worth going on with.

        Args:
            step: counted from 0; a second report of one replaces the first.
            value: of the metric, a number.
        """
        self._storage.set_trial_intermediate_value(self._id, step, value)
        trial = self._storage.get_trial(self._id)
        is_over = bool(self._study.pruner.prune(self._study, trial))
        if is_over != trial.user_attrs.get(PRUNED, False):
            self._storage.set_trial_user_attr(self._id, PRUNED, is_over)
        return is_over


def open_storage(url: str | None, sweep_dir: Path) -> BaseStorage:
    """Open the storage of a study.

    Raises:
        Problem: UNREACHABLE, a URL that cannot be opened.
    """
    if url is None:
        path = sweep_dir / STUDY_LOG
        lock = _Lock(path)
        _repair(path, lock)
        return JournalStorage(JournalFileBackend(str(path), lock))
    try:
        return RDBStorage(url)
    except Exception as error:  # whatever a database's driver raises
        key, remedy = "hydra.sweeper.storage", Remedy.CHECK_ADDRESS
        raise Problem(Kind.UNREACHABLE, url, str(error), key=key, remedy=remedy) from error


def trial_id(storage: BaseStorage, study: str, number: int) -> int:
    """Return a trial's id in its storage."""
    study_id = storage.get_study_id_from_name(study)
    return storage.get_trial_id_from_study_id_trial_number(study_id, number)


def build(module: ModuleType, kind: str, settings: Mapping[str, Any], **more: Any) -> Any:
    """Make one of Optuna's samplers or pruners.

    Args:
        module: ``optuna.samplers`` or ``optuna.pruners``.
        kind: how the names of its classes end, such as "Pruner".
        settings: the name of a class, and its arguments.
        more: arguments that replace those.

    Raises:
        Problem: SETTING, an unknown name or argument; ABSENT, it needs another package.
    """
    arguments = {**settings, **more}
    name, key = str(arguments.pop("name", None)), f"hydra.sweeper.{kind.lower()}"
    names = [one for one in dir(module) if one.endswith(kind) and not one.startswith("Base")]
    if name not in names:
        detail = f"no class of {module.__name__}{near(name, names)}"
        raise wrong_setting(f"{key}.name", name, detail)
    try:
        return getattr(module, name)(**arguments)
    except (TypeError, ValueError) as error:
        raise wrong_setting(key, json.dumps(dict(settings)), str(error)) from error
    except ImportError as error:
        raise Problem(Kind.ABSENT, name, str(error), key=f"{key}.name") from error


class _Lock(BaseJournalFileLock):
    """A lock that ends with its process; Optuna's own one outlives a kill by 30 seconds."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(f".{path.name}.lock")
        self._file: IO[str] | None = None

    def acquire(self) -> bool:
        """Wait for it."""
        self._file = self._path.open("a")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        """Give it back."""
        assert self._file is not None
        self._file.close()


def _repair(path: Path, lock: _Lock) -> None:
    """Remove the last line of a journal if a full disk or a power cut left half of it."""
    if not path.is_file():
        return
    lock.acquire()
    try:
        content = path.read_bytes()
        if not content.endswith(b"\n"):
            os.truncate(path, content.rfind(b"\n") + 1)
    finally:
        lock.release()
