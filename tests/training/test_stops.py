"""Runs in processes of their own, ended by signals: the weights are those of a run left alone."""

import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from functools import cache, partial
from itertools import cycle
from pathlib import Path

import pytest
import torch
from slurm_cluster import free_ports

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("KILLS", "4"))
# How one run is ended, again and again: every fifth time it may save first.
ENDS = [signal.SIGTERM if n % 5 == 3 else signal.SIGKILL for n in range(KILLS * 5 // 4)]
STEPS = 40 + 16 * len(ENDS)  # more than are made before the last end
SECONDS = 900  # after which something is stuck, on a busy machine too
WORDS = (
    f"d2.SOLVER.MAX_ITER={STEPS}",
    "d2.SOLVER.CHECKPOINT_PERIOD=5",
    "d2.DATALOADER.NUM_WORKERS=1",
    "d2.DATASETS.TEST=[]",
    "trainer.ema=0.99",
    "logger=none",
)


@pytest.fixture(scope="module")
def start_in(tiny_words, prepared_dir):
    """Start the tool in a folder; its run directory is `name` there."""

    def start(folder, name, *words, by=()):
        tool = [sys.executable, *by, str(ROOT / "tools" / "train_net.py")]
        folders = [f"data.dir={prepared_dir}", f"run_dir={folder / name}"]
        with (folder / f"{name}.txt").open("a") as output:
            return subprocess.Popen(
                [*tool, *tiny_words, *WORDS, *folders, *words],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
                stdout=output,
                stderr=output,
            )

    return start


@pytest.fixture
def train_net(start_in, tmp_path):
    return partial(start_in, tmp_path)


@pytest.fixture(scope="module")
def left_alone(start_in, tmp_path_factory):
    """Return the folder of a run that nothing disturbed, by its `launch`."""
    folder = tmp_path_factory.mktemp("left_alone")

    @cache
    def train(launch):
        finish(start_in(folder, launch, f"launch={launch}"))
        return folder / launch

    return train


def newest(run_dir):
    return max(run_dir.glob("model_0*.pth"), default=None)


def number_of(path):
    return int(path.stem.removeprefix("model_")) if path else -1


def wait_for_a_checkpoint(run_dir, process):
    """Wait until there is a newer one than now."""
    now = newest(run_dir)
    while process.poll() is None and newest(run_dir) == now:
        time.sleep(0.02)
    assert process.poll() is None, "the run ended before it could be stopped"


def assert_same_weights(first, second):
    for name in ("model_final.pth", "model_ema.pth"):
        one, other = (
            torch.load(run_dir / name, weights_only=True)["model"] for run_dir in (first, second)
        )
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)


def finish(process):
    assert process.wait(SECONDS) == 0


@pytest.mark.slow
@pytest.mark.parametrize("launch", ["local", "cpu2"])
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 138)]
)
def test_a_signal_ends_the_step_and_leaves_a_checkpoint(
    train_net, left_alone, tmp_path, number, code, launch
):
    process = train_net("run", f"launch={launch}")
    wait_for_a_checkpoint(tmp_path / "run", process)
    process.send_signal(number)
    assert process.wait(SECONDS) == code
    said = (tmp_path / "run.txt").read_text()
    assert "Traceback" not in said
    last_line = said.strip().splitlines()[-1]
    assert number.name in last_line and "resume=true" in last_line and "run_dir=run" in last_line
    finish(train_net("run", "resume=true", f"launch={launch}"))
    assert_same_weights(tmp_path / "run", left_alone(launch))


