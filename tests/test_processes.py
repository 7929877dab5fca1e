import os
import signal
import time

import pytest

from oiv5_d2 import processes as workers
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


def test_a_killed_worker_is_one_clear_line_with_the_remedy():
    with pytest.raises(OSError, match="fewer workers"):
        list(map_tasks(die, range(8), 2))


def test_ctrl_c_that_comes_while_the_server_is_started_is_heard(monkeypatch):
    def start_slowly():
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(workers.forkserver, "ensure_running", start_slowly)
    with pytest.raises(KeyboardInterrupt):
        list(map_tasks(square, range(3), 2))


def test_no_workers_at_all_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        list(map_tasks(square, [1], 0))
