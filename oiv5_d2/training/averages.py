"""Averages of a model's weights: by name as in ``state_dict``, with batch norm's buffers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from oiv5_d2.problems import Kind, Problem, Remedy, wrong_setting
from oiv5_d2.training.checkpoints import is_whole, read, write

Weights = dict[str, torch.Tensor]


def snapshot(model: torch.nn.Module) -> Weights:
    """Return a copy of all weights and buffers, on their devices."""
    return {name: value.clone() for name, value in model.state_dict().items()}


def blend(averages: Weights, model: torch.nn.Module, decay: float) -> None:
    """Move averages towards a model: ``decay * average + (1 - decay) * weight``, in place.

    Running means and variances of batch norm are averaged as the weights are. What cannot be
    averaged, such as its count of batches, is copied.
    """
    weights = model.state_dict()
    names = [name for name, value in weights.items() if value.is_floating_point()]
    update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    update([averages[name] for name in names], [weights[name] for name in names], 0)
    for name in weights.keys() - set(names):
        averages[name].copy_(weights[name])


def mean_of(paths: Sequence[Path]) -> Weights:
    """Return the mean of the weights in several checkpoints of one model, on the CPU.

    Running means and variances of batch norm are averaged as the weights are. What cannot be
    averaged, such as its count of batches, is the last file's.

    Args:
        paths: of the files, at least one.
    """
    last: Weights = {}
    sums: Weights = {}
    for path in paths:
        last = read(path, lazily=True)["model"]
        for name in [name for name, value in last.items() if value.is_floating_point()]:
            # Doubles: the mean of equal numbers is that number, to the bit.
            sums[name] = last[name].double() + sums.get(name, 0.0)
    means = {name: (total / len(paths)).to(last[name].dtype) for name, total in sums.items()}
    return {**last, **means}


def write_mean(paths: Sequence[Path], to: Path) -> None:
    """Write the mean of checkpoints as weights only, under the last one's classes and run.

    Args:
        paths: of checkpoints or averages, two or more.
        to: the new file.

    Raises:
        Problem: ABSENT or DAMAGED, one of them; MISMATCH, they are of different models; SETTING,
            fewer than two, or a file that there is already; DISK_FULL.
    """
    if len(paths) < 2:
        raise wrong_setting("weights", [path.name for path in paths], "two or more are averaged")
    if to.exists():
        raise wrong_setting("to", to, "there is such a file")
    shapes = [_shapes(path) for path in paths]
    for path, own in zip(paths, shapes, strict=True):
        if own != shapes[0]:
            detail, remedy = f"another model than {paths[0]}", Remedy.CHANGE_SETTING
            raise Problem(Kind.MISMATCH, path, detail, key="weights", remedy=remedy)
    write(to, {"model": mean_of(paths), "run": read(paths[-1], lazily=True)["run"]})


def _shapes(path: Path) -> dict[str, torch.Size]:
    kind = Kind.DAMAGED if path.is_file() else Kind.ABSENT
    if kind is Kind.ABSENT or not is_whole(path):
        raise Problem(kind, path, key="weights", remedy=Remedy.CHANGE_SETTING)
    return {name: value.shape for name, value in read(path, lazily=True)["model"].items()}


@contextmanager
def swapped(model: torch.nn.Module, weights: Weights) -> Iterator[None]:
    """Let a model have these weights, and ``weights`` the model's, until the end of the block."""
    _swap(model, weights)
    try:
        yield
    finally:
        _swap(model, weights)


def _swap(model: torch.nn.Module, weights: Weights) -> None:
    for name, value in model.state_dict().items():
        former = value.clone()
        value.copy_(weights[name])
        weights[name].copy_(former)
