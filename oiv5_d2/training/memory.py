"""How many micro batches a step needs to fit into a GPU's memory, by trying."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from detectron2.utils import comm
from detectron2.utils.events import EventStorage

from oiv5_d2.problems import Kind, Problem, Remedy
from oiv5_d2.training.micro_batches import Sample, keep_statistics

logger = logging.getLogger(__name__)

USABLE = 0.85  # of the memory: the rest is for larger images than those seen, and fragments
COPIES = 3  # of the weights, made later: momentum, a moving average, buckets of several processes


def choose_micro_batches(
    model: Any,
    samples: list[Sample],
    batch: int,
    precision: Callable[[], AbstractContextManager[object]],
) -> int:
    """Return the fewest micro batches that fit into the GPU's memory, the same in all processes.

    Weights, statistics and gradients stay as they are; what was drawn does not.

    Args:
        model: on a GPU, in training mode, not wrapped for several processes.
        samples: some of the data; the largest one stands for all.
        batch: images of a step in this process.
        precision: makes the context in which the model computes.

    Raises:
        Problem: TOO_LARGE, not even one image fits.
    """
    largest = max(samples, key=lambda sample: sample["image"].numel())
    weights = sum(one.numel() * one.element_size() for one in model.parameters())
    usable = int(USABLE * _available(model.device)) - COPIES * weights
    number = fewest(
        batch, lambda size: measure(model, [largest] * size, precision), usable, comm.all_gather
    )
    height, width = largest["image"].shape[-2:]
    micro = f"{number} micro batches of up to {-(-batch // number)} images of {height} x {width}"
    logger.info("trainer.accumulate=auto: %s, within %.1f GiB", micro, usable / 2**30)
    return number


def fewest(
    batch: int,
    measure: Callable[[int], int],
    usable: int,
    gather: Callable[[bool], list[bool]] = lambda fits: [fits],
) -> int:
    """Return the fewest micro batches whose peak of memory is usable.

    Args:
        batch: images to split.
        measure: returns the peak in bytes of so many images at once; raises OutOfMemoryError.
        usable: bytes.
        gather: returns what each process found.

    Raises:
        Problem: TOO_LARGE, not even one image fits.
    """
    for number in _numbers(batch):
        try:
            fits = measure(-(-batch // number)) <= usable
        except torch.OutOfMemoryError:
            fits = False
        if all(gather(fits)):
            return number
    key, detail = "d2.INPUT.MAX_SIZE_TRAIN trainer.precision=bf16", f"{usable} bytes are usable"
    subject, remedy = "one image in the GPU's memory", Remedy.CHANGE_SETTING
    raise Problem(Kind.TOO_LARGE, subject, detail, key=key, remedy=remedy)


def measure(
    model: Any, samples: list[Sample], precision: Callable[[], AbstractContextManager[object]]
) -> int:
    """Return the bytes of GPU memory that a forward and backward pass needs at its peak."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(model.device)
    try:
        try_step(model, samples, precision)
    finally:
        model.zero_grad(set_to_none=True)
    return torch.cuda.max_memory_reserved(model.device)


def try_step(
    model: Any, samples: list[Sample], precision: Callable[[], AbstractContextManager[object]]
) -> None:
    """Compute losses and gradients of samples, with no trace in statistics and logs."""
    with EventStorage(), keep_statistics(model):
        with precision():
            losses = model(samples)
        sum(losses.values()).backward()


def _numbers(batch: int) -> Iterator[int]:
    """Yield each number of micro batches that makes the largest of them smaller than before."""
    last = 0
    for number in range(1, batch + 1):
        size = -(-batch // number)
        if size != last:
            yield number
        last = size


def _available(device: torch.device) -> int:
    """Return the bytes of a GPU's memory that other programs do not use."""
    free, _ = torch.cuda.mem_get_info(device)
    return int(free) + torch.cuda.memory_reserved(device)
