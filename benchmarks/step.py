"""Compare training steps side by side:  python benchmarks/step.py [words of the configuration].

    python benchmarks/step.py                                        # the quickstart's
    python benchmarks/step.py +experiment=r50_traffic d2.MODEL.DEVICE=cpu d2.MODEL.WEIGHTS= \
        d2.SOLVER.IMS_PER_BATCH=1 d2.SOLVER.BASE_LR=1e-9 data=mini rounds=5

All models start from the same weights and make their steps in turns on the same images, completely
annotated ones. `stock` is Detectron2's step; `ours` has `trainer.channels_last`, its default; then
that in bfloat16, and that with `annotation=partial`, which has the same objects to learn here.
Prints seconds of a step, the ratio to stock's in the same round, and how much of the speed that a
large matrix product reaches here in that precision the step reaches: of forward and backward pass,
which are three forward passes' multiply-adds. `profile=true` shows where the time goes.
"""

import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from statistics import median
from typing import Any

import torch
from hydra import compose, initialize_config_dir

from oiv5_d2.console.errors import CONFIG_DIR
from oiv5_d2.runs.prepared import locate
from oiv5_d2.table import Table, to_text
from oiv5_d2.training.catalog import register
from oiv5_d2.training.clipping import build_optimizer
from oiv5_d2.training.config import to_cfg
from oiv5_d2.training.cost import count
from oiv5_d2.training.data.loader import Loader, build_train_loader

from detectron2.modeling import build_model  # isort: skip
from detectron2.solver import build_optimizer as build_stock_optimizer  # isort: skip
from detectron2.utils.events import EventStorage  # isort: skip

WORDS = ("logger=none", "d2.DATALOADER.NUM_WORKERS=0", "d2.SEED=1")
OPTIONS = {"rounds": "20", "profile": "false"}
NUM_WARM, NUM_BATCHES = 2, 3
STOCK, OURS = torch.contiguous_format, torch.channels_last
SIDE = 4096  # of the matrices


class Way:
    """One way to train: a model, its images in memory, and the seconds of its steps."""

    def __init__(
        self, words: list[str], precision: torch.dtype, memory: torch.memory_format
    ) -> None:
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            run = compose("train", [*WORDS, *words])
        register(locate(run.data.name, Path(run.data.dir), run.d2.DATASETS.TRAIN), run.data.classes)
        self.cfg = to_cfg(run, "x")
        torch.manual_seed(0)
        self.model: Any = build_model(self.cfg).to(memory_format=memory).train()
        build = build_stock_optimizer if memory is STOCK else build_optimizer
        self.optimizer = build(self.cfg, self.model)
        loader: Loader = build_train_loader(self.cfg, {})
        self.batches = [next(loader) for _ in range(NUM_BATCHES)]
        self.precision, self.seconds = precision, []

    def step(self) -> None:
        """Make a step and note how long it takes."""
        batch = self.batches[len(self.seconds) % NUM_BATCHES]
        begin = time.perf_counter()
        with self._autocast():
            loss = sum(self.model(batch).values())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.seconds.append(time.perf_counter() - begin)

    def _autocast(self) -> AbstractContextManager[Any]:
        is_mixed = self.precision != torch.float32
        return torch.autocast("cpu", self.precision) if is_mixed else nullcontext()

    def operations(self) -> float:
        """Return the multiply-adds of a step."""
        images = [one for batch in self.batches for one in batch]
        forward = [count(self.model, one["image"].shape[1:])[-1].operations for one in images]
        self.model.train()
        return 3 * sum(forward) / NUM_BATCHES


def product_speed(precision: torch.dtype) -> float:
    """Return the multiply-adds a second of a large matrix product, the best of five."""
    matrix = torch.ones((SIDE, SIDE), dtype=precision)
    seconds = []
    for _ in range(5):
        begin = time.perf_counter()
        matrix @ matrix
        seconds.append(time.perf_counter() - begin)
    return SIDE**3 / min(seconds)


def main() -> None:
    """Make steps in turns and print how long they take."""
    chosen = dict(word.split("=", 1) for word in sys.argv[1:] if word.split("=")[0] in OPTIONS)
    options = {**OPTIONS, **chosen}
    words = [word for word in sys.argv[1:] if word.split("=")[0] not in OPTIONS]
    if not any(word.startswith("+experiment=") for word in words):
        words.insert(0, "+experiment=quickstart")
    ways = {
        "stock": Way(words, torch.float32, STOCK),
        "ours": Way(words, torch.float32, OURS),
        "ours, bf16": Way(words, torch.bfloat16, OURS),
        "ours, annotation=partial": Way([*words, "annotation=partial"], torch.float32, OURS),
    }
    with EventStorage():
        for _ in range(NUM_WARM + int(options["rounds"])):
            for way in ways.values():
                way.step()
        if options["profile"] == "true":
            for name in list(ways)[:3]:
                print(name, profile(ways[name]), sep="\n")
    print(to_text(table(ways)))


def profile(way: Way) -> str:
    """Return where the time of three steps goes, by operation."""
    with torch.profiler.profile() as found:
        for _ in range(3):
            way.step()
    return str(found.key_averages().table(sort_by="self_cpu_time_total", row_limit=12))


def table(ways: dict[str, Way]) -> Table:
    """Return a row a way."""
    operations, speed = ways["stock"].operations(), {}
    rows = []
    for name, way in ways.items():
        seconds = way.seconds[NUM_WARM:]
        stock = ways["stock"].seconds[NUM_WARM : NUM_WARM + len(seconds)]
        speed.setdefault(way.precision, product_speed(way.precision))
        ratios = [before / now for before, now in zip(stock, seconds, strict=True)]
        share = operations / median(seconds) / speed[way.precision]
        numbers = (min(seconds), median(seconds), max(seconds))
        rows.append((name, *(f"{one:.3f}" for one in numbers), f"{median(ratios):.2f}",
                     f"{share:.0%}"))  # fmt: skip
    columns = ("step", "min s", "median s", "max s", "x stock", "of the matrix limit")
    return Table(f"{torch.get_num_threads()} threads", columns, rows)


if __name__ == "__main__":
    main()
