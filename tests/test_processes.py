import os
import signal
import subprocess
import sys
import time

import pytest
from raising import refused

from oiv5_d2.problems import Kind
from oiv5_d2.processes import map_tasks


def square(number):
    return number * number


def die(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def fail(number):
    raise ValueError(f"task {number} is bad")


def sleep_and_tell(seconds):
    time.sleep(seconds)
    return os.getpid()


@pytest.mark.parametrize("num_workers", [1, 2])
def test_results_come_in_the_order_of_the_tasks(num_workers):
    assert list(map_tasks(square, range(20), num_workers)) == [n * n for n in range(20)]


def test_tasks_are_taken_as_they_are_needed_and_never_listed():
    taken = []
    tasks = (taken.append(number) or number for number in range(1000))
    results = map_tasks(square, tasks, 2)
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    assert len(taken) < 20
    results.close()


@pytest.mark.parametrize("num_workers", [1, 2])
def test_an_error_in_a_task_comes_through(num_workers):
    with pytest.raises(ValueError, match="task 0 is bad"):
        list(map_tasks(fail, range(5), num_workers))


def test_a_killed_worker_is_a_problem_with_a_remedy():
    with refused(Kind.STOPPED, key="workers"):
        list(map_tasks(die, range(8), 2))


CHILD = """
import time
from oiv5_d2.processes import map_tasks

if __name__ == "__main__":
    print("ready", flush=True)
    list(map_tasks(time.sleep, [0.2] * 100, 2))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_parent(number, tmp_path):
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
        # A shell lets what it starts in the background ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        assert process.stdout.readline() == "ready\n"
        time.sleep(2)
        group = os.getpgid(process.pid)
        os.killpg(group, number) if number == signal.SIGINT else process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    if number == signal.SIGINT:
        assert errors.count("Traceback") == 1 and errors.rstrip().endswith("KeyboardInterrupt")
    deadline = time.monotonic() + 20
    while _processes_of(group) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _processes_of(group)


def _processes_of(group):
    found = subprocess.run(["pgrep", "-g", str(group)], capture_output=True, text=True)
    return found.stdout.split()
