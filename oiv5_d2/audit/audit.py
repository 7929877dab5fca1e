"""What must be known of prepared data before a minute is spent on training.

``audit`` measures and judges, and writes ``audit.json``: per part the pictures, objects, sizes
and boxes, between parts what leaked, and findings with a severity and a remedy each. The same data
gives the same bytes.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from oiv5_d2.audit import balance
from oiv5_d2.audit.findings import find
from oiv5_d2.audit.leakage import find_leaks
from oiv5_d2.audit.measure import (
    SIZES,
    SeenPicture,
    inspect_pictures,
    measure_objects,
    num_objects,
    presence,
    read_images,
)
from oiv5_d2.conversion.coco import Converted, coco_path, read_converted
from oiv5_d2.files import whole_file
from oiv5_d2.selection.subset import Subset, load

TINY_PIXELS, TINY_SHARE = 16, 1e-4
POOR_IOU = 0.5  # the release's own masks have 0.63 and more with the boxes they began from
FAR_OUTSIDE = 0.2  # of a mask's pixels
NUM_WORST = 10
IOU_EDGES = tuple(round(edge / 10, 1) for edge in range(11))


class _Seen(NamedTuple):
    """One part as found."""

    subset: Subset
    converted: Converted
    images: pd.DataFrame
    objects: pd.DataFrame
    pictures: list[SeenPicture]


def audit(
    data_dir: Path,
    parts: Sequence[str],
    train_parts: Sequence[str] = (),
    workers: int = 1,
    advance: Callable[[int], object] = lambda num_pictures: None,
) -> dict[str, Any]:
    """Look at converted parts, write ``audit.json`` and return it.

    Args:
        data_dir: a folder that has been converted.
        parts: their names.
        train_parts: those that are trained on, for which a sampler is recommended and more is
            demanded; the first part, if none is named.
        workers: processes at most; the result does not depend on it.
        advance: called with the number of pictures newly decoded.

    Raises:
        FileNotFoundError: a part has not been converted.
        ValueError: a file is damaged.
    """
    train_parts = tuple(train_parts) or tuple(parts[:1])
    seen = {part: _look_at(data_dir, part, workers, advance) for part in parts}
    first = next(iter(seen.values()))
    report: dict[str, Any] = {
        "classes": list(first.subset.classes),
        "train_parts": list(train_parts),
        "parts": {part: _describe(each) for part, each in seen.items()},
        "leakage": find_leaks({part: each.pictures for part, each in seen.items()}),
    }
    report["findings"] = [finding._asdict() for finding in find(report)]
    with whole_file(data_dir / "audit.json") as part_path:
        text = json.dumps(report, indent=2, allow_nan=False)
        part_path.write_text(text + "\n", encoding="ascii")
    return report


def read_audit(data_dir: Path) -> dict[str, Any]:
    """Read what `audit` wrote.

    Raises:
        FileNotFoundError: the folder has not been audited.
        ValueError: the file is damaged.
    """
    path = data_dir / "audit.json"
    if not path.exists():
        raise FileNotFoundError(f"{path} is absent: make it with tools/prepare_data.py")
    try:
        report: dict[str, Any] = json.loads(path.read_text(encoding="ascii"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged ({error}): delete it and prepare again") from error
    return report


def _look_at(data_dir: Path, part: str, workers: int, advance: Callable[[int], object]) -> _Seen:
    path = coco_path(data_dir, part)
    converted, subset = read_converted(path), load(data_dir / "subset", part)
    images = read_images(path)
    return _Seen(
        subset=subset,
        converted=converted,
        images=images,
        objects=measure_objects(path, images, subset),
        pictures=inspect_pictures(images, data_dir / "images", workers, advance),
    )


def _describe(seen: _Seen) -> dict[str, Any]:
    """Return all that is known of one part, JSON-ready."""
    objects, classes = seen.objects, seen.subset.classes
    learnt = objects[objects["Reason"] == ""]
    counted = presence(seen.images, objects, len(classes))
    return {
        "images": _describe_images(seen, learnt),
        "objects": {"to_learn": len(learnt), "ignored": seen.converted.ignored},
        "classes": {
            name: _describe_class(
                objects[objects["Category"] == category], _label_names(seen.subset)
            )
            for category, name in enumerate(classes)
        },
        "tiny": _describe_tiny(learnt, seen.images),
        "mask_box_iou": {
            **_histogram(learnt["BoxIoU"]),
            "poor_below": POOR_IOU,
            "num_poor": int((learnt["BoxIoU"] < POOR_IOU).sum()),
            "worst": _worst(learnt, seen.images, "BoxIoU", smallest=True),
        },
        "outside_box": {
            **_histogram(learnt["Outside"]),
            "num_masks": int((learnt["Outside"] > 0).sum()),
            "far_above": FAR_OUTSIDE,
            "num_far": int((learnt["Outside"] > FAR_OUTSIDE).sum()),
            "worst": _worst(learnt[learnt["Outside"] > 0], seen.images, "Outside", smallest=False),
        },
        "predicted_iou": _histogram(learnt["PredictedIoU"]),
        "balance": balance.report(counted, num_objects(seen.images, objects, len(classes))),
    }


def _describe_images(seen: _Seen, learnt: pd.DataFrame) -> dict[str, Any]:
    faults: dict[str, list[dict[str, str]]] = {}
    for picture in seen.pictures:
        if picture.fault:
            kind, _, detail = picture.fault.partition(": ")
            entry = {"image_id": picture.image_id, "detail": detail}
            faults.setdefault(kind, []).append(entry)
    return {
        "wanted": len(seen.subset.images),
        "usable": len(seen.images),
        "with_objects_to_learn": int(learnt["ImageRow"].nunique()),
        "left_out": list(seen.converted.left_out),
        "num_rows_left_out": seen.converted.num_left_out_rows,
        "faults": {kind: faults[kind] for kind in sorted(faults)},
    }


def _describe_class(objects: pd.DataFrame, names: Mapping[str, str]) -> dict[str, Any]:
    learnt = objects[objects["Reason"] == ""]
    return {
        "images": int(learnt["ImageRow"].nunique()),
        "to_learn": len(learnt),
        "ignored": len(objects) - len(learnt),
        "sizes": _by_size(learnt),
        "labels": {
            names.get(str(mid), str(mid)): {"to_learn": len(rows), "sizes": _by_size(rows)}
            for mid, rows in learnt.groupby("Label")
        },
    }


def _by_size(objects: pd.DataFrame) -> dict[str, int]:
    return {size: int((objects["Size"] == size).sum()) for size in SIZES}


def _describe_tiny(learnt: pd.DataFrame, images: pd.DataFrame) -> dict[str, Any]:
    tiny = learnt[(learnt["Area"] < TINY_PIXELS) | (learnt["Share"] < TINY_SHARE)]
    return {
        "below_pixels": TINY_PIXELS,
        "below_share": TINY_SHARE,
        "num_masks": len(tiny),
        "worst": _worst(tiny, images, "Area", smallest=True),
    }


def _histogram(values: pd.Series) -> dict[str, Any]:
    """Return ten bins over [0, 1] (values outside count at its ends), and the middle and ends."""
    known = values.dropna().to_numpy()
    counts, _ = np.histogram(known.clip(0, 1), IOU_EDGES)
    cuts = np.quantile(known, [0, 0.05, 0.5, 1]).round(6).tolist() if len(known) else [None] * 4
    named = dict(zip(("min", "p5", "median", "max"), cuts, strict=True))
    return {"num": len(known), **named, "edges": list(IOU_EDGES), "counts": counts.tolist()}


def _worst(
    objects: pd.DataFrame, images: pd.DataFrame, column: str, smallest: bool
) -> list[dict[str, Any]]:
    rows = objects.sort_values([column, "Id"], ascending=[smallest, True]).head(NUM_WORST)
    worst = pd.DataFrame(
        {
            "image_id": images["ImageID"].iloc[rows["ImageRow"]].to_numpy(),
            "annotation_id": rows["Id"].to_numpy(),
            "mask_path": rows["MaskPath"].to_numpy(),
            "value": rows[column].round(6).to_numpy(),
        }
    )
    return [{str(key): value for key, value in row.items()} for row in worst.to_dict("records")]


def _label_names(subset: Subset) -> dict[str, str]:
    """Return the display name of each released label, as the subset's recipe lists them."""
    classes = subset.recipe.get("counts", {}).get("classes", {})
    return {
        label["mid"]: name for each in classes.values() for name, label in each["labels"].items()
    }
