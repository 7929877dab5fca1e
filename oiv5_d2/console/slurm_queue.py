"""A job in Slurm's queue, followed until it has ended, as if it was a process of ours."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from oiv5_d2.problems import TRY_AGAIN, Kind, Problem, Remedy

POLL_SECONDS = 5.0  # what squeue costs a cluster's controller; a finished job is known for minutes
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
FAILED = "FAILED"  # a job whose program ended with an error

_SUBMITTED = "*_submitted.pkl"  # what submitit leaves of each job, after its id
_GONE = "Invalid job id"  # Slurm's answer when it has forgotten a job


class Job(NamedTuple):
    """A job that was submitted.

    Attributes:
        id: Slurm's.
        log: what its first machine says.
    """

    id: str
    log: Path


class End(NamedTuple):
    """How a job ended.

    Attributes:
        state: Slurm's word; empty if it has forgotten the job.
        exit_code: of the job's program, above 128 if a signal ended it.
    """

    state: str
    exit_code: int

    @property
    def is_failure(self) -> bool:
        """True for an error of the program's own, False for all that comes from outside."""
        return self.state == FAILED and self.exit_code < 128 and self.exit_code != TRY_AGAIN


def find_job(folder: Path) -> Job | None:
    """Return the newest job that was submitted from a folder, if it has not ended.

    Args:
        folder: submitit's.
    """
    ids = sorted(int(path.name.partition("_")[0]) for path in folder.glob(_SUBMITTED))
    job = Job(str(ids[-1]), folder / f"{ids[-1]}_0_log.out") if ids else None
    return job if job and is_queued(job) else None


def is_queued(job: Job) -> bool:
    """Return True while a job waits, runs, or is to run again, or if Slurm does not answer."""
    command = ["squeue", "--noheader", f"--jobs={job.id}", "--format=%T"]
    done = subprocess.run(command, capture_output=True, text=True)
    return bool(done.stdout.strip()) if done.returncode == 0 else _GONE not in done.stderr


def read_end(job: Job) -> End:
    """Return how a job ended."""
    command = ["scontrol", "--oneliner", "show", "job", job.id]
    said = subprocess.run(command, capture_output=True, text=True).stdout
    state = re.search(r"\bJobState=(\w+)", said)
    code = re.search(r"\bExitCode=(\d+):(\d+)", said)
    exit_code, number = map(int, code.groups()) if code else (0, 0)
    return End(state[1] if state else "", 128 + number if number else exit_code)


def follow(job: Job) -> int:
    """Wait until a job has left the queue, and repeat what it said.

    A signal cancels the job, which gets SIGTERM: a run writes a checkpoint first.

    Returns:
        The signal's number; 0 if none came.
    """
    with _cancelling(job) as signals:
        while is_queued(job):
            time.sleep(POLL_SECONDS)
    if job.log.is_file():
        sys.stdout.write(job.log.read_text(errors="replace"))
        sys.stdout.flush()
    return signals[-1] if signals else 0


def check_end(job: Job) -> None:
    """Refuse a job that has not ended well.

    Raises:
        SystemExit: an error of the program's, which has said so.
        Problem: STOPPED, it was ended from outside.
    """
    end = read_end(job)
    if end.is_failure:
        raise SystemExit(end.exit_code)
    raise Problem(Kind.STOPPED, f"job {job.id}", end.state, remedy=Remedy.RUN_AGAIN)


@contextmanager
def _cancelling(job: Job) -> Iterator[list[int]]:
    """Cancel a job when a signal comes; yield the list that the signals come into."""
    found: list[int] = []

    def cancel(number: int, _: FrameType | None) -> None:
        found.append(number)
        subprocess.run(["scancel", job.id])

    former = {one: signal.signal(one, cancel) for one in SIGNALS}
    try:
        yield found
    finally:
        for one, handler in former.items():
            signal.signal(one, handler)
