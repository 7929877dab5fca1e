"""Measure what partial annotation costs and how much of it training wins back.

    python benchmarks/partial.py runs=outputs/partial seeds=3 cells=stock,full,boxes,all
    python benchmarks/partial.py runs=outputs/partial seeds=0      # only the tables

Each cell is the quickstart's training, on the images of `mini` annotated in part or completely, and
is evaluated on the complete validation and test parts. Gap closed: (cell - stock) / (full - stock).
Cells `alone-...` are on images that lack masks alone: no group-of boxes, every class verified.
A run that is finished is not repeated. Other words are passed on to every training. The data:

    python tools/prepare_data.py data=mini
    python tools/prepare_data.py data=mini_partial
    python tools/prepare_data.py data=mini_partial data.name=mini_boxes \
        data.synthetic.partial.group_of=0 data.synthetic.partial.unverified=0
"""

import contextlib
import io
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from oiv5_d2.runs.results import PREDICTIONS_JSON, RESULTS_JSON, read_results
from oiv5_d2.table import Table, to_text

PARTIAL = ("data=mini_partial", "annotation=partial")
NOT_REGIONS = ("annotation.regions=background", "annotation.rpn_regions=false")
NOT_VERIFIED = ("annotation.unverified=false",)
NOT_DRAWN = ("annotation.box_masks=0",)
NO_MASKS = "mini_boxes"
ALONE = (
    f"data.name={NO_MASKS}",
    "data.synthetic.partial.group_of=0",
    "data.synthetic.partial.unverified=0",
)
FILLED = "filled"
CELLS: dict[str, tuple[str, ...]] = {
    "stock": ("data=mini_partial",),
    "full": ("data=mini",),
    "regions": (*PARTIAL, "annotation.boxes=false", *NOT_VERIFIED, *NOT_DRAWN),
    "boxes": (*PARTIAL, *NOT_REGIONS, *NOT_VERIFIED, *NOT_DRAWN),
    "boxes+regions": (*PARTIAL, *NOT_VERIFIED, *NOT_DRAWN),
    "boxes+regions+verified": (*PARTIAL, *NOT_DRAWN),
    "all": PARTIAL,
    FILLED: (*PARTIAL, "d2.DATASETS.TRAIN=[mini_partial_train_pseudo]"),
    "alone-stock": ("data=mini_partial", *ALONE),
    "alone-boxes": (*PARTIAL, *ALONE, *NOT_DRAWN),
    "alone-all": (*PARTIAL, *ALONE),
}
TRAINING = (
    "+experiment=quickstart",
    "logger=none",
    "name=partial",
    "trainer.precision=bf16",
    "d2.SOLVER.MAX_ITER=600",
    "d2.DATALOADER.NUM_WORKERS=0",
)
PARTS = ("validation", "test")
METRICS = ("AP", "AP50", "box AP50", "recall")


def main() -> None:
    """Train what is missing, seed by seed, and print the table of all finished runs."""
    words = dict(word.split("=", 1) for word in sys.argv[1:4] if word.split("=")[0] in OPTIONS)
    options = {**OPTIONS, **words}
    more = [word for word in sys.argv[1:] if word.split("=")[0] not in OPTIONS]
    runs_dir = Path(options["runs"])
    for seed in range(1, int(options["seeds"]) + 1):
        for cell in options["cells"].split(","):
            if cell == FILLED:
                fill(runs_dir / f"all_{seed}")
            train(runs_dir / f"{cell}_{seed}", [*CELLS[cell], f"d2.SEED={seed}", *more])
    results = {
        path: measure(path) for path in sorted(runs_dir.iterdir()) if (path / "evaluation").is_dir()
    }
    for metrics in (METRICS, [name for name in next(iter(results.values())) if "-" in name]):
        print(table(results, metrics), end="\n\n")


OPTIONS = {"runs": "outputs/partial", "seeds": "3", "cells": ",".join(CELLS)}


