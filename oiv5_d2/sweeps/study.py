"""Which trial a worker takes next, and how a trial ended: all of it is in the study.

A trial is taken under the lock of the sweep's folder, and held by a lock on the trial's own folder,
which the system releases when the worker is killed. So a trial that is RUNNING in the study without
being held was cut off: whoever comes next continues it.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from oiv5_d2.runs.metrics import is_loss
from oiv5_d2.runs.study import PRUNED, TrialFile, build, open_storage, trial_id
from oiv5_d2.sweeps.ranges import combinations, distributions, suggest
from oiv5_d2.sweeps.settings import Plan

REASON = "reason"  # an attribute: why a trial failed, or was cut off
LOCK, HELD = ".lock", ".worker"


@dataclass
class Taken:
    """A trial that this worker holds.

    Attributes:
        number: in the study.
        params: what the trial differs in.
        run_dir: its folder.
        is_begun: True if a worker before has started it.
    """

    number: int
    params: dict[str, Any]
    run_dir: Path
    is_begun: bool
    _hold: IO[str]

    def let_go(self) -> None:
        """Hold it no longer."""
        self._hold.close()


def check_plan(plan: Plan) -> None:
    """Refuse a plan that no trial can be made of.

    Raises:
        Problem: SETTING, a range without values, an unknown sampler or pruner, or an interval
            without a sampler.
    """
    if plan.sampler:
        distributions(plan.ranges)
        build(optuna.samplers, "Sampler", plan.sampler)
    else:
        next(combinations(plan.ranges))
    if plan.pruner:
        build(optuna.pruners, "Pruner", plan.pruner)


class Ledger:
    """The study of a sweep, in the eyes of one worker.

    Args:
        sweep_dir: the sweep's folder.
        plan: what its trials are.
    """

    def __init__(self, sweep_dir: Path, plan: Plan) -> None:
        self._dir, self._plan = sweep_dir, plan
        self._space = distributions(plan.ranges)
        self._storage = open_storage(plan.storage, sweep_dir)
        directions = optuna.study.StudyDirection
        direction = directions.MINIMIZE if is_loss(plan.metric) else directions.MAXIMIZE
        self._study = optuna.create_study(
            storage=self._storage,
            study_name=plan.study,
            direction=direction,
            load_if_exists=True,
        )
        if not plan.is_search:
            self._enqueue()
        self._choose_sampler(0)
        self._to_retry = {one.number for one in self.trials() if one.user_attrs.get(REASON)}

    def trials(self) -> list[FrozenTrial]:
        """Return all trials of the study, in their order."""
        return self._study.get_trials(deepcopy=False)

    def study(self) -> optuna.Study:
        """Return the study itself, to read."""
        return self._study

    def take(self, num_trials: int) -> Taken | None:
        """Return the next trial to run: one that was cut off, otherwise a new one, or None.

        Args:
            num_trials: how many a search has.
        """
        with locked(self._dir):
            return self._take_begun() or self._take_new(num_trials)

    def finish(self, taken: Taken, value: float) -> bool:
        """Note a trial's result; return True if it was pruned."""
        is_pruned = bool(self._trial(taken).user_attrs.get(PRUNED))
        state = TrialState.PRUNED if is_pruned else TrialState.COMPLETE
        self._study.tell(taken.number, None if is_pruned else value, state)
        taken.let_go()
        return is_pruned

    def fail(self, taken: Taken, reason: str) -> None:
        """Note why a trial has no result, for good."""
        self._note(taken, reason)
        self._study.tell(taken.number, state=TrialState.FAIL)
        taken.let_go()

    def cut_off(self, taken: Taken, reason: str) -> None:
        """Note why a trial was cut off: the next start of the sweep continues it."""
        self._note(taken, reason)
        taken.let_go()

    def _note(self, taken: Taken, reason: str) -> None:
        self._storage.set_trial_user_attr(self._id(taken.number), REASON, reason)

    def _trial(self, taken: Taken) -> FrozenTrial:
        return self._storage.get_trial(self._id(taken.number))

    def _id(self, number: int) -> int:
        return trial_id(self._storage, self._plan.study, number)

    def _enqueue(self) -> None:
        """Make a trial of each combination, unless a start before has."""
        for params in islice(combinations(self._plan.ranges), len(self.trials()), None):
            self._study.enqueue_trial(params)

    def _take_begun(self) -> Taken | None:
        for one in self.trials():
            reason = one.user_attrs.get(REASON)
            if one.state is not TrialState.RUNNING or (reason and one.number not in self._to_retry):
                continue
            if hold := _hold(self._dir / str(one.number)):
                self._to_retry.discard(one.number)
                self._storage.set_trial_user_attr(self._id(one.number), REASON, "")
                self._choose_sampler(one.number)
                return self._taken(Trial(self._study, self._id(one.number)), hold, True)
        return None

    def _take_new(self, num_trials: int) -> Taken | None:
        trials = self.trials()
        if self._plan.is_search:
            if len(trials) >= num_trials:
                return None
        elif not any(one.state is TrialState.WAITING for one in trials):
            return None
        self._choose_sampler(len(trials))
        trial = self._study.ask()
        hold = _hold(self._dir / str(trial.number))
        assert hold is not None  # a new number
        return self._taken(trial, hold, False)

    def _taken(self, trial: Trial, hold: IO[str], is_begun: bool) -> Taken:
        plan, run_dir = self._plan, self._dir / str(trial.number)
        params = suggest(trial, self._space)
        TrialFile(trial.number, plan.study, plan.storage, plan.pruner).write(run_dir)
        return Taken(trial.number, params, run_dir, is_begun, hold)

    def _choose_sampler(self, number: int) -> None:
        """Make the sampler of one trial: one seed would draw the same again after a resume."""
        if settings := self._plan.sampler:
            seed = int(settings.get("seed") or 0) + number
            self._study.sampler = build(optuna.samplers, "Sampler", settings, seed=seed)


@contextmanager
def locked(sweep_dir: Path) -> Iterator[None]:
    """Wait until no other worker decides anything about a sweep."""
    with (sweep_dir / LOCK).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _hold(run_dir: Path) -> IO[str] | None:
    """Hold a trial's folder, which is made; return None if another worker does."""
    run_dir.mkdir(parents=True, exist_ok=True)
    file = (run_dir / HELD).open("a")
    with suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return file
    file.close()
    return None
