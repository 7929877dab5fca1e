"""Runs in processes of their own, ended by signals: the weights are those of a run left alone."""

import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
STEPS = 24
WORDS = (
    f"d2.SOLVER.MAX_ITER={STEPS}",
    "d2.SOLVER.CHECKPOINT_PERIOD=5",
    "d2.DATALOADER.NUM_WORKERS=1",
    "d2.DATASETS.TEST=[]",
    "logger=none",
)


@pytest.fixture
def train_net(tiny_words, prepared_dir, tmp_path):
    """Start the tool; its run directory is `name` of an empty folder."""

    def start(name, *words):
        tool = [sys.executable, str(ROOT / "tools" / "train_net.py")]
        folders = [f"data.dir={prepared_dir}", f"run_dir={tmp_path / name}"]
        with (tmp_path / f"{name}.txt").open("a") as output:
            return subprocess.Popen(
                [*tool, *tiny_words, *WORDS, *folders, *words],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
                stdout=output,
                stderr=output,
            )

    return start


def wait_for(run_dir, num_checkpoints, process):
    while process.poll() is None:
        if len(list(run_dir.glob("model_0*.pth"))) >= num_checkpoints:
            return
        time.sleep(0.05)


def final_weights(run_dir):
    return torch.load(run_dir / "model_final.pth", weights_only=True)["model"]


def assert_same_weights(first, second):
    one, other = final_weights(first), final_weights(second)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def finish(process):
    assert process.wait(300) == 0


@pytest.mark.slow
@pytest.mark.parametrize("launch", ["local", "cpu2"])
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 138)]
)
def test_a_signal_ends_the_step_and_leaves_a_checkpoint(train_net, tmp_path, number, code, launch):
    if launch == "cpu2" and number == signal.SIGUSR1:
        pytest.skip("PyTorch's launcher does not pass it on")
    process = train_net("run", f"launch={launch}")
    wait_for(tmp_path / "run", 1, process)
    process.send_signal(number)
    assert process.wait(120) == code
    said = (tmp_path / "run.txt").read_text()
    assert "Traceback" not in said
    last_line = said.strip().splitlines()[-1]
    assert number.name in last_line and "resume=true" in last_line and "run_dir=run" in last_line
    finish(train_net("run", "resume=true", f"launch={launch}"))
    finish(train_net("whole", f"launch={launch}"))
    assert_same_weights(tmp_path / "run", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("launch", ["local", "cpu2"])
def test_a_run_killed_at_random_moments_ends_as_one_left_alone(train_net, tmp_path, launch):
    rng = random.Random(0)
    process = train_net("run", f"launch={launch}")
    for _ in range(int(os.environ.get("KILLS", "3"))):
        wait_for(tmp_path / "run", 1, process)
        time.sleep(rng.uniform(0, 8))
        process.kill()
        process.wait()
        process = train_net("run", "resume=true", f"launch={launch}")
    finish(process)
    finish(train_net("whole", f"launch={launch}"))
    assert_same_weights(tmp_path / "run", tmp_path / "whole")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["iterations"] == STEPS and len(record["commands"]) > 1


@pytest.mark.slow
def test_a_killed_worker_is_replaced(train_net, tmp_path):
    process = train_net("run", "launch=cpu2")
    for number in (1, 2):
        wait_for(tmp_path / "run", number, process)
        workers = workers_of(process.pid)
        if workers:
            os.kill(max(workers), signal.SIGKILL)
        time.sleep(5)
    finish(process)
    finish(train_net("whole", "launch=cpu2"))
    assert_same_weights(tmp_path / "run", tmp_path / "whole")


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
        timeout=120,
    )
    assert size > 400 * 1024 and done.returncode == 1
    assert "Traceback" not in done.stderr + done.stdout
    assert "model_0000000.pth" in done.stderr.splitlines()[-2]
    assert not list((tmp_path / "full").glob("*.pth"))
    assert not list((tmp_path / "full").glob(".part*"))
