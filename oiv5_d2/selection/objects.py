"""One row an object: masks joined to their boxes, and why an object is not a training target."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from oiv5_d2.openimages import release
from oiv5_d2.selection.choice import Choice

NO_MASK, LOW_IOU = "no mask", "low predicted IoU"  # reasons to ignore an object
COORDINATES = ["XMin", "XMax", "YMin", "YMax"]
_PLACE = ["ImageID", "LabelName"]
# The release prints six decimals; a last digit may be rounded differently in the two tables.
_TOLERANCE = 1.001e-6


def join(masks: pd.DataFrame, boxes: pd.DataFrame) -> pd.DataFrame:
    """Join each mask to its box, by image, label and the four coordinates: boxes have no BoxID.

    Args:
        masks: distinct rows of ImageID, LabelName, MaskPath, BoxID, PredictedIoU and the box's
            XMin, XMax, YMin, YMax (fractions).
        boxes: distinct rows of ImageID, LabelName, XMin, XMax, YMin, YMax and the five attributes.

    Returns:
        every box and every mask once, in an order that does not depend on that of the arguments.
        A mask without a box has attributes -1 and HasBox False; a box without a mask has MaskPath
        and BoxID "" and PredictedIoU NaN.
    """
    masks = masks.sort_values([*_PLACE, *COORDINATES, "BoxID", "MaskPath"], ignore_index=True)
    boxes = boxes.sort_values([*_PLACE, *COORDINATES, *release.ATTRIBUTES], ignore_index=True)
    mask_rows, box_rows = match(masks, boxes)
    box_of_mask = np.full(len(masks), -1)
    box_of_mask[mask_rows] = box_rows
    matched = masks[["MaskPath", "BoxID", "PredictedIoU"]].set_index(box_of_mask)
    boxed = boxes.assign(HasBox=True).join(matched)
    unknown = dict.fromkeys(release.ATTRIBUTES, np.int8(-1))
    unboxed = masks[box_of_mask < 0].assign(**unknown, HasBox=False)
    objects = pd.concat([boxed, unboxed], ignore_index=True)
    return objects.fillna({"MaskPath": "", "BoxID": ""})


def match(masks: pd.DataFrame, boxes: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of the masks and boxes that are one object, pair by pair.

    Equal coordinates first, then equal within the tolerance, the nearest first. A mask has at most
    one box and a box at most one mask: the k-th of equal masks goes to the k-th of equal boxes.
    """
    equal = _keys(masks).merge(_keys(boxes), on=[*_PLACE, *COORDINATES, "Count"])
    masks_left = masks.drop(index=equal["Row_x"].tolist())
    boxes_left = boxes.drop(index=equal["Row_y"].tolist())
    near = _near(masks_left, boxes_left)
    rows = pd.concat([equal[["Row_x", "Row_y"]], near], ignore_index=True)
    return rows["Row_x"].to_numpy(dtype=np.int64), rows["Row_y"].to_numpy(dtype=np.int64)


def _keys(frame: pd.DataFrame) -> pd.DataFrame:
    keys = frame[[*_PLACE, *COORDINATES]].copy()
    keys[COORDINATES] = np.rint(keys[COORDINATES] * 1e6).astype(np.int64)
    keys["Count"] = keys.groupby([*_PLACE, *COORDINATES]).cumcount()
    return keys.assign(Row=np.arange(len(keys)))


def _near(masks: pd.DataFrame, boxes: pd.DataFrame) -> pd.DataFrame:
    """Return pairs within the tolerance, each row at most once."""
    pairs = masks[[*_PLACE, *COORDINATES]].assign(Row=masks.index)
    pairs = pairs.merge(boxes[[*_PLACE, *COORDINATES]].assign(Row=boxes.index), on=_PLACE)
    distance = np.zeros(len(pairs))
    for name in COORDINATES:
        distance = np.maximum(distance, (pairs[f"{name}_x"] - pairs[f"{name}_y"]).abs())
    pairs = pairs.assign(Distance=distance)[distance <= _TOLERANCE]
    pairs = pairs.sort_values(["Distance", "Row_x", "Row_y"])[["Row_x", "Row_y"]]
    found = [pairs.iloc[:0]]
    while len(pairs):
        best = pairs[~pairs["Row_x"].duplicated() & ~pairs["Row_y"].duplicated()]
        found.append(best)
        pairs = pairs[~pairs["Row_x"].isin(best["Row_x"]) & ~pairs["Row_y"].isin(best["Row_y"])]
    return pd.concat(found)


def ignore_reasons(objects: pd.DataFrame, choice: Choice) -> pd.Series:
    """Return why each object is ignored, "" for a training target; the first reason counts.

    An unknown attribute counts as not there. An object without a PredictedIoU (most of validation
    and test) is not filtered by it.
    """
    cases = [
        (objects["IsGroupOf"] == 1, "group of"),
        (objects["IsDepiction"] == 1, "depiction"),
        (objects["MaskPath"] == "", NO_MASK),
        *((objects[name] == 1, f"filtered: {name}") for name in choice.exclude),
        *((objects[name] != 1, f"filtered: not {name}") for name in choice.require),
        (objects["PredictedIoU"] < (choice.min_predicted_iou or 0.0), LOW_IOU),
    ]
    reasons = np.select([case for case, _ in cases], [reason for _, reason in cases], default="")
    return pd.Series(reasons, index=objects.index, dtype=objects["MaskPath"].dtype)


def sort(objects: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Return the objects by image, class, place and BoxID, in one order whatever theirs was."""
    rank = objects["ClassName"].map({name: index for index, name in enumerate(classes)})
    order = ["ImageID", "Rank", "XMin", "YMin", "XMax", "YMax", "BoxID"]
    # Without a mask there is no BoxID, and boxes of a Man and a Boy may lie in one place.
    order += ["LabelName", "MaskPath", *release.ATTRIBUTES, "PredictedIoU", "HasBox"]
    return objects.assign(Rank=rank).sort_values(order, ignore_index=True).drop(columns="Rank")
