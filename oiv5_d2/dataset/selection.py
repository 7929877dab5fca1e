"""From a split's tables to chosen images and all that is known of the wanted classes on them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from oiv5_d2.dataset import objects, sampling
from oiv5_d2.dataset.choice import Choice
from oiv5_d2.dataset.tables import CREDITS, Tables, find
from oiv5_d2.dataset.verified import absences, verified_classes
from oiv5_d2.openimages import release
from oiv5_d2.openimages.classes import read_classes, read_hierarchy, roll_up
from oiv5_d2.openimages.files import sha256
from oiv5_d2.openimages.image_ids import ImageIds

_CLASS_FILES = (release.CLASS_CSV, release.HIERARCHY_JSON)
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


def read_wanted(annotations_dir: Path, choice: Choice) -> Wanted:
    """Look the chosen classes up in the release's class table and tree."""
    files = {file.path: find(annotations_dir, file) for file in _CLASS_FILES}
    csv_path, json_path = files.values()
    classes, hierarchy = read_classes(csv_path), read_hierarchy(json_path)
    owners = roll_up(choice.classes, classes, hierarchy, children=choice.roll_up)
    mids = [classes.mid(name) for name in choice.classes]
    return Wanted(
        names=classes.names,
        classes=tuple(classes.name(mid) for mid in mids),
        owners={mid: classes.name(owner) for mid, owner in owners.items()},
        absent=absences(mids, classes, hierarchy),
        inputs={
            name: {"bytes": path.stat().st_size, "sha256": sha256(path)}
            for name, path in files.items()
        },
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

    Attributes are in the box table only. Of it no more is held here than the boxes that are
    refused, so that a small limit on a large split stays small.
    """
    flags = (*objects.NEVER_LEARNT, *choice.exclude)
    refused = tables.flagged_boxes(pd.Series(masks["ImageID"].unique()), flags)
    seen = objects.join(masks, refused)
    reasons = objects.ignore_reasons(seen, choice.exclude, choice.min_predicted_iou)
    seen = seen.assign(ClassName=seen["LabelName"].map(tables.owners))
    learnable = seen[reasons == ""]
    if not choice.only_masked:
        return pd.concat([learnable[_KEY], tables.unflagged_boxes(flags)]).drop_duplicates()
    return learnable.groupby(_KEY).size().reset_index(name="Count")


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
        Ignore=objects.ignore_reasons(seen, choice.exclude, choice.min_predicted_iou),
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