@pytest.mark.slow
@pytest.mark.parametrize("launch", ["local", "cpu2"])
def test_a_run_killed_at_random_moments_ends_as_one_left_alone(
    train_net, left_alone, tmp_path, launch
):
    rng = random.Random(0)
    workers = cycle([1, 3, 0])  # of the loader; their number changes nothing either
    begin = partial(train_net, "run", f"launch={launch}")
    process = begin()
    for kind in ENDS:
        if newest(tmp_path / "run") is None or rng.random() < 0.5:
            wait_for_a_checkpoint(tmp_path / "run", process)
            time.sleep(rng.uniform(0, 0.5))
        else:  # perhaps while it starts
            time.sleep(rng.uniform(0, 8))
        assert process.poll() is None
        process.send_signal(kind)
        assert process.wait(SECONDS) in (-kind, 128 + kind)  # while it starts, or later
        process = begin("resume=true", f"d2.DATALOADER.NUM_WORKERS={next(workers)}")
    finish(process)
    assert_same_weights(tmp_path / "run", left_alone(launch))
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["iterations"] == STEPS and len(record["commands"]) > 1


@pytest.mark.slow
@pytest.mark.parametrize("launch", ["local", "cpu2"])
def test_a_staged_run_killed_in_each_stage_ends_as_one_left_alone(train_net, tmp_path, launch):
    finish(train_net("pretrained", "d2.SOLVER.MAX_ITER=2"))
    stages = "{train: heads, until: 0.3}, {train: res4+, until: 0.6, rate: 0.5}, {train: all}"
    weights = f"d2.MODEL.WEIGHTS={tmp_path / 'pretrained' / 'model_final.pth'}"
    words = (f"trainer.stages=[{stages}]", weights, f"launch={launch}")
    process = train_net("run", *words)
    for step in (STEPS // 12, STEPS // 3, STEPS * 2 // 3):
        while step > number_of(newest(tmp_path / "run")):
            wait_for_a_checkpoint(tmp_path / "run", process)
        process.kill()
        process.wait()
        process = train_net("run", *words, "resume=true")
    finish(process)
    finish(train_net("whole", *words))
    assert_same_weights(tmp_path / "run", tmp_path / "whole")


@pytest.mark.slow
def test_a_killed_worker_is_replaced(train_net, left_alone, tmp_path):
    rng = random.Random(0)
    process = train_net("run", "launch=cpu2")
    for _ in range(2):
        wait_for_a_checkpoint(tmp_path / "run", process)
        time.sleep(rng.uniform(0, 0.5))
        os.kill(rng.choice(sorted(workers_of(process.pid))), signal.SIGKILL)
    finish(process)
    assert_same_weights(tmp_path / "run", left_alone("cpu2"))


@pytest.mark.slow
def test_machines_that_meet_and_torchrun_train_what_two_processes_here_do(
    train_net, left_alone, tmp_path
):
    by = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    finish(train_net("torchrun", by=by))
    (port,) = free_ports(1)
    meeting = ("launch.min_nodes=2", f"launch.rdzv_endpoint=localhost:{port}")
    for machine in [train_net("machines", *meeting) for _ in range(2)]:
        finish(machine)
    assert_same_weights(tmp_path / "torchrun", left_alone("cpu2"))
    assert_same_weights(tmp_path / "machines", left_alone("cpu2"))


def workers_of(pid):
    """Return the processes that PyTorch's launcher spawned."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            command = (path / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == pid and b"spawn_main" in command:
            found.append(int(path.name))
    return found


@pytest.mark.slow
def test_a_full_disk_is_one_line(train_net, tmp_path):
    command = "ulimit -f 400 && exec " + "{}"
    process = train_net("probe", "d2.SOLVER.MAX_ITER=1")
    finish(process)
    size = (tmp_path / "probe" / "model_final.pth").stat().st_size
    words = [str(word) for word in process.args]
    words[words.index(f"run_dir={tmp_path / 'probe'}")] = f"run_dir={tmp_path / 'full'}"
    done = subprocess.run(
        ["bash", "-c", command.format(shlex.join(words))],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert size > 400 * 1024 and done.returncode == 1
    assert "Traceback" not in done.stderr + done.stdout
    *_, problem, remedy = done.stderr.splitlines()
    assert "model_0000000.pth" in problem and remedy.endswith("run_dir=full resume=true")
    assert not list((tmp_path / "full").glob("*.pth"))
    assert not list((tmp_path / "full").glob(".part*"))
