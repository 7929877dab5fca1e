"""Rows of a trained head carried over to a new one, class by class, by their names.

A COCO model scores 80 classes; ours scores others, some of which COCO has too. Their rows in the
last layers are taken from the COCO head, so that the model can detect them before its first step.
"""

from collections.abc import MutableMapping, Sequence
from typing import Any

import torch
from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES

COCO_CLASSES = tuple(c["name"] for c in COCO_CATEGORIES if c["isthing"])
# Open Images' name of a class, and what COCO calls the same or the nearest thing.
SYNONYMS = {
    "computer keyboard": "keyboard",
    "computer mouse": "mouse",
    "doughnut": "donut",
    "houseplant": "potted plant",
    "mobile phone": "cell phone",
    "television": "tv",
    "traffic sign": "stop sign",  # Open Images has stop signs below traffic signs
}
# Layers with rows for each class: how many, and whether another row for the background follows.
_LAYERS = {
    "box_predictor.cls_score": (1, 1),
    "box_predictor.bbox_pred": (4, 0),
    "mask_head.predictor": (1, 0),
}


def same_classes(classes: Sequence[str], source: Sequence[str]) -> dict[int, int]:
    """Return which class is which in another list: index in ``classes`` -> index in ``source``.

    Names are compared without regard to case; one that is not in ``source`` is looked up under its
    synonym. A class of ``source`` can serve several.
    """
    known = {name.lower(): index for index, name in enumerate(source)}
    names = ((index, name.lower()) for index, name in enumerate(classes))
    found = ((i, known.get(name, known.get(SYNONYMS.get(name, "")))) for i, name in names)
    return {index: old for index, old in found if old is not None}


def classes_of(weights: MutableMapping[str, Any]) -> Sequence[str]:
    """Return COCO's classes if a head in ``weights`` scores 80; empty for other heads."""
    scores = (value for name, value in weights.items() if name.endswith("cls_score.bias"))
    is_coco = any(len(value) == len(COCO_CLASSES) + 1 for value in scores)
    return COCO_CLASSES if is_coco else ()


def carry_over(
    weights: MutableMapping[str, Any],
    fresh: MutableMapping[str, torch.Tensor],
    classes: Sequence[str],
    source: Sequence[str],
) -> dict[str, str]:
    """Replace the head in ``weights`` by one for other classes: known rows and random ones.

    Args:
        weights: what was trained on ``source``, by parameter name; changed in place.
        fresh: the new model's parameters, whose random rows are kept for classes without a row.
        classes: the new model's, in their order.
        source: the trained model's, in their order.

    Returns:
        Class -> the class of ``source`` that its rows come from; empty if nothing was replaced.
    """
    same = same_classes(classes, source)
    replaced = False
    for name in weights.keys() & fresh.keys() if same else ():
        rows = _rows(name)
        if rows and _fits(weights[name], fresh[name], rows, len(source), len(classes)):
            weights[name] = _merged(weights[name], fresh[name], rows, same)
            replaced = True
    return {classes[new]: source[old] for new, old in same.items()} if replaced else {}


def _rows(name: str) -> tuple[int, int] | None:
    """Return a parameter's rows per class and for the background; None if it has none."""
    layer = name.rpartition(".")[0]
    # A cascade numbers its heads: box_predictor.0.cls_score.
    plain = ".".join(word for word in layer.split(".") if not word.isdigit())
    return next((rows for end, rows in _LAYERS.items() if plain.endswith(end)), None)


def _fits(old: Any, new: Any, rows: tuple[int, int], num_old: int, num_new: int) -> bool:
    """Return True if both have a row for each class; class-agnostic layers do not."""
    per_class, background = rows
    return (
        len(old) == per_class * num_old + background
        and len(new) == per_class * num_new + background
        and tuple(old.shape[1:]) == tuple(new.shape[1:])
    )


def _merged(
    old: Any, new: torch.Tensor, rows: tuple[int, int], same: dict[int, int]
) -> torch.Tensor:
    """Return the rows of ``new``, with those of ``same`` and the background taken from ``old``."""
    per_class, background = rows
    trained = torch.as_tensor(old)
    merged = new.detach().to(trained, copy=True)
    for index, source in same.items():
        block = slice(per_class * source, per_class * (source + 1))
        merged[per_class * index : per_class * (index + 1)] = trained[block]
    if background:
        merged[-1] = trained[-1]
    return merged
