"""How a job's end is read, from Slurm's own words; real jobs are in tests/training."""

import stat

import pytest
from raising import refused

from oiv5_d2.console.slurm_queue import Job, check_end, find_job, is_queued
from oiv5_d2.problems import Kind


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Put programs in the place of Slurm's, which print and end as told."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def answer(program, text, code=0, stream=1):
        path = tmp_path / program
        path.write_text(f"#!/bin/sh\necho '{text}' >&{stream}\nexit {code}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    return answer


@pytest.fixture
def job(tmp_path):
    return Job("7", tmp_path / "7_0_log.out")


def test_a_job_is_over_when_slurm_says_so_and_not_when_slurm_is_away(slurm, job):
    slurm("squeue", "RUNNING")
    assert is_queued(job)
    slurm("squeue", "")
    assert not is_queued(job)
    slurm("squeue", "slurm_load_jobs error: Invalid job id specified", 1, 2)
    assert not is_queued(job)
    slurm("squeue", "slurm_load_jobs error: Unable to contact slurm controller", 1, 2)
    assert is_queued(job)


@pytest.mark.parametrize(("state", "code"), [("FAILED", "1:0"), ("FAILED", "2:0")])
def test_an_error_of_the_run_is_the_exit_code(slurm, job, state, code):
    slurm("scontrol", f"JobId=7 JobName=x JobState={state} Reason=NonZeroExitCode ExitCode={code}")
    with pytest.raises(SystemExit) as end:
        check_end(job)
    assert end.value.code == int(code[0])


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("FAILED", "75:0"),  # processes that were killed too often
        ("FAILED", "137:0"),
        ("FAILED", "0:9"),
        ("OUT_OF_MEMORY", "0:125"),
        ("NODE_FAIL", "1:0"),
        ("CANCELLED", "0:15"),
        ("TIMEOUT", "0:1"),
    ],
)
def test_what_comes_from_outside_is_no_error_of_the_run(slurm, job, state, code):
    slurm("scontrol", f"JobId=7 JobState={state} Reason=None ExitCode={code} DerivedExitCode=0:0")
    with refused(Kind.STOPPED, about=state):
        check_end(job)


def test_a_job_that_slurm_has_forgotten_was_ended_from_outside(slurm, job):
    slurm("scontrol", "slurm_load_jobs error: Invalid job id specified", 1, 2)
    with refused(Kind.STOPPED):
        check_end(job)


def test_the_newest_job_of_a_folder_is_found_while_it_is_queued(slurm, tmp_path):
    slurm("squeue", "PENDING")
    assert find_job(tmp_path) is None
    for number in (9, 10):
        (tmp_path / f"{number}_submitted.pkl").touch()
    assert find_job(tmp_path) == Job("10", tmp_path / "10_0_log.out")
    slurm("squeue", "")
    assert find_job(tmp_path) is None
