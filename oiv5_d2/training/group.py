"""The processes that train one model together: how one joins, and what it says when it ends.

PyTorch's launchers (``torchrun``, and our own) tell a process by environment variables which one
of how many it is, and where they meet.
"""

import logging
import os
import pickle
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from detectron2.utils import comm
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from oiv5_d2.problems import Kind, Problem, Remedy
from oiv5_d2.training import compat

Result = TypeVar("Result")

MAIN = 0  # the rank that checks, writes and speaks for all
_FIRST_PROBLEM = "first problem"  # a key of the store in which the processes meet
_STORE_SECONDS = 5.0  # to wait for it: the process that has it may be the one that ended


def is_joined() -> bool:
    """Return True if a launcher started this process as one of several, as ``torchrun`` does."""
    return os.environ.keys() >= {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR"}


def is_restarted() -> bool:
    """Return True if a launcher or Slurm started this run before, and starts it again now."""
    names = ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")
    return any(int(os.environ.get(name, "0")) > 0 for name in names)


def work_together(function: Callable[..., Result], *arguments: Any) -> Result:
    """Call a function as one process of its group, with Detectron2's process groups set up.

    Raises:
        Problem: with its rank in the detail; FAILED, any error that is none; STOPPED, another
            process of the group is gone. If another one had a problem, it is that one.
        Stopped: by a signal, in all processes.
    """
    try:
        _join()
        return function(*arguments)
    except Exception as error:
        raise _agree_on(error) from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def share_buffers(model: torch.nn.Module) -> None:
    """Send the main process's buffers to all others, so that what is saved is evaluated.

    Batch norm's running means are buffers: each process collects them from its own images.
    """
    if comm.get_world_size() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=MAIN)


def share(make: Callable[[], Result]) -> Result:
    """Return in all processes what the main one makes.

    Raises:
        Problem: that the main one raised, in all.
    """
    made: list[Any] = [None]
    if comm.is_main_process():
        try:
            made = [make()]
        except Problem as problem:
            made = [problem]
    dist.broadcast_object_list(made, src=MAIN)
    if isinstance(made[0], Problem):
        raise made[0]
    result: Result = made[0]
    return result


def speaks_first(problem: Problem) -> bool:
    """Return True in one of the processes that end with the same problem."""
    try:
        return bool(_store().add(f"told: {problem}", 1) == 1)
    except RuntimeError:  # nobody is left to ask
        return True


def _join() -> None:
    gpus = torch.cuda.is_available()
    if gpus:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    else:
        compat.let_processes_share_cpus()
    dist.init_process_group("nccl" if gpus else "gloo")
    _set_local_group(int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"])))


def _set_local_group(local_world_size: int) -> None:
    """Tell Detectron2 which ranks share this machine; every rank must create every group."""
    for first in range(0, dist.get_world_size(), local_world_size):
        ranks = list(range(first, first + local_world_size))
        group = dist.new_group(ranks)
        if dist.get_rank() in ranks:
            comm._LOCAL_PROCESS_GROUP = group


def _agree_on(error: Exception) -> Problem:
    """Return the problem that the group ends with, given the error of this process.

    It is left where the others find it before they notice that this process is gone.
    """
    rank = os.environ["RANK"]
    if _lost_another(error):
        detail = str(error).strip().splitlines()[0]
        problem = Problem(Kind.STOPPED, "another process", detail, remedy=Remedy.RUN_AGAIN)
        return _first_problem() or problem
    problem = error if isinstance(error, Problem) else _failed(rank, error)
    problem.detail = f"rank {rank}: {problem.detail}"
    try:
        return _unpack(_store().compare_set(_FIRST_PROBLEM, "", pickle.dumps(problem).hex()))
    except RuntimeError:  # the store is gone
        return problem


def _failed(rank: str, error: Exception) -> Problem:
    """Return the problem of an error in our code; where the log goes, the traceback is."""
    logging.getLogger("detectron2").error("This process ends:", exc_info=error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(frame.filename).name}:{frame.lineno}"
    detail = f"{type(error).__name__}: {error} ({place}; more in its log)"
    return Problem(Kind.FAILED, f"process of rank {rank}", detail)


def _lost_another(error: Exception) -> bool:
    """Return True if PyTorch says that another process is gone; gloo has no class for that."""
    return isinstance(error, dist.DistError) or "gloo/transport" in str(error)


def _first_problem() -> Problem | None:
    try:
        store = _store()
        return _unpack(store.get(_FIRST_PROBLEM)) if store.check([_FIRST_PROBLEM]) else None
    except RuntimeError:  # the store is gone
        return None


def _unpack(text: bytes) -> Problem:
    problem: Problem = pickle.loads(bytes.fromhex(text.decode()))
    return problem


def _store() -> TCPStore:
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return TCPStore(address, port, is_master=False, timeout=timedelta(seconds=_STORE_SECONDS))
