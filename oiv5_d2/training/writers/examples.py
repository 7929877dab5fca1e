"""Validation images as W&B shows them: always the same ones, the worst, the best, and a table."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from oiv5_d2.runs.matches import MIN_SCORE, Match, match
from oiv5_d2.runs.prepared import Prepared, read_coco
from oiv5_d2.training.writers.overlays import PREDICTION, TRUTH, Layer, Pixels, overlay

Record = dict[str, Any]

COLUMNS = ("image", "objects", "found", "missed", "false", "F1", "quality", TRUTH, PREDICTION)


class Judged(NamedTuple):
    """An image, its annotations, its detections of a score that counts, and how they match."""

    record: Record
    annotations: list[Record]
    found: list[Record]
    match: Match


class Examples:
    """The images of one data set, beside what a model found on them.

    Args:
        dataset: prepared.
        classes: display names, in the order of their category ids.
    """

    def __init__(self, dataset: Prepared, classes: Sequence[str]) -> None:
        self._dataset, self._classes, self._images = dataset, classes, dataset.images

    def judge(self, predictions: Iterable[Record]) -> list[Judged]:
        """Return each image with an object to find, in the file's order.

        Args:
            predictions: in COCO's result format.
        """
        by_image: dict[int, list[Record]] = defaultdict(list)
        for one in predictions:
            if one["score"] >= MIN_SCORE:
                by_image[one["image_id"]].append(one)
        return [
            Judged(record, true, by_image[id_], match(by_image[id_], true))
            for id_, (record, true) in self._truth.items()
        ]

    def show(self, judged: Sequence[Judged], num_same: int, num_extremes: int) -> dict[str, Any]:
        """Return W&B's images by name: a fixed few, the worst and the best.

        Args:
            judged: all images.
            num_same: of images that are the same at every evaluation.
            num_extremes: of the worst and of the best, each.
        """
        ranked = worst_first(judged)
        groups = {
            "validation/images": _spread(judged, num_same),
            "validation/worst": ranked[:num_extremes],
            "validation/best": ranked[::-1][:num_extremes],
        }
        return {
            name: [self._picture(one, (TRUTH, PREDICTION)) for one in group]
            for name, group in groups.items()
            if group
        }

    def tabulate(self, judged: Sequence[Judged], num_shown: int) -> Any:
        """Return W&B's table, a row an image, the worst first.

        Args:
            judged: all images.
            num_shown: how many rows show their image.
        """
        import wandb

        table = wandb.Table(columns=list(COLUMNS))
        for rank, one in enumerate(worst_first(judged)):
            layers = (TRUTH, PREDICTION)
            shown = [self._picture(one, [layer]) if rank < num_shown else None for layer in layers]
            table.add_data(*_row(one), *shown)
        return table

    @cached_property
    def _truth(self) -> dict[int, tuple[Record, list[Record]]]:
        coco = read_coco(self._dataset.json_path)
        annotations: dict[int, list[Record]] = defaultdict(list)
        for one in coco["annotations"]:
            annotations[one["image_id"]].append(one)
        pairs = ((image, annotations[image["id"]]) for image in coco["images"])
        return {
            image["id"]: (image, true)
            for image, true in pairs
            if not all(one["iscrowd"] for one in true)
        }

    def _picture(self, one: Judged, names: Sequence[str]) -> Any:
        layers = {TRUTH: one.annotations, PREDICTION: one.found}
        with Image.open(self._images.open(one.record["file_name"])) as file:
            pixels: Pixels = np.asarray(file.convert("RGB"))
        caption = f"{name_of(one.record)}: F1 {one.match.f1:.2f}"
        return overlay(
            pixels, [Layer(name, layers[name]) for name in names], self._classes, caption
        )


def worst_first(judged: Sequence[Judged]) -> list[Judged]:
    """Return the images by F1, then by quality, then by id."""
    return sorted(judged, key=lambda one: (one.match.f1, one.match.quality, one.record["id"]))


def name_of(record: Mapping[str, Any]) -> str:
    """Return what an image is called: its Open Images id, or its file's name."""
    return str(record.get("open_images_id") or PurePosixPath(record["file_name"]).stem)


def _row(one: Judged) -> tuple[Any, ...]:
    found, missed, false = len(one.match.ious), one.match.num_missed, one.match.num_false
    scores = round(one.match.f1, 4), round(one.match.quality, 4)
    return (name_of(one.record), found + missed, found, missed, false, *scores)


def _spread(judged: Sequence[Judged], count: int) -> list[Judged]:
    """Return some images from all over the list."""
    places = np.linspace(0, len(judged) - 1, min(count, len(judged))).round().astype(int)
    return [judged[place] for place in places]
