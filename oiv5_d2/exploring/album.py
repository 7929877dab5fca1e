"""All images that a page can show, numbered through, and what it asks about them."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from oiv5_d2.conversion import run_lengths
from oiv5_d2.conversion.image_store import Place
from oiv5_d2.drawing.colours import PALETTE
from oiv5_d2.evaluation.errors import WORDS
from oiv5_d2.evaluation.masks import Rle
from oiv5_d2.exploring.findings import read_findings
from oiv5_d2.exploring.found import OUTCOMES, open_found, predictions_path
from oiv5_d2.exploring.layers import FLAGS, Annotations, Detections, Layer
from oiv5_d2.exploring.query import ORDERS, PAGE, RUNS, SIZES, TRUTH, Query
from oiv5_d2.exploring.search import Hits, Shown, search, sort
from oiv5_d2.exploring.store import fingerprint
from oiv5_d2.exploring.truth import open_part
from oiv5_d2.jobs import Show
from oiv5_d2.pages.outlines import to_path
from oiv5_d2.runs.prepared import Prepared


class Run(NamedTuple):
    """A run whose detections are shown.

    Attributes:
        name: on the page.
        folder: the run's.
    """

    name: str
    folder: Path


class Album:
    """Parts of one data set, one behind the other.

    Args:
        name: of the data set.
        parts: in order.
        runs: none, one or two.
    """

    def __init__(self, name: str, parts: Sequence[Shown], runs: Sequence[Run] = ()) -> None:
        self.name, self.parts, self.runs = name, list(parts), list(runs)
        self._starts = np.cumsum([0, *(len(one.part) for one in parts)])
        self.stamp = fingerprint([one.part.coco_path for one in parts])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def place(self, number: int) -> tuple[int, int]:
        """Return the index of an image's part, and its own one there.

        Raises:
            IndexError: there is no such image.
        """
        if not 0 <= number < len(self):
            raise IndexError(number)
        part = int(np.searchsorted(self._starts, number, side="right")) - 1
        return part, number - int(self._starts[part])

    def file(self, number: int) -> tuple[Place, int]:
        """Return where an image is, and its longer side in pixels.

        Raises:
            IndexError: there is no such image.
        """
        index, image = self.place(number)
        part = self.parts[index].part
        place = Place(part.source, str(part.images[image]["file_name"]))
        return place, int(part.sizes[image].max())

    def find(self, query: Query) -> dict[str, Any]:
        """Return a page of the images that are asked for, and how many there are in all."""
        hits = [search(one, query) for one in self.parts]
        keys = [sort(one, query, own) for one, own in zip(self.parts, hits, strict=True)]
        numbers = [own.images + self._starts[i] for i, own in enumerate(hits)]
        order = np.argsort(np.concatenate(keys), kind="stable")
        page = min(query.page, max(0, len(order) - 1) // PAGE)
        chosen = np.concatenate(numbers)[order[page * PAGE : (page + 1) * PAGE]].tolist()
        return {
            "total": len(order),
            "page": page + 1,
            "images": [self._brief(number, hits, query) for number in chosen],
        }

    def _brief(self, number: int, hits: Sequence[Hits], query: Query) -> dict[str, Any]:
        """Return what a card says before its outlines are there."""
        index, image = self.place(number)
        shown, found = self.parts[index], hits[index].rows
        layer = shown.layer(query.layer)
        rows = layer.rows(image) if layer is not None else range(0)
        own = np.zeros(0) if found is None else found[rows.start : rows.stop]
        record = shown.part.images[image]
        return {
            "number": number,
            "id": record.get("open_images_id", record["id"]),
            "part": shown.part.name,
            "size": shown.part.sizes[image][::-1].tolist(),
            "hits": None if own.all() else np.flatnonzero(own).tolist(),
        }

    def describe(self, number: int, side: int) -> dict[str, Any]:
        """Return all about an image: its record, and the objects of each layer.

        Args:
            number: of the image.
            side: to which outlines are drawn, in pixels of the longer side.

        Raises:
            IndexError: there is no such image.
        """
        index, image = self.place(number)
        shown = self.parts[index]
        height, width = shown.part.sizes[image].tolist()
        scale = min(1.0, side / max(height, width))
        names = (TRUTH, *RUNS[: len(self.runs)])
        return {
            "size": [round(width * scale, 1), round(height * scale, 1)],
            "part": shown.part.name,
            "record": shown.part.images[image],
            "findings": [kind for kind, one in shown.findings.items() if one.images[image]],
            "layers": {name: _objects(shown, name, image, scale) for name in names},
        }

    def facets(self) -> dict[str, Any]:
        """Return what can be asked for, with numbers of annotations where they are few."""
        first = self.parts[0].part
        truths = [one.part.truth for one in self.parts]
        colours = [f"var(--bright-{i % len(PALETTE)})" for i in range(len(first.classes))]
        return {
            "stamp": self.stamp,
            "parts": {one.part.name: len(one.part) for one in self.parts},
            "ids": dict(zip(first.category_ids, first.classes, strict=True)),
            "classes": [
                {"name": name, "colour": colour, "number": _count(truths, "category", i)}
                for i, (name, colour) in enumerate(zip(first.classes, colours, strict=True))
            ],
            "children": _names(self.parts, "labels", "label"),
            "reasons": _names(self.parts, "reasons", "reason"),
            "flags": {
                flag: sum(int(truth.has(flag).sum()) for truth in truths) for flag in FLAGS.values()
            },
            "sizes": list(SIZES),
            "findings": self._findings(),
            "outcomes": {outcome: WORDS.get(outcome, outcome) for outcome in OUTCOMES},
            "orders": list(ORDERS),
            "runs": [one.name for one in self.runs],
            "total": len(self),
            "per_page": PAGE,
        }

    def _findings(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for shown in self.parts:
            for kind, one in shown.findings.items():
                found[kind] = found.get(kind, 0) + int(one.images.sum())
        return found


def open_album(
    name: str, datasets: Iterable[Prepared], runs: Sequence[Run], cache_dir: Path, show: Show
) -> Album:
    """Open parts of a data set with what runs found on them; read what was never read.

    Args:
        name: of the data set.
        datasets: its parts.
        runs: none, one or two.
        cache_dir: where what was read is kept.
        show: shows the progress.

    Raises:
        Problem: those of `open_part` and `open_found`.
    """
    parts = []
    for prepared in datasets:
        part = open_part(prepared, cache_dir, show)
        found = [
            open_found(run.folder, part, cache_dir, show)
            if predictions_path(run.folder, part.dataset).is_file()
            else None
            for run in runs
        ]
        parts.append(Shown(part, read_findings(part), found))
    return Album(name, parts, runs)


def _objects(shown: Shown, name: str, image: int, scale: float) -> list[dict[str, Any]] | None:
    layer = shown.layer(name)
    if layer is None:
        return None
    return [_describe(shown, layer, row, scale) for row in layer.rows(image)]


def _describe(shown: Shown, layer: Layer, row: int, scale: float) -> dict[str, Any]:
    """Return an annotation or detection, in pixels of the drawing."""
    about: dict[str, Any] = {
        "category": int(layer.category[row]),
        "box": [round(float(side) * scale, 1) for side in layer.boxes[row]],
        "path": _outline(layer.masks[row], scale),
        "area": round(float(layer.areas[row])),
    }
    if isinstance(layer, Detections):
        outcome = OUTCOMES[layer.outcome[row]]
        return about | {"score": round(float(layer.scores[row]), 3), "outcome": outcome}
    assert isinstance(layer, Annotations)
    label = int(layer.label[row])
    finders = [None if run is None else _or_none(run.finder[row]) for run in shown.found]
    return about | {
        "child": shown.part.labels[label] if label >= 0 else "",
        "reason": shown.part.reasons[layer.reason[row]],
        "flags": [flag for bit, flag in enumerate(FLAGS.values()) if layer.flags[row] >> bit & 1],
        "finders": finders,
        "findings": [kind for kind, one in shown.findings.items() if one.rows[row]],
        "record": layer.records[row],
    }


def _outline(rle: Rle, scale: float) -> str:
    """Return a mask's outline; only its box is drawn, as a large image has many masks."""
    lengths = run_lengths.read([rle["counts"].decode("ascii")]) if rle["counts"] else None
    if lengths is None:
        return ""
    x, y, width, height = map(int, coco_mask.toBbox(rle))
    columns = run_lengths.draw(lengths[0], rle["size"][0], (x, x + width))
    return to_path(columns[y : y + height], scale, (x, y))


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 3)


def _count(truths: Sequence[Annotations], column: str, index: int) -> int:
    arrays: list[NDArray[Any]] = [getattr(truth, column) for truth in truths]
    return sum(int((values == index).sum()) for values in arrays)


def _names(parts: Sequence[Shown], names: str, column: str) -> dict[str, int]:
    """Return the number of annotations by name, the most frequent first; each part has its own."""
    found: dict[str, int] = {}
    for shown in parts:
        own: list[str] = getattr(shown.part, names)
        counts = np.bincount(getattr(shown.part.truth, column).astype(np.int64) + 1)
        for index, name in enumerate(own):
            number = int(counts[index + 1]) if index + 1 < len(counts) else 0
            found[name] = found.get(name, 0) + number
    ranked = sorted(found, key=lambda name: -found[name])
    return {name: found[name] for name in ranked if name}
