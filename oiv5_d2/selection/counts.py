"""A subset in numbers: what came from which label, what is a training target, and why not."""

from collections.abc import Mapping
from typing import Any

import pandas as pd


def count(
    images: pd.DataFrame, objects: pd.DataFrame, classes: tuple[str, ...], names: Mapping[str, str]
) -> dict[str, Any]:
    """Return a part's counts, over all, by class, and by released label (the roll-up).

    Args:
        images: the part's images, as in `Subset.images`, with Listed: bool.
        objects: the part's objects, as in `Subset.instances`, with HasBox: bool.
        classes: the wanted classes' names, in their order.
        names: display name by MID.
    """
    has_mask, has_box = objects["MaskPath"] != "", objects["HasBox"]
    with_target = objects.loc[objects["Ignore"] == "", "ImageID"]
    return {
        "images": len(images),
        "images_not_listed": int((~images["Listed"]).sum()),
        "images_without_target": int((~images["ImageID"].isin(with_target)).sum()),
        **_count_objects(objects),
        "masks_with_box": int((has_mask & has_box).sum()),
        "masks_without_box": int((has_mask & ~has_box).sum()),
        "boxes_without_mask": int((has_box & ~has_mask).sum()),
        "ignored_because": _count_values(objects["Ignore"][objects["Ignore"] != ""]),
        "images_by_license": _count_values(images["License"]),
        "classes": {
            name: {
                "images": rows["ImageID"].nunique(),
                **_count_objects(rows),
                "labels": {
                    names.get(str(mid), str(mid)): {"mid": mid, **_count_objects(of_label)}
                    for mid, of_label in rows.groupby("LabelName")
                },
            }
            for name in classes
            for rows in [objects[objects["ClassName"] == name]]
        },
    }


def _count_objects(objects: pd.DataFrame) -> dict[str, int]:
    return {
        "objects": len(objects),
        "masks": int((objects["MaskPath"] != "").sum()),
        "targets": int((objects["Ignore"] == "").sum()),
    }


def _count_values(values: pd.Series) -> dict[str, int]:
    return {str(value): int(number) for value, number in values.value_counts().sort_index().items()}
