"""From a split's tables to chosen images and all that is known of the wanted classes on them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from oiv5_d2.acquisition.tables.sources import TableSource
from oiv5_d2.openimages import release
from oiv5_d2.openimages.classes import read_classes, read_hierarchy, roll_up
from oiv5_d2.openimages.image_ids import ImageIds
from oiv5_d2.selection import objects, sampling
from oiv5_d2.selection.options import Choice
from oiv5_d2.selection.rows import CREDITS, Tables
from oiv5_d2.selection.verified import absences, verified_classes

_KEY = ["ImageID", "ClassName"]


@dataclass(frozen=True)
class Wanted:
    """The wanted classes among the release's."""

    names: Mapping[str, str]
    """Display name by MID, of the whole release."""
    classes: tuple[str, ...]
    """The wanted classes' display names, in the order of their categories."""
    owners: Mapping[str, str]
    """The wanted class's name by MID, for every label that is rolled up into one."""
    absent: Mapping[str, tuple[str, ...]]
    """The names of the wanted classes that are absent where a MID is verified absent."""
    inputs: Mapping[str, dict[str, Any]]
    """Bytes and SHA-256 of the class table and the tree, by path in the release."""


def read_wanted(source: TableSource, choice: Choice) -> Wanted:
    """Look the chosen classes up in the release's class table and tree."""
    classes, class_input = source.parse(release.CLASS_CSV, read_classes)
    hierarchy, tree_input = source.parse(release.HIERARCHY_JSON, read_hierarchy)
    owners = roll_up(choice.classes, classes, hierarchy, children=choice.roll_up)
    mids = [classes.mid(name) for name in choice.classes]
    return Wanted(
        names=classes.names,
        classes=tuple(classes.name(mid) for mid in mids),
        owners={mid: classes.name(owner) for mid, owner in owners.items()},
        absent=absences(mids, classes, hierarchy),
        inputs={release.CLASS_CSV.path: class_input, release.HIERARCHY_JSON.path: tree_input},
    )


def choose_images(tables: Tables, choice: Choice, masks: pd.DataFrame) -> dict[str, pd.Series]:
    """Return the sorted ids of each part's images, as `select` documents the choice."""
    counts = _count_learnable(tables, choice, masks)
    parts = sampling.cut(
        pd.Series(counts["ImageID"].unique()), choice.parts_of(tables.split), choice.seed
    )
    if choice.limit_per_class is None:
        return parts
    if choice.limit_unit == "images":
        counts = counts.assign(Count=1)
    return {
        part: sampling.limit(
            counts[ImageIds.of(image_ids).contain(counts["ImageID"])],
            choice.limit_per_class,
            choice.seed,
        )
        for part, image_ids in parts.items()
    }


def _count_learnable(tables: Tables, choice: Choice, masks: pd.DataFrame) -> pd.DataFrame:
    """Return ImageID, ClassName, Count: what makes an image worth choosing, by class.

    Attributes are in the box table only. Of it no more is held here than the boxes that decide, as
    a rule the few that are refused, so that a small limit on a large split stays small.
    """
    refused = (*objects.NEVER_LEARNT, *choice.exclude)
    image_ids = pd.Series(masks["ImageID"].unique())
    seen = objects.join(masks, tables.telling_boxes(image_ids, refused, choice.require))
    reasons = _ignore_reasons(seen, choice)
    seen = seen.assign(ClassName=seen["LabelName"].map(tables.owners))
    learnable = seen[reasons == ""]
    if not choice.only_masked:
        boxes = tables.good_boxes(refused, choice.require)
        return pd.concat([learnable[_KEY], boxes]).drop_duplicates()
    return learnable.groupby(_KEY).size().reset_index(name="Count")


def _ignore_reasons(seen: pd.DataFrame, choice: Choice) -> pd.Series:
    return objects.ignore_reasons(seen, choice.exclude, choice.min_predicted_iou, choice.require)


def gather(
    tables: Tables, choice: Choice, wanted: Wanted, masks: pd.DataFrame, image_ids: pd.Series
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the given images and the objects on them.

    Returns:
        images, sorted, with the columns of `Subset.images` and Listed (in the list of images);
        objects, sorted, with the columns of `Subset.instances` and HasBox.
    """
    boxes = tables.boxes(image_ids)
    seen = objects.join(masks[ImageIds.of(image_ids).contain(masks["ImageID"])], boxes)
    seen = seen.assign(
        ClassName=seen["LabelName"].map(wanted.owners),
        Ignore=_ignore_reasons(seen, choice),
    )
    seen = objects.sort(seen, wanted.classes)
    if choice.only_masked:
        # Two boxes in one place, one of them refused: the join alone knows which has the mask.
        learnt = ImageIds.of(seen.loc[seen["Ignore"] == "", "ImageID"])
        seen = seen[learnt.contain(seen["ImageID"])]
        image_ids = image_ids[learnt.contain(image_ids)]
    labels = tables.image_labels(image_ids, [*wanted.owners, *wanted.absent])
    verified = verified_classes(labels, wanted.owners, wanted.absent)
    images = pd.DataFrame({"ImageID": image_ids, "Split": tables.split})
    images = images.merge(verified, how="left", left_on="ImageID", right_index=True)
    listed = tables.images(image_ids)
    images = images.assign(Listed=ImageIds.of(listed["ImageID"]).contain(image_ids))
    images = images.merge(listed, how="left", on="ImageID")
    text = dict.fromkeys(["PositiveClasses", "NegativeClasses", *CREDITS], "")
    return images.fillna(text).sort_values("ImageID", ignore_index=True), seen
