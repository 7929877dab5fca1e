"""A trial as a process."""

import fcntl
from importlib.util import find_spec

import pytest

from oiv5_d2.runs.layout import LOCK
from oiv5_d2.sweeps import trials


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Run a script as a trial, with nothing imported before; return the process when it ended."""
    monkeypatch.setattr(trials, "preloaded", list)

    def run(script, is_here=True):
        tool = tmp_path / "tool.py"
        tool.write_text(script)
        running = trials.start(tool, [], tmp_path, None, is_here)
        running.process.join(300)
        return running

    return run


def test_a_trial_that_follows_a_job_does_not_wait_until_the_job_lets_its_folder_go(start, tmp_path):
    with (tmp_path / LOCK).open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        running = start("print('it runs')\n", is_here=False)
        assert running.process.exitcode == 0
    assert running.output.read_text() == "it runs\n"


LOGGED = "print('error: Exception during training:\\nTraceback (most recent call last):')\n"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            "raise SystemExit('error: it diverged\\n  Change the rate.')\n",
            "it diverged. Change the rate.",
        ),
        (LOGGED + "raise TypeError('a fault')\n", "TypeError: a fault"),
        ("raise SystemExit(3)\n", "exit code 3"),
    ],
)
def test_the_reason_of_a_failure_is_its_last_words(start, script, reason):
    assert trials.reason_of(start(script)) == reason


def test_all_that_a_run_imports_is_there_when_a_sweep_starts():
    names = trials.preloaded()
    assert "oiv5_d2.evaluation.open_images" in names and "oiv5_d2.training.data" in names
    assert all(map(find_spec, names))
