"""Sweeps in processes of their own, killed and resumed."""

import csv
import json
import os
import shlex
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import psutil
import pytest
from processes import wait_until

ROOT = Path(__file__).parents[2]
TRIALS = 12
SEARCH = (
    f"hydra.sweeper.trials={TRIALS}",
    "hydra.sweeper.sampler={name:RandomSampler,seed:0}",
    "d2.SOLVER.BASE_LR=tag(log,interval(0.001,0.1))",
    "d2.SOLVER.MOMENTUM=choice(0.9,0.8,0.5,0.2,1e30)",  # the last one diverges
)


@pytest.fixture
def sweep(tiny_words, prepared_dir, tmp_path):
    """Start a sweep of the tiny model in `sweep` of an empty folder."""

    def start(*words):
        tool = [sys.executable, str(ROOT / "tools" / "train_net.py")]
        common = [*tiny_words, f"data.dir={prepared_dir}", "logger=none", "d2.SOLVER.MAX_ITER=6"]
        common += ["d2.SOLVER.CHECKPOINT_PERIOD=2", "d2.TEST.EVAL_PERIOD=3"]
        with (tmp_path / "said.txt").open("a") as output:
            return subprocess.Popen(
                [*tool, "-m", *common, "sweep_dir=sweep", *words],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
                stdout=output,
                stderr=output,
            )

    return start


def rows_of(tmp_path):
    with (tmp_path / "sweep" / "trials.csv").open() as file:
        return list(csv.DictReader(file))


def trials_at_work(process, tmp_path):
    """Return the processes of trials, by number."""
    found = {}
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            paths = [Path(file.path) for file in child.open_files()]
        except psutil.Error:
            continue
        found |= {int(p.parent.name): child for p in paths if p.name == "output.txt"}
    return found


def num_checkpoints(tmp_path):
    return len(list(tmp_path.glob("sweep/*/model_0*.pth")))


@pytest.mark.slow
def test_a_search_that_is_killed_again_and_again_is_one_search(sweep, tmp_path):
    for number in range(5):
        process = sweep(*SEARCH)
        before = num_checkpoints(tmp_path)
        wait_until(lambda: num_checkpoints(tmp_path) > before + 1, process, 600)  # noqa: B023
        if number == 2:
            (trial,) = trials_at_work(process, tmp_path).values()
            trial.kill()
            wait_until(lambda: "killed by SIGKILL" in (tmp_path / "said.txt").read_text(), process)
        process.kill()
        process.wait()
    assert sweep(*SEARCH).wait(1200) == 1  # one diverged
    rows = rows_of(tmp_path)
    assert sorted(int(row["trial"]) for row in rows) == list(range(TRIALS))
    assert len({(row["d2.SOLVER.BASE_LR"], row["d2.SOLVER.MOMENTUM"]) for row in rows}) == TRIALS
    assert Counter(row["state"] for row in rows) == {"finished": TRIALS - 1, "failed": 1}
    assert "diverged" in rows[-1]["reason"]
    assert [row["steps"] for row in rows[:-1]] == ["6"] * (TRIALS - 1)
    pieces = [len(record(tmp_path / "sweep" / row["trial"])["commands"]) for row in rows[:-1]]
    assert max(pieces) > 1
    assert_alone(tmp_path, rows[0])


def record(run_dir):
    return json.loads((run_dir / "run.json").read_text())


def assert_alone(tmp_path, row):
    """The best trial's number is what its command gives alone, to the last bit."""
    said = (tmp_path / "said.txt").read_text()
    command = shlex.split(said.rpartition("Best trial: ")[2].splitlines()[0])
    subprocess.run(
        [*command, "run_dir=alone"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
    )
    assert record(tmp_path / "alone")["results"]["segm"]["AP"] == float(row["segm/AP"])


@pytest.mark.slow
def test_two_workers_share_the_trials_of_one_study(sweep, tmp_path):
    words = ["d2.SOLVER.BASE_LR=0.01,0.02,0.03,0.04,0.05,0.06"]
    workers = [sweep(*words), sweep(*words)]
    assert [worker.wait(1200) for worker in workers] == [0, 0]
    said = (tmp_path / "said.txt").read_text()
    for number in range(6):
        assert said.count(f"Trial {number}: ") == said.count(f"Trial {number} has ") == 1
    assert sorted(int(row["trial"]) for row in rows_of(tmp_path)) == list(range(6))


@pytest.mark.slow
def test_a_sweep_that_is_told_to_stop_continues_its_trial(sweep, tmp_path):
    words = ["d2.SOLVER.BASE_LR=0.01,0.02", "d2.DATALOADER.NUM_WORKERS=1"]
    process = sweep(*words)
    wait_until(lambda: num_checkpoints(tmp_path), process, 600)
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 128 + signal.SIGTERM
    last = (tmp_path / "said.txt").read_text().strip().splitlines()[-1]
    assert "sweep_dir=sweep" in last
    assert {row["state"] for row in rows_of(tmp_path)} == {"cut off", "waiting"}
    assert sweep(*words).wait(600) == 0
    assert [row["state"] for row in rows_of(tmp_path)] == ["finished", "finished"]


@pytest.mark.slow
def test_pruning_saves_steps_and_finds_the_same_best(sweep, tmp_path):
    words = ["d2.SOLVER.BASE_LR=0.02,0.01,1e-5,1e-6,1e-7,1e-8", "d2.TEST.EVAL_PERIOD=2"]
    words += ["trainer.validation_loss=true", "metric=validation/total_loss"]
    pruner = "hydra.sweeper.pruner={name:MedianPruner,n_startup_trials:2}"
    steps, best = [], []
    for folder, more in [("without", []), ("pruned", [pruner])]:
        assert sweep(*words, *more).wait(1200) == 0
        rows = rows_of(tmp_path)
        steps.append(sum(int(row["steps"]) for row in rows))
        best.append((rows[0]["trial"], rows[0]["validation/total_loss"]))
        (tmp_path / "sweep").rename(tmp_path / folder)
    assert best[0] == best[1]
    assert steps[1] <= 0.7 * steps[0]
    assert (tmp_path / "pruned" / rows[-1]["trial"] / "model_final.pth").is_file()
