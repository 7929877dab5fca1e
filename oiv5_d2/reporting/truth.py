"""Annotated images of a prepared data folder; memory holds the chosen ones only."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from oiv5_d2.conversion import coco_file, masks
from oiv5_d2.conversion.image_store import Images
from oiv5_d2.drawing.colours import Colour, colours_of
from oiv5_d2.drawing.shapes import RgbImage, Shape
from oiv5_d2.evaluation.labels import read_label_names
from oiv5_d2.problems import Kind, Problem, Remedy
from oiv5_d2.runs.prepared import Prepared

ATTRIBUTES = ("is_occluded", "is_truncated", "is_inside")
TINY, HUGE = 16**2, 256**2  # square pixels


class AnnotatedImage(NamedTuple):
    """One image's COCO record with the records of its objects and ignored regions."""

    record: dict[str, Any]
    annotations: list[dict[str, Any]]

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The annotations that are training targets."""
        return [one for one in self.annotations if not one["iscrowd"]]

    @property
    def ignored(self) -> list[dict[str, Any]]:
        """The annotations that are neither object nor background."""
        return [one for one in self.annotations if one["iscrowd"]]


class Part(NamedTuple):
    """One part of a prepared data folder, and what its COCO file holds.

    Attributes:
        name: of the data set, such as ``mini_train``.
        coco_path: its COCO file.
        images: where they are read from.
        label_names: display name by MID.
        classes: class name by category id, in the file's order.
        num_objects: training targets per class name.
        num_ignored: ignored regions.
        traits: by image id, what the image shows: classes, child labels, reasons for ignoring,
            attributes, sizes, nothing at all.
    """

    name: str
    coco_path: Path
    images: Images
    label_names: dict[str, str]
    classes: dict[int, str]
    num_objects: dict[str, int]
    num_ignored: int
    traits: dict[int, frozenset[str]]

    @property
    def colours(self) -> dict[str, Colour]:
        """Each class's colour."""
        return colours_of(list(self.classes.values()))


def open_part(prepared: Prepared) -> Part:
    """Read a part's COCO file once and note what each image shows.

    Raises:
        Problem: ABSENT or DAMAGED, the COCO file.
    """
    path = prepared.json_path
    classes = {c["id"]: c["name"] for c in coco_file.read_head(path)["categories"]}
    traits: dict[int, set[str]] = {i["id"]: set() for i in coco_file.read_records(path, "images")}
    counts: Counter[str] = Counter()
    for one in coco_file.read_records(path, "annotations"):
        traits[one["image_id"]] |= _traits(one, classes)
        counts["" if one["iscrowd"] else classes[one["category_id"]]] += 1
    return Part(
        name=prepared.name,
        coco_path=path,
        images=prepared.images,
        label_names=read_label_names(path.parents[1] / "subset" / path.name),
        classes=classes,
        num_objects={name: counts[name] for name in classes.values()},
        num_ignored=counts[""],
        traits={id_: frozenset(found or {"nothing"}) for id_, found in traits.items()},
    )


def read_images(coco_path: Path, image_ids: Collection[int]) -> list[AnnotatedImage]:
    """Return the wanted images in the order of their ids."""
    wanted = set(image_ids)
    annotations: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for one in coco_file.read_records(coco_path, "annotations"):
        if one["image_id"] in wanted:
            annotations[one["image_id"]].append(one)
    images = coco_file.read_records(coco_path, "images")
    return [AnnotatedImage(i, annotations[i["id"]]) for i in images if i["id"] in wanted]


def find_ids(coco_path: Path, names: Iterable[str | int]) -> list[int]:
    """Return the integer ids of images given by their Open Images ids or by these integers.

    Raises:
        Problem: ABSENT, some are not in the file.
    """
    known: dict[str, int] = {}
    for image in coco_file.read_records(coco_path, "images"):
        known |= {str(image["id"]): image["id"], image["open_images_id"]: image["id"]}
    wanted = [str(name) for name in names]  # one of digits alone reads as a number in YAML
    if absent := ", ".join(name for name in wanted if name not in known):
        detail = f"not in {coco_path}, whose first ids are {', '.join(list(known)[:2])}"
        subject, remedy = f"the image {absent}", Remedy.CHANGE_SETTING
        raise Problem(Kind.ABSENT, subject, detail, key="image_ids part", remedy=remedy)
    return [known[name] for name in wanted]


def read_image(part: Part, image: AnnotatedImage) -> RgbImage:
    """Return an image as (H, W, 3) uint8, RGB.

    Raises:
        Problem: ABSENT, there is no such file; DAMAGED, it cannot be read.
    """
    name = image.record["file_name"]
    path = part.images.folder / name
    try:
        with Image.open(part.images.open(name)) as file:
            return np.asarray(file.convert("RGB"))
    except FileNotFoundError as error:
        raise Problem(Kind.ABSENT, path, remedy=Remedy.PREPARE) from error
    except (OSError, ValueError) as error:
        raise Problem(Kind.DAMAGED, path, str(error), remedy=Remedy.PREPARE_AGAIN) from error


def to_shapes(part: Part, image: AnnotatedImage) -> list[Shape]:
    """Return annotations as shapes, tagged with class and child, or the reason for ignoring."""
    shapes = []
    size = image.record["height"], image.record["width"]
    for one in image.annotations:
        x, y, width, height = one["bbox"]
        class_name = tag = part.classes[one["category_id"]]
        child = part.label_names.get(one.get("label", ""), class_name)
        if one["iscrowd"]:
            tag = one.get("ignore_reason") or "ignored"
        elif child != class_name:
            tag = f"{class_name} ({child})"
        mask = masks.decode(masks.to_rle(one["segmentation"], *size))
        box = (x, y, x + width, y + height)
        shapes.append(Shape(class_name, box, mask, tag, ignored=bool(one["iscrowd"])))
    return shapes


def _traits(one: Mapping[str, Any], classes: Mapping[int, str]) -> set[str]:
    if one["iscrowd"]:
        return {f"ignored: {one.get('ignore_reason')}", f"ignored: {classes[one['category_id']]}"}
    class_name = classes[one["category_id"]]
    size = {"tiny"} if one["area"] < TINY else {"huge"} if one["area"] > HUGE else set()
    attributes = {name for name in ATTRIBUTES if one.get(name) == 1}
    return {class_name, f"label {one.get('label')}", *size, *attributes}
