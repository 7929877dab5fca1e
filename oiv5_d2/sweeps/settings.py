"""What a sweep does: the settings of the command, and the part that is frozen when it starts."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from oiv5_d2.files import write_whole
from oiv5_d2.problems import Kind, Problem, Remedy, wrong_setting
from oiv5_d2.sweeps.ranges import first, split

SWEEP_JSON = "sweep.json"
CONFIGS = "configs"  # the files of configs/ as they were when the sweep started
ONE_A_GPU = "gpus"  # of jobs


@dataclass(frozen=True)
class Settings:
    """``hydra.sweeper`` in the configs.

    Attributes:
        sweep_dir: the sweep's folder.
        jobs: how many trials are side by side; ``gpus``: as many as there are GPUs for.
        metric: ``<task>/<name>`` in a run's results.
        params: ranges in Hydra's syntax, by setting; the command line's come on top.
        sampler: name and arguments of a class of ``optuna.samplers``; None for all combinations.
        pruner: the same of ``optuna.pruners``; None for none.
        trials: how many trials a search has.
        storage: an Optuna storage URL; None for a journal in the sweep's folder.
        gpus: that one trial takes.
        slurm: ``launch.slurm``; not None if trials are jobs of a cluster.
    """

    sweep_dir: str
    jobs: int | str
    metric: str
    params: Mapping[str, Any]
    sampler: Mapping[str, Any] | None
    pruner: Mapping[str, Any] | None
    trials: int
    storage: str | None
    gpus: int
    slurm: Mapping[str, Any] | None
    _target_: str = ""

    def __post_init__(self) -> None:
        if self.jobs != ONE_A_GPU and not (isinstance(self.jobs, int) and self.jobs > 0):
            raise wrong_setting("jobs", self.jobs, f"a number above 0, or {ONE_A_GPU}")
        if self.jobs == ONE_A_GPU and self.slurm is not None:
            raise wrong_setting("jobs", self.jobs, "a number of jobs, whose GPUs Slurm chooses")
        if self.trials < 1:
            raise wrong_setting("hydra.sweeper.trials", self.trials, "a search has 1 or more")


@dataclass(frozen=True)
class Plan:
    """What all workers of a sweep go by, today and after a resume; kept in `SWEEP_JSON`.

    Attributes:
        words: of the command line, that all trials have in common.
        ranges: in Hydra's syntax, by setting.
        metric: what is compared.
        sampler: see `Settings`.
        pruner: see `Settings`.
        storage: see `Settings`.
        study: the study's name in its storage.
    """

    words: tuple[str, ...]
    ranges: dict[str, str]
    metric: str
    sampler: dict[str, Any] | None
    pruner: dict[str, Any] | None
    storage: str | None
    study: str

    @property
    def is_search(self) -> bool:
        """True if a sampler chooses, False if all combinations are tried."""
        return self.sampler is not None

    def words_of(self, params: Mapping[str, Any]) -> list[str]:
        """Return a trial's command line; floats keep every digit."""
        return [*self.words, *(f"{key}={params[key]}" for key in self.ranges if key in params)]


def make_plan(settings: Settings, arguments: Sequence[str]) -> Plan:
    """Return the plan of a command."""
    words, ranges = split([*(f"{k}={v}" for k, v in settings.params.items()), *arguments])
    return Plan(
        words=tuple(words),
        ranges=ranges,
        metric=settings.metric,
        sampler=dict(settings.sampler) if settings.sampler else None,
        pruner=dict(settings.pruner) if settings.pruner else None,
        storage=settings.storage,
        study=Path(settings.sweep_dir).name,
    )


def first_words(settings: Settings, arguments: Sequence[str]) -> list[str]:
    """Return a command line with the first value of each range.

    Raises:
        Problem: SETTING, a range without values.
    """
    plan = make_plan(settings, arguments)
    return plan.words_of(first(plan.ranges))


def frozen_configs(sweep_dir: Path) -> Path | None:
    """Return the folder of settings that `freeze` kept; None if the sweep is a new one."""
    return sweep_dir / CONFIGS if (sweep_dir / SWEEP_JSON).is_file() else None


def freeze(sweep_dir: Path, plan: Plan, configs_dir: Path) -> None:
    """Keep the plan and all files of settings: later changes to them are for later sweeps.

    Where there is a sweep already, the plan has to be the same.

    Raises:
        Problem: MISMATCH, it is another one.
    """
    path = sweep_dir / SWEEP_JSON
    if path.is_file():
        _check_same(read_plan(sweep_dir), plan, path)
        return
    shutil.rmtree(sweep_dir / CONFIGS, ignore_errors=True)
    shutil.copytree(configs_dir, sweep_dir / CONFIGS)
    write_whole(path, (json.dumps(asdict(plan), indent=2) + "\n").encode())


def read_plan(sweep_dir: Path) -> Plan:
    """Read what `freeze` wrote."""
    content = json.loads((sweep_dir / SWEEP_JSON).read_text())
    return Plan(**{**content, "words": tuple(content["words"])})


def _check_same(before: Plan, now: Plan, path: Path) -> None:
    for name in (field.name for field in fields(Plan)):
        old, new = getattr(before, name), getattr(now, name)
        if old != new:
            detail = f"{name}: was {_said(old)}, is {_said(new)}"
            key, remedy = "sweep_dir", Remedy.CHANGE_SETTING
            raise Problem(Kind.MISMATCH, path, detail, key=key, remedy=remedy)


def _said(value: Any) -> str:
    return json.dumps(value)
