"""A sweep from its command to its table."""

import logging
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from pathlib import Path
from types import FrameType

from oiv5_d2.problems import Kind, Problem, Stopped
from oiv5_d2.runs import layout
from oiv5_d2.runs.metrics import look_up
from oiv5_d2.sweeps import trials
from oiv5_d2.sweeps.leaderboard import WITHOUT_RESULT, ToCommand, write_leaderboard
from oiv5_d2.sweeps.page import write_page
from oiv5_d2.sweeps.settings import CONFIGS, ONE_A_GPU, Plan, Settings, freeze, make_plan
from oiv5_d2.sweeps.study import Ledger, Taken, check_plan, locked

logger = logging.getLogger(__name__)


def run_sweep(settings: Settings, arguments: Sequence[str], to_command: ToCommand) -> None:
    """Run the trials of a command side by side, or those that are left; write the table.

    Args:
        settings: of the sweep.
        arguments: the command line's words.
        to_command: makes of such words what is typed.

    Raises:
        Problem: FAILED, trials have no result; SETTING, MISMATCH or UNREACHABLE, before the first
            trial starts.
        Stopped: by a signal; its trials have ended in the same way.
    """
    tool, sweep_dir = Path(sys.argv[0]).resolve(), Path(settings.sweep_dir)
    plan = make_plan(settings, arguments)
    check_plan(plan)
    sweep_dir.mkdir(parents=True, exist_ok=True)
    with locked(sweep_dir):
        freeze(sweep_dir, plan, tool.parents[1] / CONFIGS)
        ledger = Ledger(sweep_dir, plan)
    worker = Worker(settings, plan, ledger, tool)
    try:
        with worker.listening():
            worker.work()
    finally:
        rows = write_leaderboard(sweep_dir, plan, ledger.study(), to_command)
        page = write_page(sweep_dir, plan, ledger.study(), rows)
        logger.info("Page: %s", page)
    if worker.signal:
        raise Stopped(worker.signal, str(sweep_dir))
    if bad := sorted(row.number for row in rows if row.state in WITHOUT_RESULT):
        raise Problem(Kind.FAILED, sweep_dir, f"no result of trial {', '.join(map(str, bad))}")


class Worker:
    """Runs trials of one sweep in this process's children; other workers may run others.

    Args:
        settings: of the sweep.
        plan: of the sweep.
        ledger: of the sweep.
        tool: the script whose command a trial is.
    """

    def __init__(self, settings: Settings, plan: Plan, ledger: Ledger, tool: Path) -> None:
        self._settings, self._plan, self._ledger, self._tool = settings, plan, ledger, tool
        self._dir = Path(settings.sweep_dir)
        self._is_here = settings.slurm is None
        self._slots = self._make_slots()
        self._running: dict[int, tuple[Taken, trials.Running]] = {}  # by slot
        self.signal = 0

    def work(self) -> None:
        """Run trials until none is left to take."""
        while True:
            self._fill()
            if not self._running:
                return
            wait([running.process.sentinel for _, running in self._running.values()])
            for slot in list(self._running):
                if self._running[slot][1].process.exitcode is not None:
                    self._end_trial(slot)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hand signals on to the trials, which stop as a run does; start no more."""
        former = {one: signal.signal(one, self._stop) for one in trials.STOP_SIGNALS}
        try:
            yield
        finally:
            for one, handler in former.items():
                signal.signal(one, handler)

    def _stop(self, number: int, _: FrameType | None) -> None:
        self.signal = number
        for _taken, running in self._running.values():
            with suppress(ProcessLookupError):
                os.kill(running.process.pid or 0, number)

    def _make_slots(self) -> list[list[str] | None]:
        """Return the GPUs of each trial that runs at a time; None for all of them."""
        jobs, size = self._settings.jobs, max(1, self._settings.gpus)
        gpus = trials.visible_gpus() if jobs != 1 and self._is_here else []
        if jobs == ONE_A_GPU:
            jobs = max(1, len(gpus) // size)
        assert isinstance(jobs, int)
        sets = [gpus[i : i + size] for i in range(0, len(gpus) - size + 1, size)]
        return [sets[i % len(sets)] if sets else None for i in range(jobs)]

    def _fill(self) -> None:
        for slot, gpus in enumerate(self._slots):
            if slot in self._running or self.signal:
                continue
            taken = self._ledger.take(self._settings.trials)
            if taken is None:
                return
            words = self._words(taken)
            logger.info("Trial %d%s: %s", taken.number, _again(taken), _said(taken))
            running = trials.start(self._tool, words, taken.run_dir, gpus, self._is_here)
            self._running[slot] = taken, running

    def _words(self, taken: Taken) -> list[str]:
        configs = os.path.relpath(self._dir / CONFIGS, self._tool.parent)
        run_dir = os.path.relpath(taken.run_dir)
        words = [f"--config-path={configs}", *self._plan.words_of(taken.params)]
        is_run = (taken.run_dir / layout.RUN_JSON).is_file()
        return [*words, f"run_dir='{run_dir}'", *(["resume=true"] if is_run else [])]

    def _end_trial(self, slot: int) -> None:
        taken, running = self._running.pop(slot)
        running.process.join()
        value = self._value(taken) if running.process.exitcode == 0 else None
        if value is not None and value == value:
            is_pruned = self._ledger.finish(taken, value)
            end = "pruned at" if is_pruned else "has"
            logger.info("Trial %d %s %s %.2f", taken.number, end, self._plan.metric, value)
            return
        reason = trials.reason_of(running) if value is None else f"{self._plan.metric} is NaN"
        self._note(taken, reason)
        is_cut_off = trials.was_cut_off(running.process.exitcode or 0)
        (self._ledger.cut_off if is_cut_off else self._ledger.fail)(taken, reason)

    def _value(self, taken: Taken) -> float | None:
        if not layout.is_finished(taken.run_dir):
            return None
        record = layout.read_record(taken.run_dir)
        return look_up(record["results"], record["metric"])  # of boxes, if there are no masks

    def _note(self, taken: Taken, reason: str) -> None:
        """Say on the screen and in the trial's log why it has no result."""
        logger.error("Trial %d (%s) %s", taken.number, _said(taken), reason)
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        with (taken.run_dir / layout.LOG_TXT).open("a") as file:
            file.write(f"{stamp} ERROR {__name__}: {reason}\n")


def _again(taken: Taken) -> str:
    return " goes on" if taken.is_begun else ""


def _said(taken: Taken) -> str:
    return shlex.join(f"{key}={value}" for key, value in taken.params.items()) or "no settings"
