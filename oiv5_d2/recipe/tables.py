"""A recipe as tables of text."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from oiv5_d2.recipe.anchors import FOUND, Fit, measure
from oiv5_d2.recipe.objects import Objects
from oiv5_d2.recipe.rules import Advice, Settings, boxes_in_model, read_anchors
from oiv5_d2.table import Table

SIZE_LIMITS = (32.0**2, 96.0**2)  # COCO's, in square pixels


def recipe_tables(
    found: Sequence[Advice], objects: Objects, before: Settings, after: Settings
) -> Iterator[Table]:
    """Yield the recipe, and how well anchors fit each class before and after it."""
    yield recipe_table(found, after)
    yield size_table(objects, after)
    own, now = read_anchors(before), read_anchors(after)
    if own and now:
        boxes = boxes_in_model(objects, after)
        fits = [measure(boxes, objects.class_of, each, objects.classes) for each in (own, now)]
        yield anchor_table(*fits)


def recipe_table(found: Sequence[Advice], settings: Mapping[str, Any]) -> Table:
    """Return a row for each setting: its value, and why.

    Args:
        found: the recipe's advice.
        settings: what the run has; a value other than the advised one was set by the user.
    """
    rows = []
    for advice in found:
        value, because = settings[advice.key], advice.because
        if value != advice.value:
            because = f"set by you; the recipe has {_word(advice.value)}: {because}"
        rows.append((advice.key, _word(value), because))
    return Table("Recipe from the data", ("setting", "value", "because"), rows, num_names=3)


def size_table(objects: Objects, settings: Settings) -> Table:
    """Return how large the objects of each class are in the images, and as the model sees them.

    Small, medium and large are COCO's, by the area of the box: up to 32 x 32, up to 96 x 96 px.
    """
    boxes = boxes_in_model(objects, settings)
    columns = (
        "class",
        "objects",
        "shorter side, px",
        "in the model, px",
        "small",
        "medium",
        "large",
    )
    rows = []
    for index, name in enumerate(objects.classes):
        of_class = objects.class_of == index
        if not of_class.any():
            continue
        sides = [np.median(each[of_class, 2:].min(axis=1)) for each in (objects.boxes, boxes)]
        places = np.searchsorted(SIZE_LIMITS, boxes[of_class, 2:].prod(axis=1))
        shares = np.bincount(places, minlength=3) / of_class.sum()
        figures = (f"{of_class.sum():,}", *(f"{side:.0f}" for side in sides))
        rows.append((name, *figures, *(f"{share:.0%}" for share in shares)))
    title = "Sizes: the median object's shorter side, and what the model sees after resizing"
    return Table(title, columns, rows)


def anchor_table(before: Mapping[str, Fit], after: Mapping[str, Fit]) -> Table:
    """Return how well two sets of anchors fit the objects of each class."""
    columns = ("class", "objects", "recall", "the recipe's", "mean best IoU", "the recipe's")
    rows = [
        (
            name,
            f"{fit.num:,}",
            f"{fit.recall:.1%}",
            f"{after[name].recall:.1%}",
            f"{fit.overlap:.2f}",
            f"{after[name].overlap:.2f}",
        )
        for name, fit in before.items()
    ]
    title = f"How anchors fit: recall is the share of objects with an IoU of {FOUND} or more"
    return Table(title, columns, rows)


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
