"""Random draws of a step that depend on the step only."""

import random

import numpy as np
import torch
from detectron2.engine import HookBase
from detectron2.utils import comm

from oiv5_d2.training.data.mapper import derive_seed


class SeedSteps(HookBase):  # type: ignore[misc]
    """Seed all generators before each step by (run's seed, step, rank).

    What a step draws (which proposals the loss is computed on) then depends neither on earlier
    steps nor on evaluations or a resume in between, and no generator's state has to be saved.

    Args:
        seed: of the run, not negative.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def before_step(self) -> None:
        """Seed Python, NumPy and PyTorch on all devices."""
        seed = derive_seed(self._seed, self.trainer.iter, comm.get_rank())
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
