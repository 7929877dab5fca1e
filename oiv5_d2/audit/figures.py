"""The figures of one measured part, ready for ``audit.json``."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from oiv5_d2.audit import balance
from oiv5_d2.audit.measure import SIZES, ImageFile, count_by_class
from oiv5_d2.conversion.convert import Converted
from oiv5_d2.selection.subset import Subset

AUDIT_JSON = "audit.json"
TINY_PIXELS, TINY_SHARE = 16, 1e-4
POOR_IOU = 0.5  # the release's masks have 0.63 and more with their annotator's box
FAR_OUTSIDE = 0.2  # of a mask's pixels
NUM_WORST = 10
IOU_EDGES = tuple(round(edge / 10, 1) for edge in range(11))


class Measured(NamedTuple):
    """One part, as it was measured.

    Attributes:
        subset: what it was made from.
        converted: what became of it.
        images: from `measure.read_images`, a row an image of the COCO file.
        objects: from `measure.measure_objects`, a row an annotation.
        files: from `measure.inspect_images`.
    """

    subset: Subset
    converted: Converted
    images: pd.DataFrame
    objects: pd.DataFrame
    files: list[ImageFile]


def describe(seen: Measured) -> dict[str, Any]:
    """Return everything that was measured of one part, JSON-ready."""
    images, objects, classes = seen.images, seen.objects, seen.subset.classes
    targets = objects[objects["Reason"] == ""]
    outside = targets[targets["Outside"] > 0]
    tiny = targets[(targets["Area"] < TINY_PIXELS) | (targets["Share"] < TINY_SHARE)]
    num_targets, num_annotations = count_by_class(images, objects, len(classes))
    labels = _label_names(seen.subset)
    return {
        "images": _describe_images(seen, targets),
        "objects": {"targets": len(targets), "ignored": seen.converted.ignored},
        "classes": {
            name: _describe_class(objects[objects["Category"] == category], labels)
            for category, name in enumerate(classes)
        },
        "tiny": {
            "below_pixels": TINY_PIXELS,
            "below_share": TINY_SHARE,
            "num_masks": len(tiny),
            "worst": _worst(tiny, images, "Area"),
        },
        "mask_box_iou": {
            **_histogram(targets["BoxIoU"]),
            "poor_below": POOR_IOU,
            "num_poor": int((targets["BoxIoU"] < POOR_IOU).sum()),
            "worst": _worst(targets, images, "BoxIoU"),
        },
        "outside_box": {
            **_histogram(targets["Outside"]),
            "num_masks": len(outside),
            "far_above": FAR_OUTSIDE,
            "num_far": int((targets["Outside"] > FAR_OUTSIDE).sum()),
            "worst": _worst(outside, images, "Outside", ascending=False),
        },
        "predicted_iou": _histogram(targets["PredictedIoU"]),
        "balance": balance.report(num_annotations > 0, num_targets),
    }


def _describe_images(seen: Measured, targets: pd.DataFrame) -> dict[str, Any]:
    faults: dict[str, list[dict[str, str]]] = {}
    for file in seen.files:
        if file.fault:
            entry = {"open_images_id": file.open_images_id, "detail": file.detail}
            faults.setdefault(file.fault, []).append(entry)
    return {
        "wanted": len(seen.subset.images),
        "usable": len(seen.images),
        "with_targets": int(targets["ImageRow"].nunique()),
        "left_out": list(seen.converted.left_out),
        "num_rows_left_out": seen.converted.num_left_out_rows,
        "faults": {kind: faults[kind] for kind in sorted(faults)},
        "other_shape": _other_shapes(seen),
    }


def _other_shapes(seen: Measured) -> list[dict[str, str]]:
    """Return the images whose masks have another shape than they."""
    shapes = seen.objects[seen.objects["Shape"] != ""].groupby("ImageRow")["Shape"].first()
    ids = seen.images["ImageID"].iloc[shapes.index].tolist()
    return [{"open_images_id": id_, "shape": shape} for id_, shape in zip(ids, shapes, strict=True)]


def _describe_class(objects: pd.DataFrame, names: Mapping[str, str]) -> dict[str, Any]:
    targets = objects[objects["Reason"] == ""]
    return {
        "images": int(targets["ImageRow"].nunique()),
        "targets": len(targets),
        "ignored": len(objects) - len(targets),
        "sizes": _by_size(targets),
        "labels": {
            names.get(str(mid), str(mid)): {"targets": len(rows), "sizes": _by_size(rows)}
            for mid, rows in targets.groupby("Label")
        },
    }


def _by_size(objects: pd.DataFrame) -> dict[str, int]:
    return {size: int((objects["Size"] == size).sum()) for size in SIZES}


def _histogram(values: pd.Series) -> dict[str, Any]:
    """Return ten bins over [0, 1] (values outside count in the first and last), and quantiles."""
    known = values.dropna().to_numpy()
    counts, _ = np.histogram(known.clip(0, 1), IOU_EDGES)
    cuts = np.quantile(known, [0, 0.05, 0.5, 1]).round(6).tolist() if len(known) else [None] * 4
    named = dict(zip(("min", "p5", "median", "max"), cuts, strict=True))
    return {"num": len(known), **named, "edges": list(IOU_EDGES), "counts": counts.tolist()}


def _worst(
    objects: pd.DataFrame, images: pd.DataFrame, column: str, ascending: bool = True
) -> list[dict[str, Any]]:
    rows = objects.sort_values([column, "Id"], ascending=[ascending, True]).head(NUM_WORST)
    return [
        {
            "open_images_id": images["ImageID"].iloc[row["ImageRow"]],
            "annotation_id": row["Id"],
            "mask_path": row["MaskPath"],
            "value": round(row[column], 6),
        }
        for row in rows.to_dict("records")
    ]


def _label_names(subset: Subset) -> dict[str, str]:
    """Return the display name by released label, from the subset's recipe."""
    classes = subset.recipe.get("counts", {}).get("classes", {})
    return {
        label["mid"]: name for each in classes.values() for name, label in each["labels"].items()
    }
