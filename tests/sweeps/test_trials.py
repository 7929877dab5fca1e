"""A trial as a process."""

import fcntl

from oiv5_d2.runs.layout import LOCK
from oiv5_d2.sweeps import trials


def test_a_trial_that_follows_a_job_does_not_wait_until_the_job_lets_its_folder_go(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(trials, "HEAVY", [])
    tool = tmp_path / "tool.py"
    tool.write_text("print('it runs')\n")
    with (tmp_path / LOCK).open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        running = trials.start(tool, [], tmp_path, None, is_here=False)
        running.process.join(300)
        assert running.process.exitcode == 0
    assert running.output.read_text() == "it runs\n"
