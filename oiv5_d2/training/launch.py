"""One process or many: the same function, called here or by PyTorch's elastic launcher.

Detectron2 v0.6's own ``launch`` wants CUDA for several processes and returns nothing; the elastic
launcher meets over c10d on several machines and returns every rank's result.
"""

import ctypes
import logging
import os
import pickle
import signal
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from detectron2.utils import comm

from oiv5_d2.problems import Kind, Problem, Remedy, Stopped
from oiv5_d2.training import compat

logger = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1  # of Linux: which signal a process gets when its parent ends


def count_processes(settings: Mapping[str, Any]) -> int:
    """Return the number of processes that a launch starts, on all machines together."""
    return int(settings["nproc_per_node"] * settings["max_nodes"])


def launch(
    function: Callable[..., Any], *arguments: Any, run_dir: Path, max_restarts: int, **settings: Any
) -> Any:
    """Call ``function(*arguments)`` in every worker and return the main one's result.

    Args:
        function: importable by name; it finds Detectron2's process groups set up. It is called
            again in new workers after one was killed, and continues from what is on disk.
        arguments: picklable.
        run_dir: named where the run is stopped.
        max_restarts: how many times workers are started again.
        settings: keyword arguments of ``torch.distributed.launcher.api.LaunchConfig``. With one
            process in all, the function is called here and nothing is spawned.

    Raises:
        Problem: the first one that a worker raised, with its rank: that is no reason to start
            again. STOPPED, workers ended in another way more often than allowed.
        Stopped: by a signal.
    """
    if count_processes(settings) == 1:
        return function(*arguments)
    for restarts_left in range(max_restarts, -1, -1):
        with tempfile.TemporaryDirectory() as problems_dir:
            try:
                return _launch_once((function, arguments, problems_dir), run_dir, settings)
            except Problem as problem:
                if problem.kind is not Kind.STOPPED or not restarts_left:
                    raise
                logger.warning("%s; starting all again, from the newest checkpoint", problem)


def _launch_once(arguments: tuple[Any, ...], run_dir: Path, settings: dict[str, Any]) -> Any:
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    try:
        # Its own restarts would repeat a user's mistake as well.
        results = elastic_launch(LaunchConfig(**settings, max_restarts=0), _work)(*arguments)
    except SignalException as error:
        raise Stopped(error.sigval, str(run_dir)) from None
    except ChildFailedError as error:
        raise _first_problem(Path(arguments[-1]), error) from error
    return results[min(results)]


def _first_problem(problems_dir: Path, error: Any) -> Problem:
    """Return the problem that the first failing worker left, else how that worker ended."""
    left = sorted(problems_dir.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    if left:
        problem: Problem = pickle.loads(left[0].read_bytes())
        problem.detail = f"rank {left[0].name}: {problem.detail}"
        return problem
    rank, failure = error.get_first_failure()
    message = failure.message if isinstance(failure.message, str) else failure.message["message"]
    last_line = (message.strip().splitlines() or [""])[-1]
    detail = f"exit code {failure.exitcode}: {last_line}"
    return Problem(Kind.STOPPED, f"process of rank {rank}", detail, remedy=Remedy.RUN_AGAIN)


def _work(function: Callable[..., Any], arguments: tuple[Any, ...], problems_dir: str) -> Any:
    # A worker must not go on, in a folder that is resumed already, when its launcher was killed.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    gpus = torch.cuda.is_available()
    if gpus:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    else:
        compat.let_processes_share_cpus()
    dist.init_process_group("nccl" if gpus else "gloo")
    try:
        _set_local_group(int(os.environ["LOCAL_WORLD_SIZE"]))
        return function(*arguments)
    except Problem as problem:
        (Path(problems_dir) / str(dist.get_rank())).write_bytes(pickle.dumps(problem))
        raise
    finally:
        dist.destroy_process_group()


def _set_local_group(local_world_size: int) -> None:
    """Tell Detectron2 which ranks share this machine; every rank must create every group."""
    for first in range(0, dist.get_world_size(), local_world_size):
        ranks = list(range(first, first + local_world_size))
        group = dist.new_group(ranks)
        if dist.get_rank() in ranks:
            comm._LOCAL_PROCESS_GROUP = group
