"""Images of a collection that a query asks for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from oiv5_d2.exploring.findings import Finding
from oiv5_d2.exploring.found import OUTCOMES
from oiv5_d2.exploring.layers import FLAGS, Annotations, Detections, Layer
from oiv5_d2.exploring.query import FOUND, ORDERS, RUNS, TRUTH, Query
from oiv5_d2.exploring.truth import Part

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Shown:
    """A part with all that is shown of it.

    Attributes:
        part: images and annotations.
        findings: of the audit, by kind.
        found: of each run; None of one that was not evaluated on this part.
    """

    part: Part
    findings: dict[str, Finding]
    found: Sequence[Detections | None] = ()

    def layer(self, name: str) -> Layer | None:
        """Return the truth, or what a run found."""
        if name == TRUTH:
            return self.part.truth
        index = RUNS.index(name)
        return self.found[index] if index < len(self.found) else None


class Hits(NamedTuple):
    """What was found in a part.

    Attributes:
        images: (H,) indices of the images, ascending.
        rows: (N,) bool, which objects are asked for; None if nothing is asked of objects.
    """

    images: NDArray[np.int64]
    rows: Bools | None


def search(shown: Shown, query: Query) -> Hits:
    """Return the images of a part that a query asks for."""
    layer = shown.layer(query.layer)
    if layer is None or query.part not in ("", shown.part.name):
        return Hits(np.zeros(0, dtype=np.int64), None)
    rows, alone = _by_finding(shown, query, layer)
    conditions = _conditions(shown, query, layer)
    for one in conditions:
        rows &= one
    if conditions:
        alone[:] = False
    for word in query.words:
        named = np.char.find(shown.part.names, word.encode()) >= 0
        rows &= named[layer.image] | _says(shown, layer, word)
        alone &= named
    images = alone.copy()
    images[layer.image[rows]] = True
    has_conditions = bool(conditions or query.words or query.finding)
    return Hits(np.flatnonzero(images), rows if has_conditions and not rows.all() else None)


def sort(shown: Shown, query: Query, hits: Hits) -> NDArray[np.float64]:
    """Return a key for each image found; the lowest comes first."""
    layer = shown.layer(query.layer)
    if layer is None or query.order == ORDERS[0]:
        return np.zeros(len(hits.images))
    chosen = np.flatnonzero(hits.rows) if hits.rows is not None else np.arange(len(layer.image))
    number = np.bincount(layer.image[chosen], minlength=len(shown.part)).astype(np.float64)
    if query.order == "most objects":
        return -number[hits.images]
    extreme = np.full(len(shown.part), np.inf)
    sign = 1.0 if query.order == "smallest" else -1.0
    np.minimum.at(extreme, layer.image[chosen], sign * layer.areas[chosen])
    return extreme[hits.images]


def _by_finding(shown: Shown, query: Query, layer: Layer) -> tuple[Bools, Bools]:
    """Return the objects of a finding, and the images that it is about as a whole."""
    num_rows, num_images = len(layer.image), len(shown.part)
    if not query.finding:
        return np.ones(num_rows, dtype=np.bool_), np.ones(num_images, dtype=np.bool_)
    finding = shown.findings.get(query.finding)
    if finding is None:
        return np.zeros(num_rows, dtype=np.bool_), np.zeros(num_images, dtype=np.bool_)
    if query.layer == TRUTH and finding.rows.any():
        return finding.rows.copy(), np.zeros(num_images, dtype=np.bool_)
    return finding.images[layer.image], finding.images.copy()


def _conditions(shown: Shown, query: Query, layer: Layer) -> list[Bools]:
    """Return for each thing that is asked of objects which of them have it."""
    found: list[Bools] = []
    if query.classes:
        wanted = [i for i, name in enumerate(shown.part.classes) if name in query.classes]
        found.append(np.isin(layer.category, wanted))
    if query.span != (0.0, np.inf):
        low, high = query.span
        found.append((layer.areas >= low**2) & (layer.areas < high**2))
    if isinstance(layer, Annotations):
        found += _of_annotations(shown.part, query, layer) + _by_runs(shown, query, layer)
    if isinstance(layer, Detections):
        found.append(layer.scores >= query.score)
        if query.outcome:
            found.append(layer.outcome == OUTCOMES.index(query.outcome))
    return found


def _of_annotations(part: Part, query: Query, layer: Annotations) -> list[Bools]:
    found = [layer.has(flag) for flag in sorted(query.flags)]
    if query.child:
        wanted = [i for i, name in enumerate(part.labels) if name == query.child]
        found.append(np.isin(layer.label, wanted))
    if query.reason:
        wanted = [i for i, name in enumerate(part.reasons) if name == query.reason]
        found.append(np.isin(layer.reason, wanted))
    return found


def _by_runs(shown: Shown, query: Query, layer: Annotations) -> list[Bools]:
    """Return which annotations each run found, or missed, as far as that is asked."""
    conditions: list[Bools] = []
    for wish, run in zip(query.by, shown.found, strict=False):
        if wish and run is not None:
            is_found = run.finder >= query.score  # False for NaN
            conditions.append((is_found == (wish == FOUND)) & ~layer.has("ignored"))
        elif wish:
            conditions.append(np.zeros(len(layer.image), dtype=np.bool_))
    return conditions


def _says(shown: Shown, layer: Layer, word: str) -> Bools:
    """Return the objects whose class, child, attributes, reason or findings contain a word."""
    part = shown.part
    rows = np.isin(layer.category, _containing(part.classes, word))
    if not isinstance(layer, Annotations):
        return rows
    rows |= np.isin(layer.label, _containing(part.labels, word))
    rows |= np.isin(layer.reason, _containing(part.reasons, word))
    for flag in FLAGS.values():
        if word in flag:
            rows |= layer.has(flag)
    for kind, finding in shown.findings.items():
        if word in kind:
            rows |= finding.rows if finding.rows.any() else finding.images[layer.image]
    return rows


def _containing(names: Sequence[str], word: str) -> list[int]:
    return [i for i, name in enumerate(names) if word in name.lower()]
