"""A function on a list of tasks over several processes, in order and in bounded memory."""

import ctypes
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import TypeVar

from oiv5_d2.problems import Kind, Problem, Remedy

Task = TypeVar("Task")
Result = TypeVar("Result")

_PR_SET_PDEATHSIG = 1  # of linux/prctl.h: which signal a process gets when its parent ends
TASKS_AHEAD = 2  # tasks handed out per process: enough that none waits, few enough to hold


def map_tasks(
    function: Callable[[Task], Result], tasks: Iterable[Task], num_workers: int
) -> Iterator[Result]:
    """Yield the function's result for each task, in the order of the tasks.

    Args:
        function: a module's function, so that another process can find it.
        tasks: taken one by one as processes come free, never listed.
        num_workers: with 1 everything happens in this process.

    Raises:
        Problem: STOPPED, a process was killed from outside, usually because memory ran out; or
            whatever the function raises.
        KeyboardInterrupt: Ctrl-C, once the tasks under way are finished.
    """
    if num_workers == 1:
        yield from map(function, tasks)
        return
    # Not by fork: a copy of a process that runs threads (Arrow's, OpenCV's) may hang.
    context = multiprocessing.get_context("spawn")
    resource_tracker.ensure_running()  # it would unblock Ctrl-C for the workers
    pool = ProcessPoolExecutor(num_workers, context, initializer=end_with_parent)
    waiting: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            with _ctrl_c_blocked():  # a worker that starts meanwhile inherits that for good
                waiting.append(pool.submit(function, task))
            if len(waiting) >= num_workers * TASKS_AHEAD:
                yield waiting.popleft().result()
        yield from (future.result() for future in waiting)
    except BrokenProcessPool as error:
        raise Problem(
            Kind.STOPPED, "a worker process", key="workers", remedy=Remedy.FEWER_WORKERS
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
    came: list[int] = []  # another thread of a library's may receive it
    handler = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
    if came:
        raise KeyboardInterrupt


def end_with_parent() -> None:
    """Let the system kill this process when the thread that started it is gone.

    A worker whose parent was killed would wait for tasks forever, or go on in a folder that
    another run has taken over. Linux only (``man 2 prctl``).
    """
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent != os.getppid() or parent == 1:  # it was killed before
        os._exit(1)
