"""How processes start, meet and end; what they train is elsewhere."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from raising import refused

from oiv5_d2.problems import Kind, Problem, Remedy, Stopped
from oiv5_d2.training.group import share
from oiv5_d2.training.launch import Launch, launch

ROOT = Path(__file__).parents[2]
TWO = Launch(nproc_per_node=2, max_restarts=3)


def add_up(folder):
    """Return the sum of the ranks and 10 each."""
    note(folder)
    number = torch.tensor(dist.get_rank() + 10)
    dist.all_reduce(number)
    return number.item()


def note(folder):
    """Count this process among those that were started."""
    rank, restarts = os.environ["RANK"], os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    (folder / f"{rank}_{restarts}").touch()


def fail(folder):
    note(folder)
    if dist.get_rank() == 1:
        raise ZeroDivisionError("no number")
    dist.barrier()


def refuse(folder):
    note(folder)
    share(refuse_setting)


def refuse_setting():
    raise Problem(Kind.SETTING, "metric=x", "unknown", key="metric", remedy=Remedy.CHANGE_SETTING)


def stop(folder):
    note(folder)
    raise Stopped(signal.SIGUSR1, str(folder), 7)


def kill_the_first_two_times(folder):
    note(folder)
    restarts = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
    if restarts < 2 and dist.get_rank() == restarts:
        os.kill(os.getpid(), signal.SIGKILL)
    return add_up(folder)


def kill_always(folder):
    os.kill(os.getpid(), signal.SIGKILL)


def starts(folder):
    return sorted(path.name for path in folder.iterdir())


def test_one_process_is_this_one(tmp_path):
    assert launch(Launch(), tmp_path, os.getpid) == os.getpid()


@pytest.mark.slow
def test_processes_meet_and_the_lowest_rank_answers(tmp_path):
    former = signal.getsignal(signal.SIGTERM)
    assert launch(TWO, tmp_path, add_up, tmp_path) == 21
    assert starts(tmp_path) == ["0_0", "1_0"]
    assert signal.getsignal(signal.SIGTERM) is former


@pytest.mark.slow
def test_an_error_ends_all_at_once_with_its_rank_and_place(tmp_path):
    with refused(Kind.FAILED, about="rank 1: ZeroDivisionError: no number (test_launch.py:"):
        launch(TWO, tmp_path, fail, tmp_path)
    assert starts(tmp_path) == ["0_0", "1_0"]


@pytest.mark.slow
def test_what_the_main_process_refuses_ends_all(tmp_path):
    with refused(Kind.SETTING, key="metric", about="rank"):
        launch(TWO, tmp_path, refuse, tmp_path)
    assert starts(tmp_path) == ["0_0", "1_0"]


@pytest.mark.slow
def test_a_stop_that_the_processes_agreed_on_ends_the_run(tmp_path):
    with pytest.raises(Stopped) as stopped:
        launch(TWO, tmp_path, stop, tmp_path)
    assert (stopped.value.signal, stopped.value.num_steps) == (signal.SIGUSR1, 7)
    assert starts(tmp_path) == ["0_0", "1_0"]


@pytest.mark.slow
def test_all_start_again_after_one_was_killed(tmp_path):
    assert launch(TWO, tmp_path, kill_the_first_two_times, tmp_path) == 21
    assert {"0_2", "1_2"} <= set(starts(tmp_path))


@pytest.mark.slow
def test_a_run_that_is_killed_too_often_ends(tmp_path):
    with refused(Kind.STOPPED, about="rank"):
        launch(Launch(nproc_per_node=2, max_restarts=1), tmp_path, kill_always, tmp_path)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        (Launch(min_nodes=1, max_nodes=2, rdzv_endpoint="host:1"), "launch.max_nodes"),
        (Launch(min_nodes=2, max_nodes=2), "launch.rdzv_endpoint"),
    ],
)
def test_machines_that_could_not_meet_are_refused(settings, key):
    with refused(Kind.SETTING, key=key):
        settings.check()


TORCHRUN = """
import sys
from pathlib import Path
sys.path[:0] = {paths!r}
import test_launch
from oiv5_d2.console.errors import report_errors
from oiv5_d2.training.launch import Launch, launch

def main():
    folder = Path(sys.argv[2])
    answer = launch(Launch(), folder, getattr(test_launch, sys.argv[1]), folder)
    sys.stdout.write(str(answer) + "\\n")  # in one piece: both processes write at once

report_errors(main, "train")
"""


@pytest.fixture
def torchrun(tmp_path):
    """Run a function of this module in two processes of torchrun; return what they printed."""

    def run(name):
        script = tmp_path / "script.py"
        paths = [str(ROOT), *map(str, (ROOT / "tests" / "training", ROOT / "tests" / "support"))]
        script.write_text(TORCHRUN.format(paths=paths))
        (tmp_path / "starts").mkdir()
        words = ["--standalone", "--nproc-per-node=2", str(script), name, str(tmp_path / "starts")]
        command = [sys.executable, "-m", "torch.distributed.run", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=300)

    return run


@pytest.mark.slow
def test_under_torchrun_nothing_is_started(torchrun, tmp_path):
    assert torchrun("add_up").stdout.split() == ["21", "21"]
    assert starts(tmp_path / "starts") == ["0_0", "1_0"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fail", "refuse"])
def test_under_torchrun_one_process_says_what_is_wrong(torchrun, name):
    done = torchrun(name)
    said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode != 0 and len(said) == 1 and "rank " in said[0]
