"""One process or many: the same function, called here or by PyTorch's elastic launcher.

Detectron2 v0.6's own ``launch`` wants CUDA for several processes and returns nothing; the elastic
launcher restarts workers, meets over c10d on several machines and returns every rank's result.
"""

import os
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from detectron2.utils import comm

from oiv5_d2.training import compat


def launch(function: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
    """Call ``function(*arguments)`` in every worker and return the main one's result.

    Args:
        function: importable by name; it finds Detectron2's process groups set up.
        arguments: picklable.
        settings: keyword arguments of ``torch.distributed.launcher.api.LaunchConfig``. With one
            process in all, the function is called here and nothing is spawned.
    """
    if settings["nproc_per_node"] * settings["max_nodes"] == 1:
        return function(*arguments)
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    results = elastic_launch(LaunchConfig(**settings), _work)(function, arguments)
    return results[min(results)]


def _work(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    gpus = torch.cuda.is_available()
    if gpus:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    else:
        compat.let_processes_share_cpus()
    dist.init_process_group("nccl" if gpus else "gloo")
    try:
        _set_local_group(int(os.environ["LOCAL_WORLD_SIZE"]))
        return function(*arguments)
    finally:
        dist.destroy_process_group()


def _set_local_group(local_world_size: int) -> None:
    """Tell Detectron2 which ranks share this machine; every rank must create every group."""
    for first in range(0, dist.get_world_size(), local_world_size):
        ranks = list(range(first, first + local_world_size))
        group = dist.new_group(ranks)
        if dist.get_rank() in ranks:
            comm._LOCAL_PROCESS_GROUP = group
