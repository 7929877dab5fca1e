"""Time and memory an image with ten and a hundred times the data:  python benchmarks/growth.py.

    python benchmarks/growth.py images=3000 evaluated=1250        # the fewest

Opens COCO files of so many images, ten times and a hundred times as many, loads samples of each,
and evaluates 100 detections on each image. Each measurement is a process of its own. Prints the CPU
time, and the memory added at most, of all and of an image: where an image does not cost more, more
data is no slower. All images are one small picture, so that only their number counts.
Figures that were measured: docs/speed.md.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import evaluation
import open as opening

from oiv5_d2.evaluation import coco
from oiv5_d2.runs.prepared import Prepared
from oiv5_d2.table import Table, to_text
from oiv5_d2.training.data.loader import build_train_loader

TIMES = (1, 10, 100)
NUM_SAMPLES = 256  # that are loaded
OBJECTS = 25_000 / 13_500  # of an evaluated image, as in the validation split
COLUMNS = ("work", "images", "CPU s", "us an image", "peak MB", "KB an image")


class Cost(NamedTuple):
    """What work on some images cost.

    Attributes:
        seconds: of CPU.
        peak: MB that were added at most.
        num_images: that were worked on.
    """

    seconds: float
    peak: float
    num_images: int


def main() -> None:
    """Measure and print the table."""
    words = {key: int(value) for key, value in (word.split("=") for word in sys.argv[1:])}
    costs = [*opened(words.get("images", 3000)), *evaluated(words.get("evaluated", 1250))]
    rows = [(work, f"{number:,}", *_figures(cost)) for work, number, cost in costs]
    print(to_text(Table("Growth", COLUMNS, sorted(rows, key=lambda row: row[0]))))


def _figures(cost: Cost) -> tuple[str, ...]:
    time_each, memory_each = cost.seconds / cost.num_images, cost.peak / cost.num_images
    figures = f"{cost.seconds:.2f}", f"{1e6 * time_each:.0f}", f"{cost.peak:.0f}"
    return *figures, f"{1024 * memory_each:.1f}"


def opened(fewest: int) -> Iterator[tuple[str, int, Cost]]:
    """Yield what opening a file and loading from it cost."""
    with tempfile.TemporaryDirectory() as name:
        os.environ["OIV5_D2_CACHE"] = name
        for number in (fewest * times for times in TIMES):
            dataset = opening.draw(Path(name), number)
            for work in ("open, the first time", "open"):
                found = opening.in_a_process(opening.measure, opening.ours, dataset)
                yield work, number, Cost(found.cpu, found.peak, number)
            yield "load", number, opening.in_a_process(load, dataset)


def load(dataset: Prepared) -> Cost:
    """Load samples of a file that is open."""
    opening.ours(dataset)
    loader = build_train_loader(opening.cfg(), {})
    next(loader)
    before, begin, found = opening.peak(), time.process_time(), 0
    while found < NUM_SAMPLES:
        found += len(next(loader))
    return Cost(time.process_time() - begin, opening.peak() - before, found)


def evaluated(fewest: int) -> Iterator[tuple[str, int, Cost]]:
    """Yield what COCO's evaluation of masks costs."""
    with tempfile.TemporaryDirectory() as name:
        num_objects = round(fewest * OBJECTS)
        evaluation.in_a_process(evaluation.write_files, Path(name), fewest, num_objects)
        for times in TIMES:
            cost = evaluation.in_a_process(evaluate, Path(name), times)
            yield "evaluate", cost.num_images, cost


def evaluate(folder: Path, times: int) -> Cost:
    """Evaluate with every image so often; its memory is with the truth and the detections."""
    before = opening.peak()
    truth, found = evaluation.repeat(*evaluation.read_files(folder, "segm"), times)
    begin = time.process_time()
    coco.evaluate(truth, found, "segm")
    return Cost(time.process_time() - begin, opening.peak() - before, len(truth.images))


if __name__ == "__main__":
    main()
