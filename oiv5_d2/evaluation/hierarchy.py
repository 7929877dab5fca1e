"""Classes above classes, and what that makes of annotations and verified labels.

As the challenge expands its files: an object is one of all classes above its own, a label that is
present makes those above present, and one that is absent makes those below absent. What is absent
below says nothing about the class above. Detections are never expanded: who finds a woman has to
say person as well.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oiv5_d2.evaluation.truth import Truth
from oiv5_d2.problems import Kind, Problem, Remedy

Above = NDArray[np.bool_]  # (C, C): True at [a, b] if class b is above class a


def read_above(truth: Truth, mids: Mapping[str, str], tree_path: Path | None) -> Above:
    """Return which of the truth's classes are above which.

    Args:
        truth: whose categories may name their ``supercategory``.
        mids: MID by class name.
        tree_path: a tree as Open Images has it, LabelName and Subcategory, of MIDs or names; None
            to go by the supercategories alone.

    Raises:
        Problem: ABSENT or DAMAGED, the tree.
    """
    names = {name: index for index, name in enumerate(truth.classes)}
    edges = [(c["name"], c.get("supercategory") or "") for c in truth.categories]
    if tree_path is not None:
        labels = {mids[name]: name for name in names if name in mids}
        edges += [(labels.get(a, a), labels.get(b, b)) for a, b in _read_edges(tree_path)]
    everything = list(dict.fromkeys([*names, *(name for edge in edges for name in edge)]))
    place = {name: index for index, name in enumerate(everything)}
    above = np.eye(len(place), dtype=np.bool_)
    for child, parent in edges:
        above[place[child], place[parent]] = True
    for _ in range(len(place).bit_length()):
        above = above @ above
    own = [place[name] for name in names]
    found: Above = above[np.ix_(own, own)] & ~np.eye(len(own), dtype=np.bool_)
    return found


def expand_truth(truth: Truth, above: Above) -> Truth:
    """Return the truth with each annotation also as one of every class above its own."""
    rows, ancestors = np.nonzero(above[truth.category])
    if not len(rows):
        return truth
    order = np.concatenate([np.arange(len(truth.image)), rows])
    arrays = ("image", "boxes", "areas", "is_crowd", "is_group_of")
    return replace(
        truth,
        **{name: getattr(truth, name)[order] for name in arrays},
        records=[truth.records[i] for i in order],
        category=np.concatenate([truth.category, ancestors]).astype(np.int32),
        masks=truth.masks.take(order),
    )


def expand_labels(labels: NDArray[np.int8], above: Above) -> NDArray[np.bool_]:
    """Return (I, C) True where a class is verified, present or absent, after the expansion.

    Args:
        labels: (I, C) 1 present, -1 absent, 0 not verified.
        above: which classes are above which.
    """
    reach = (above | np.eye(len(above), dtype=np.bool_)).astype(np.int64)
    present, absent = (labels == 1) @ reach > 0, (labels == -1) @ reach.T > 0
    verified: NDArray[np.bool_] = present | absent
    return verified


def _read_edges(path: Path) -> list[tuple[str, str]]:
    try:
        return list(_edges(json.loads(path.read_text(encoding="utf-8"))))
    except FileNotFoundError as error:
        raise Problem(Kind.ABSENT, path, key="hierarchy", remedy=Remedy.CHANGE_SETTING) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        detail = f"not a tree of LabelName and Subcategory: {error}"
        raise Problem(
            Kind.DAMAGED, path, detail, key="hierarchy", remedy=Remedy.CHANGE_SETTING
        ) from error


def _edges(node: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (child, parent); the root of the tree is no class."""
    for child in node.get("Subcategory", ()):
        yield child["LabelName"], node["LabelName"]
        yield from _edges(child)
