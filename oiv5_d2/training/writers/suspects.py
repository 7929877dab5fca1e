"""Likely label errors of the validation data as W&B's table, the likeliest first."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from oiv5_d2.runs.prepared import Prepared, read_coco
from oiv5_d2.training.writers.overlays import TRUTH, Layer, overlay

MOST = 200  # rows: more than anybody looks through in a table
DOUBTED = "doubted"
COLUMNS = ("image", "class", "reason", "certainty", "score", "annotated as", DOUBTED)


def tabulate_suspects(
    path: Path, dataset: Prepared, classes: Sequence[str], num_shown: int
) -> Any | None:
    """Return W&B's table, a row a place where the annotation may be wrong; None without any.

    Args:
        path: the CSV of an evaluation, the likeliest first.
        dataset: that was evaluated on.
        classes: display names, in the order of their category ids.
        num_shown: how many rows, the first ones, show their image.
    """
    import wandb

    with path.open(newline="") as file:
        suspects = list(csv.DictReader(file))[:MOST]
    if not suspects:
        return None
    show = _Shower(dataset, classes, [one["file_name"] for one in suspects[:num_shown]])
    table = wandb.Table(columns=list(COLUMNS))
    for rank, one in enumerate(suspects):
        score = float(one["score"]) if one["score"] else None
        what = one["image_id"], one["class"], one["reason"], float(one["certainty"]), score
        table.add_data(*what, one["annotated_class"], show(one) if rank < num_shown else None)
    return table


class _Shower:
    """Draws a suspect over its image, as a layer beside the annotation.

    Args:
        dataset: that has the images.
        classes: display names, in the order of their category ids.
        file_names: of the images that are shown.
    """

    def __init__(
        self, dataset: Prepared, classes: Sequence[str], file_names: Sequence[str]
    ) -> None:
        coco = read_coco(dataset.json_path)
        names = {one["id"]: one["file_name"] for one in coco["images"]}
        self._classes, self._images = classes, dataset.images
        self._truth: dict[str, list[dict[str, Any]]] = {name: [] for name in file_names}
        for one in coco["annotations"]:
            if (name := names[one["image_id"]]) in self._truth:
                self._truth[name].append(one)

    def __call__(self, one: Mapping[str, str]) -> Any:
        with Image.open(self._images.open(one["file_name"])) as file:
            pixels = np.asarray(file.convert("RGB"))
        shape: dict[str, Any] = {
            "bbox": [float(one[side]) for side in ("x", "y", "width", "height")],
            "category_id": self._classes.index(one["class"]) + 1,
        }
        if one["score"]:
            shape["score"] = float(one["score"])
        layers = [Layer(TRUTH, self._truth[one["file_name"]]), Layer(DOUBTED, [shape])]
        return overlay(pixels, layers, self._classes, f"{one['class']}: {one['reason']}")
