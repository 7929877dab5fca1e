"""A training run as a job of a real Slurm, on this machine."""

import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import slurm_cluster
import torch
from processes import wait_until

ROOT = Path(__file__).parents[2]
SECONDS = 900
WORDS = (
    "d2.SOLVER.MAX_ITER=60",
    "d2.SOLVER.CHECKPOINT_PERIOD=5",
    "d2.DATALOADER.NUM_WORKERS=1",
    "d2.DATASETS.TEST=[]",
    "logger=none",
)
JOB = ("launch=slurm", "launch.slurm.gpus_per_node=null", "launch.slurm.cpus_per_task=1")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(slurm_cluster.why_not()), reason=slurm_cluster.why_not()),
]


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Start a cluster, and return a function that calls a command of it."""
    with slurm_cluster.cluster(tmp_path / "cluster") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

        def call(*command):
            return subprocess.run(command, check=True, capture_output=True, text=True).stdout

        yield call


@pytest.fixture
def start(tiny_words, prepared_dir, tmp_path):
    """Start a training with such words; what it says goes into `said.txt`."""

    def popen(*words, is_sweep=False):
        tool = [sys.executable, str(ROOT / "tools" / "train_net.py"), *["-m"] * is_sweep]
        with (tmp_path / "said.txt").open("a") as output:
            return subprocess.Popen(
                [*tool, *tiny_words, *WORDS, f"data.dir={prepared_dir}", *words],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
                stdout=output,
                stderr=output,
            )

    return popen


@pytest.fixture
def train_net(start, tmp_path):
    """Train in a folder; return all that was said so far."""

    def run(name, *words):
        assert start(f"run_dir={tmp_path / name}", *words).wait() == 0
        return (tmp_path / "said.txt").read_text()

    return run


def wait(condition, what):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def newest(run_dir):
    return max(run_dir.glob("model_0*.pth"), default=None)


def final_weights(run_dir):
    return torch.load(run_dir / "model_final.pth", weights_only=True)["model"]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_job_that_is_requeued_twice_ends_as_a_run_left_alone(
    slurm, train_net, tmp_path, processes
):
    run_dir = tmp_path / "job"
    said = train_net("job", *JOB, f"launch.nproc_per_node={processes}")
    job = re.search(r"submitted job (\d+)", said).group(1)
    assert f"scancel {job}" in said and "tail -F job/slurm" in said
    for command in (["scontrol", "requeue", job], ["scancel", "--signal=USR1", job]):
        now = newest(run_dir)
        wait(lambda now=now: newest(run_dir) != now, "a checkpoint")
        slurm(*command)
        wait(lambda: "PD" in slurm("squeue", "--noheader", "--format=%t"), "a requeue")
    wait(lambda: not slurm("squeue", "--noheader", "--jobs", job).strip(), "the end")
    log = next((run_dir / "slurm").glob("*_log.out")).read_text()
    assert "SIGTERM" in log and "SIGUSR1" in log and "Traceback" not in log
    train_net("whole", "launch=local" if processes == 1 else "launch=cpu2")
    one, other = final_weights(run_dir), final_weights(tmp_path / "whole")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_trial_is_a_job_that_outlives_its_sweep(slurm, start, tmp_path):
    grid = "d2.SOLVER.MOMENTUM=0.9,1e30"  # the second one diverges
    words = (*JOB, "launch.nproc_per_node=1", "sweep_dir=sweep", "jobs=2", grid)
    words += ("d2.DATASETS.TEST=[blocks_validation]",)
    first = tmp_path / "sweep" / "0"
    process = start(*words, is_sweep=True)
    wait_until(lambda: newest(first), process, SECONDS)
    job = re.search(r"submitted job (\d+)", said_by(first)).group(1)
    slurm("scontrol", "suspend", job)
    process.kill()  # the job stays, and the next worker waits for it
    process.wait()
    process = start(*words, is_sweep=True)
    wait_until(lambda: "submitted" in said_by(first).partition("submitted")[2], process, SECONDS)
    slurm("scontrol", "resume", job)
    process.send_signal(signal.SIGTERM)
    assert process.wait(SECONDS) == 128 + signal.SIGTERM
    assert not slurm("squeue", "--noheader").strip()
    assert rows_of(tmp_path)["0"]["state"] == "cut off"
    assert start(*words, is_sweep=True).wait(SECONDS) == 1
    rows = rows_of(tmp_path)
    assert (rows["0"]["state"], rows["0"]["steps"]) == ("finished", "60")
    assert rows["1"]["state"] == "failed" and "diverged" in rows["1"]["reason"]
    assert len(list(first.glob("slurm/*_submitted.pkl"))) == 2


def said_by(run_dir):
    return (run_dir / "output.txt").read_text()


def rows_of(tmp_path):
    with (tmp_path / "sweep" / "trials.csv").open() as file:
        return {row["trial"]: row for row in csv.DictReader(file)}
