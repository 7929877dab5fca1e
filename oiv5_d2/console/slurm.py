"""A command line as a Slurm job, submitted by submitit, which is requeued until the run has ended.

On each of its machines the job calls the tool with the words that were typed. Slurm's SIGUSR1
before the time limit makes the run save a checkpoint and stop; the job then asks to be requeued
and, started again, continues. A job that Slurm itself requeues continues in the same way.
"""

import importlib.util
import os
import runpy
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from oiv5_d2.console.slurm_queue import Job, check_end, find_job, follow
from oiv5_d2.problems import Kind, Problem, Remedy, Stopped
from oiv5_d2.runs import layout

_SIGNAL = signal.SIGUSR1  # the one that a training run knows as Slurm's
_FIRST_PORT, _PORTS = 20000, 10000
_FOLDER = "slurm"  # in the run directory: submitit's, with the job's logs


def is_job() -> bool:
    """Return True in a job that `submit` sent."""
    return os.environ.get("SUBMITIT_EXECUTOR") == "slurm"


def run_job(tool: Path, words: Iterable[str], run_dir: Path, settings: Mapping[str, Any]) -> None:
    """Submit a tool's command line and wait for its end, as if it was run here.

    A job of the same folder that has not ended is waited for instead.

    Args:
        tool: the script.
        words: of its command line.
        run_dir: where the run and the job's logs go.
        settings: see `submit`.

    Raises:
        Problem: STOPPED, the job was ended from outside; or those of `submit`.
        Stopped: by a signal.
        SystemExit: the job's exit code, after an error of the run's.
    """
    job = find_job(run_dir / _FOLDER) or submit(tool, words, run_dir, settings)
    print(describe(job), flush=True)
    number = follow(job)
    if layout.is_finished(run_dir):
        return
    if number:
        raise Stopped(number, str(run_dir))
    check_end(job)


def submit(tool: Path, words: Iterable[str], run_dir: Path, settings: Mapping[str, Any]) -> Job:
    """Submit a tool's command line; return the job.

    Args:
        tool: the script.
        words: of its command line.
        run_dir: where the run and the job's logs go.
        settings: of submitit's ``SlurmExecutor``; None for the cluster's own.

    Raises:
        Problem: ABSENT, no submitit or no Slurm here; REFUSED, by Slurm.
    """
    os.environ["SUBMITIT_PREEMPT_SIGNAL"] = _SIGNAL.name.removeprefix("SIG")
    check_installed()
    from submitit import SlurmExecutor
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    kept = [word for word in words if not word.startswith("run_dir=")]
    executor = SlurmExecutor(run_dir / _FOLDER)
    try:
        executor.update_parameters(
            **{name: value for name, value in settings.items() if value is not None},
            job_name=run_dir.parent.name,
            stderr_to_stdout=True,
            additional_parameters={"requeue": True},
        )
        job = executor.submit(Submission(str(tool), [*kept, f"run_dir={run_dir}"]))
    except (FailedJobError, FailedSubmissionError, subprocess.CalledProcessError) as error:
        key, remedy = "launch.slurm", Remedy.CHANGE_SETTING
        raise Problem(Kind.REFUSED, "sbatch", str(error), key=key, remedy=remedy) from error
    return Job(job.job_id, Path(job.paths.stdout))


def describe(job: Job) -> str:
    """Return what to tell the user about a job."""
    lines = [
        f"submitted job {job.id}",
        f"  watch:   squeue --jobs={job.id}",
        f"  log:     tail -F {os.path.relpath(job.log)}",
        f"  cancel:  scancel {job.id}",
    ]
    return "\n".join(lines)


class Submission:
    """What a job runs on each of its machines.

    Args:
        tool: the script.
        words: of its command line.
    """

    def __init__(self, tool: str, words: list[str]) -> None:
        self._tool, self._words = tool, words

    def __call__(self) -> None:
        """Run the tool as if it was typed; ask for another turn if it was stopped for one."""
        sys.argv = [self._tool, *self._words, *_meeting()]
        _start_tracker()
        try:
            runpy.run_path(self._tool, run_name="__main__")
        except SystemExit as end:
            if end.code == 128 + _SIGNAL:
                _requeue()
            if end.code:
                raise

    def checkpoint(self) -> Any:
        """Return what submitit runs after a signal that came before the run listened to it."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _start_tracker() -> None:
    """Start Python's tracker of shared memory so that it outlives the signal.

    Slurm sends it to every process of the job. A new tracker would say that it misses things.
    """
    former = signal.signal(_SIGNAL, signal.SIG_IGN)
    resource_tracker.ensure_running()
    signal.signal(_SIGNAL, former)


def _meeting() -> list[str]:
    """Return the words by which several machines of this job meet."""
    from submitit import JobEnvironment

    job = JobEnvironment()
    if job.num_nodes == 1:
        return []
    port = _FIRST_PORT + int(job.raw_job_id) % _PORTS
    return [f"launch.rdzv_endpoint={job.hostnames[0]}:{port}", f"launch.run_id={job.raw_job_id}"]


def _requeue() -> None:
    if os.environ.get("SLURM_PROCID", "0") == "0":
        subprocess.run(["scontrol", "requeue", os.environ["SLURM_JOB_ID"]], check=True)


def check_installed() -> None:
    """Refuse to submit where nothing can be submitted.

    Raises:
        Problem: ABSENT, no submitit or no Slurm here.
    """
    if importlib.util.find_spec("submitit") is None:
        detail = "launch=slurm needs it: python tools/install.py slurm"
        raise Problem(Kind.ABSENT, "submitit", detail, key="launch", remedy=Remedy.CHANGE_SETTING)
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        detail = "launch=slurm works on a machine that submits to a Slurm cluster"
        raise Problem(Kind.ABSENT, "sbatch", detail, key="launch", remedy=Remedy.CHANGE_SETTING)
