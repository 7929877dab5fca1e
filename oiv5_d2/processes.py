"""Several processes on one list of tasks, in order and in bounded memory."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection, forkserver, resource_tracker
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

TASKS_AHEAD = 2  # tasks handed out per process: enough that none waits, few enough to hold


def map_tasks(
    function: Callable[[Task], Result], tasks: Iterable[Task], num_workers: int
) -> Iterator[Result]:
    """Yield the function's result for each task, in the order of the tasks.

    Args:
        function: a module's function, so that another process can find it.
        tasks: taken one by one as processes come free, never listed.
        num_workers: with 1 all happens in this process.

    Raises:
        ValueError: there is less than one worker.
        OSError: a process was killed from outside, mostly for want of memory.
        KeyboardInterrupt: Ctrl-C, once the tasks under way are finished. The processes do not hear
            it themselves.
    """
    if num_workers < 1:
        raise ValueError(f"workers must be at least 1, not {num_workers}")
    if num_workers == 1:
        yield from map(function, tasks)
        return
    # Not by plain fork: a copy of a process that runs threads (Arrow's, OpenCV's) may hang. The
    # server imports once for all workers, and none inherits the lock of the data folder.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", function.__module__])
    _start_server()
    pool = ProcessPoolExecutor(num_workers, context, initializer=_end_with_parent)
    try:
        yield from _in_order(pool, function, tasks, num_workers * TASKS_AHEAD)
    except BrokenProcessPool as error:
        raise OSError(
            "a worker process was ended from outside, most likely for want of memory; "
            "run again with fewer workers: finished pieces are kept"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _in_order(
    pool: ProcessPoolExecutor,
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    num_ahead: int,
) -> Iterator[Result]:
    waiting: deque[Future[Result]] = deque()
    for task in tasks:
        with _ctrl_c_held_back():  # a process that is being started would find its parent gone
            waiting.append(pool.submit(function, task))
        if len(waiting) >= num_ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _start_server() -> None:
    """Start the server that forks, deaf to Ctrl-C as all that it forks will be.

    It inherits what is blocked. One that comes meanwhile is heard here afterwards.
    """
    resource_tracker.ensure_running()  # before: it unblocks what is blocked
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


def _end_with_parent() -> None:
    """Watch the parent: a worker whose parent was killed would wait for tasks for ever."""
    threading.Thread(target=_watch_parent, daemon=True).start()


def _watch_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
