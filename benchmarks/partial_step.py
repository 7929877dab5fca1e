"""Compare a training step with annotation=partial to stock's:  python benchmarks/partial_step.py.

Both models train in turns on the same images, completely annotated ones (`mini`), so that they have
the same objects to learn. CPU time is printed, medians and their ratio. Other words are passed on
to the configuration.
"""

import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from hydra import compose, initialize_config_dir

from oiv5_d2.console.errors import CONFIG_DIR
from oiv5_d2.runs.prepared import locate
from oiv5_d2.training.catalog import register
from oiv5_d2.training.config import to_cfg
from oiv5_d2.training.data.loader import Loader, build_train_loader

from detectron2.modeling import build_model  # isort: skip
from detectron2.solver import build_optimizer  # isort: skip
from detectron2.utils.events import EventStorage  # isort: skip

WORDS = ("+experiment=quickstart", "logger=none", "d2.DATALOADER.NUM_WORKERS=0")
NUM_STEPS, NUM_WARM = 30, 4


class Side:
    """One of the two trainings."""

    def __init__(self, *words: str) -> None:
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            run = compose("train", [*WORDS, *words])
        register(locate("mini", Path("data/mini"), run.d2.DATASETS.TRAIN), run.data.classes)
        cfg = to_cfg(run, "x")
        torch.manual_seed(0)
        self.model: Any = build_model(cfg).to(memory_format=torch.channels_last).train()
        self.optimizer = build_optimizer(cfg, self.model)
        self.loader: Loader = build_train_loader(cfg, {})
        self.seconds: list[float] = []

    def step(self) -> None:
        """Make a step and note its CPU time."""
        begin = time.process_time()
        loss = sum(self.model(next(self.loader)).values())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.seconds.append(time.process_time() - begin)


def main() -> None:
    """Train both in turns and print how long a step takes."""
    torch.set_num_threads(1)
    words = sys.argv[1:]
    sides = {name: Side(f"annotation={name}", *words) for name in ("stock", "partial")}
    with EventStorage():
        for _ in range(NUM_STEPS):
            for side in sides.values():
                side.step()
    stock, partial = (median(side.seconds[NUM_WARM:]) for side in sides.values())
    print(f"stock {stock:.3f} s, partial {partial:.3f} s, ratio {partial / stock:.3f}")


if __name__ == "__main__":
    main()
