"""A training run as a job of a real Slurm, on this machine."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import slurm_cluster
import torch

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
def train_net(tiny_words, prepared_dir, tmp_path):
    def run(name, *words):
        tool = [sys.executable, str(ROOT / "tools" / "train_net.py")]
        folders = [f"data.dir={prepared_dir}", f"run_dir={tmp_path / name}"]
        return subprocess.run(
            [*tool, *tiny_words, *WORDS, *folders, *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

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
