"""How one image is loaded and augmented: Detectron2's mapper, with a seed for every sample."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetMapper

Mapper = Callable[[dict[str, Any], int], dict[str, Any]]


def build_mapper(cfg: CfgNode) -> Mapper:
    """Return a function of (record, seed) that loads and augments one image for training.

    Detectron2's augmentations draw from NumPy's global generator. Here it is seeded for each
    sample, and put back afterwards, so that a sample depends on its record and its seed only.
    """
    return partial(_map_sample, DatasetMapper(cfg, is_train=True))


def _map_sample(mapper: DatasetMapper, record: dict[str, Any], seed: int) -> dict[str, Any]:
    with seeded(seed):
        sample: dict[str, Any] = mapper(record)
        return sample


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators of Python, NumPy and PyTorch (CPU), and restore them at the end.

    Args:
        seed: below 2**32.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        try:
            random.seed(seed)
            np.random.seed(seed)
            torch.default_generator.manual_seed(seed)  # `torch.manual_seed` is for GPUs, too
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


def derive_seed(*numbers: int) -> int:
    """Return a seed below 2**32 that depends on all numbers, such as run seed, step, position."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