def fill(run_dir: Path) -> None:
    """Give the partly annotated part the masks of a finished run."""
    command = [sys.executable, "tools/fill_masks.py", f"run={run_dir}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def train(run_dir: Path, words: list[str]) -> None:
    """Train one run, unless it is there already."""
    if (run_dir / "evaluation").is_dir():
        return
    named = [word.partition("=") for word in words if word.startswith(("data=", "data.name="))]
    name = named[-1][2]
    test = f"d2.DATASETS.TEST=[{','.join(f'{name}_{part}' for part in PARTS)}]"
    command = [sys.executable, "tools/train_net.py", *TRAINING, *words, test, f"run_dir={run_dir}"]
    run_dir.parent.mkdir(parents=True, exist_ok=True)
    with run_dir.with_suffix(".log").open("w") as log:
        subprocess.run(command, check=True, stdout=log, stderr=subprocess.STDOUT)
    for weights in run_dir.glob("model_*.pth"):
        if weights.name != "model_final.pth":
            weights.unlink()


def measure(run_dir: Path) -> dict[str, float]:
    """Return mask metrics of a run, 0 to 100, each the mean over its parts."""
    folders = sorted((run_dir / "evaluation").iterdir())
    parts = [measure_part(folder) for folder in folders]
    return {name: mean(part[name] for part in parts) for name in parts[0]}


def measure_part(folder: Path) -> dict[str, float]:
    """Return AP, AP50 and recall (at IoU 0.5, of 100 detections), and the last two by class."""
    results = read_results(folder / RESULTS_JSON)
    name, _, part = results.dataset.rpartition("_")
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
        truth = COCO(f"data/{name}/coco/{part}.json")
        found = truth.loadRes(str(folder / PREDICTIONS_JSON))
        evaluated = COCOeval(truth, found, "segm")
        evaluated.evaluate()
        evaluated.accumulate()
    recalls = 100 * evaluated.eval["recall"][0, :, 0, -1]  # IoU 0.5, all areas, 100 detections
    metrics, classes = results.tasks["segm"], list(results.num_instances)
    return {
        "AP": metrics["AP"],
        "AP50": metrics["AP50"],
        "box AP50": results.tasks["bbox"]["AP50"],
        "recall": float(np.mean(recalls)),
        **{f"AP50-{one}": metrics[f"AP50-{one}"] for one in classes},
        **{f"recall-{one}": float(recall) for one, recall in zip(classes, recalls, strict=True)},
    }


def table(results: dict[Path, dict[str, float]], metrics: Sequence[str]) -> str:
    """Return a row a cell and a column a metric: mean ± standard error, and the gap closed."""
    cells: dict[str, list[dict[str, float]]] = {}
    for path, found in results.items():
        cells.setdefault(path.name.rpartition("_")[0], []).append(found)
    rows = [
        (cell, str(len(cells[cell])), *(entry(cells, cell, name) for name in metrics))
        for cell in CELLS
        if cell in cells
    ]
    return to_text(Table("", ("cell", "seeds", *metrics), rows))


def entry(cells: dict[str, list[dict[str, float]]], cell: str, name: str) -> str:
    """Return a metric's mean and standard error over the seeds, and the gap closed if known."""
    value, error = spread(cells, cell, name)
    text = f"{value:.1f} ± {error:.1f}"
    if cell in (stock_of(cell), "full") or not {stock_of(cell), "full"} <= set(cells):
        return text
    closed, closed_error = gap_closed(cells, cell, name)
    return f"{text} ({closed:.2f} ± {closed_error:.2f})"


def stock_of(cell: str) -> str:
    """Return the cell that has the same data and Detectron2's losses."""
    return "alone-stock" if cell.startswith("alone-") else "stock"


def gap_closed(
    cells: dict[str, list[dict[str, float]]], cell: str, name: str
) -> tuple[float, float]:
    """Return the share of the gap that is closed, and its standard error by propagation."""
    known = (stock_of(cell), "full", cell)
    (low, a), (high, b), (value, c) = (spread(cells, one, name) for one in known)
    closed = (value - low) / (high - low)
    error = np.sqrt(c**2 + (closed * b) ** 2 + ((1 - closed) * a) ** 2) / abs(high - low)
    return closed, float(error)


def spread(cells: dict[str, list[dict[str, float]]], cell: str, name: str) -> tuple[float, float]:
    """Return a metric's mean over a cell's seeds and the mean's standard error; NaN if unknown."""
    values = [run[name] for run in cells.get(cell, [])]
    if not values:
        return np.nan, np.nan
    return mean(values), stdev(values) / len(values) ** 0.5 if len(values) > 1 else np.nan


if __name__ == "__main__":
    main()
