"""A ready COCO file as an audit measures it: no release's tables say what it was made from."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from oiv5_d2.audit import measure
from oiv5_d2.audit.figures import Measured
from oiv5_d2.conversion import coco_file
from oiv5_d2.conversion.adopt import ADOPTED
from oiv5_d2.conversion.convert import Converted
from oiv5_d2.conversion.image_store import Images
from oiv5_d2.selection.subset import Subset


def is_adopted(path: Path) -> bool:
    """Return True if `conversion.adopt` wrote a COCO file."""
    return ADOPTED in coco_file.read_head(path)["info"]


def measure_adopted(
    path: Path, source: Images, workers: int, advance: Callable[[int], object]
) -> Measured:
    """Measure a COCO file that `conversion.adopt` wrote; see `figures.Measured`.

    Images are known by their file names, because ids of two files may be the same numbers. Their
    EXIF orientation does not count: sizes were compared as an image is seen.
    """
    images = measure.read_images(path)
    images["ImageID"] = images["FileName"]
    subset = _subset(path, images)
    files = [
        file._replace(fault="", detail="") if file.fault == "turned" else file
        for file in measure.inspect_images(images, source, workers, advance)
    ]
    objects = measure.measure_objects(path, images, _box_of(images))
    return Measured(subset, _converted(path.stem, len(images), objects), images, objects, files)


def _subset(path: Path, images: pd.DataFrame) -> Subset:
    categories = sorted(coco_file.read_head(path)["categories"], key=lambda one: int(one["id"]))
    classes = tuple(one["name"] for one in categories)
    return Subset(path.stem, classes, images[["ImageID"]], pd.DataFrame(), recipe={})


def _box_of(images: pd.DataFrame) -> Callable[[Any], Sequence[float]]:
    """Return a function of an annotation: XMin, YMin, XMax, YMax of its box, as fractions."""
    ids, sizes = images["Id"].tolist(), images[["Width", "Height"]].to_numpy().tolist()
    size_of = dict(zip(ids, sizes, strict=True))

    def box_of(annotation: Any) -> Sequence[float]:
        (width, height), (x, y, w, h) = size_of[annotation["image_id"]], annotation["bbox"]
        ends = (x / width, y / height, (x + w) / width, (y + h) / height)
        return [min(max(end, 0.0), 1.0) for end in ends]

    return box_of


def _converted(part: str, num_images: int, objects: pd.DataFrame) -> Converted:
    ignored = Counter(objects["Reason"])
    num_targets = ignored.pop("", 0)
    ignored_by_reason = dict(sorted(ignored.items()))
    num = len(objects)
    return Converted(part, num, num_images, num, num_targets, ignored_by_reason, (), 0)
