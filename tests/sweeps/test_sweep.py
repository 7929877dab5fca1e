"""Sweeps in processes of their own, over a stand-in for training."""

import csv
import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from processes import wait_until

HERE = Path(__file__).parent
SEARCH = {"sampler": {"name": "RandomSampler", "seed": 5}, "trials": 12}


@pytest.fixture
def sweep(tmp_path):
    """Start a worker in an empty folder; what it says is in `said.txt` there."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "configs").mkdir()
    shutil.copy(HERE / "stand_in.py", tmp_path / "tools")
    started = []

    def start(settings, *words, gpus=""):
        command = [sys.executable, str(HERE / "worker.py"), json.dumps(settings), *words]
        own = {"PYTHONPATH": str(HERE.parents[1]), "CUDA_VISIBLE_DEVICES": gpus}
        environment = {**os.environ, **own}
        with (tmp_path / "said.txt").open("a") as output:
            started.append(
                subprocess.Popen(
                    command, cwd=tmp_path, env=environment, stdout=output, stderr=output
                )
            )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def rows_of(tmp_path):
    with (tmp_path / "sweep" / "trials.csv").open() as file:
        return list(csv.DictReader(file))


def said(tmp_path):
    return (tmp_path / "said.txt").read_text()


def trial_at_work(process):
    """Return the process of the trial that a worker waits for."""
    for child in psutil.Process(process.pid).children(recursive=True):
        paths = [Path(file.path).name for file in child.open_files()]
        if "output.txt" in paths:
            return child
    return None


@pytest.mark.slow
def test_a_search_that_is_killed_again_and_again_is_one_search(sweep, tmp_path):
    words = ["rate=interval(0.1,1.2)", "seconds=0.05"]  # a rate above 1 diverges
    rng = random.Random(0)
    for number in range(5):
        process = sweep(SEARCH, *words)
        begun = said(tmp_path).count("Trial ")
        wait_until(lambda: said(tmp_path).count("Trial ") > begun, process)  # noqa: B023
        time.sleep(rng.uniform(0, 1))
        if number == 2:
            wait_until(lambda: trial_at_work(process), process)  # noqa: B023
            trial_at_work(process).kill()
            wait_until(lambda: "killed by SIGKILL" in said(tmp_path), process)
        process.kill()
        process.wait()
    assert sweep(SEARCH, *words).wait(300) == 1
    rows = rows_of(tmp_path)
    assert sorted(int(row["trial"]) for row in rows) == list(range(12))
    assert len({row["rate"] for row in rows}) == 12
    for row in rows:
        is_good = float(row["rate"]) <= 1
        assert row["state"] == ("finished" if is_good else "failed")
        assert row["steps"] == ("10" if is_good else "")
        assert is_good or "diverged" in row["reason"]
    assert {"finished", "failed"} == {row["state"] for row in rows}
    records = [json.loads(p.read_text()) for p in (tmp_path / "sweep").glob("*/run.json")]
    assert 2 <= max(record["pieces"] for record in records) <= 7
    (tmp_path / "sweep").rename(tmp_path / "killed")
    assert sweep(SEARCH, *words).wait(300) == 1  # left alone, it is the same search
    columns = ("trial", "rate", "segm/AP", "state")
    assert [[row[name] for name in columns] for row in rows_of(tmp_path)] == [
        [row[name] for name in columns] for row in rows
    ]


@pytest.mark.slow
def test_two_workers_share_the_trials_of_one_study(sweep, tmp_path):
    words = ["rate=range(0.1,1.0,0.1)", "seconds=0.05"]
    workers = [sweep({"jobs": 2}, *words), sweep({"jobs": 2}, *words)]
    assert [worker.wait(120) for worker in workers] == [0, 0]
    for number in range(9):
        assert said(tmp_path).count(f"Trial {number}: ") == 1
        assert said(tmp_path).count(f"Trial {number} has ") == 1
    assert [row["state"] for row in rows_of(tmp_path)] == ["finished"] * 9


@pytest.mark.slow
def test_pruning_saves_steps_and_finds_the_same_best(sweep, tmp_path):
    rates = "rate=0.5,0.4,0.9,0.3,0.2,0.8,0.1,0.05,0.6,0.7"
    steps, best = [], []
    for pruner in (None, {"name": "MedianPruner", "n_startup_trials": 2}):
        assert sweep({"pruner": pruner}, rates).wait(600) == 0
        rows = rows_of(tmp_path)
        steps.append(sum(int(row["steps"]) for row in rows))
        best.append((rows[0]["trial"], rows[0]["segm/AP"]))
        shutil.rmtree(tmp_path / "sweep")
    assert best[0] == best[1]
    assert steps == [100, 55]


def test_a_failed_trial_is_named_and_each_log_has_its_own_trial_alone(sweep, tmp_path):
    assert sweep({}, "rate=2,0.5,0.25").wait(120) == 1
    text = said(tmp_path)
    assert text.index("Trial 0 (rate=2) step 3 diverged") < text.index("Trial 1: rate=0.5")
    assert [row["trial"] for row in rows_of(tmp_path)] == ["1", "2", "0"]
    folder = tmp_path / "sweep"
    assert "diverged: loss=nan" in (folder / "0" / "log.txt").read_text()
    for number, rate in enumerate(("2.0", "0.5", "0.25")):
        lines = (folder / str(number) / "output.txt").read_text().splitlines()
        assert [line for line in lines if line.startswith("rate")] == [f"rate {rate}"]
        assert f"workers start by {multiprocessing.get_start_method()}" in lines
    assert (folder / "leaderboard.html").is_file()


def test_trials_side_by_side_have_gpus_of_their_own(sweep, tmp_path):
    words = ["rate=0.1,0.2", "seconds=0.3"]
    assert sweep({"jobs": "gpus", "gpus": 2}, *words, gpus="4,5,7,8").wait(120) == 0
    outputs = [(tmp_path / "sweep" / name / "output.txt").read_text() for name in ("0", "1")]
    assert "gpus 4,5" in outputs[0] and "gpus 7,8" in outputs[1]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_trials(sweep, tmp_path):
    process = sweep({}, "rate=range(0.01,0.21,0.01)")
    sizes = []
    for number in (2, 19):
        wait_until(lambda: f"Trial {number}: " in said(tmp_path), process, 600)  # noqa: B023
        worker = psutil.Process(process.pid)
        server = worker.children()[-1]
        sizes.append(worker.memory_info().rss + server.memory_info().rss)
    assert sizes[1] <= 1.05 * sizes[0]
    assert process.wait(60) == 0
