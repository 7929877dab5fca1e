"""What is to be found: a COCO file as arrays, images and categories by index."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oiv5_d2.evaluation.masks import MaskList, Masks, to_rle
from oiv5_d2.files import read_json, sha256
from oiv5_d2.problems import Kind, Problem, Remedy

Record = dict[str, Any]
_ATTRIBUTES = ("is_occluded", "is_truncated", "is_group_of", "is_depiction", "is_inside")


@dataclass(frozen=True)
class Truth:
    """Images, classes and N annotations, in the file's order; classes by their id.

    Attributes:
        name: of the data set.
        sha256: of the file.
        images: records of I images.
        categories: records of C classes.
        records: of the annotations, without their segmentation.
        image: (N,) int32, index of the image.
        category: (N,) int32, index of the class.
        boxes: (N, 4) xywh in pixels.
        areas: (N,) in pixels, as the file has them.
        is_crowd: (N,) a region to ignore, not an object.
        is_group_of: (N,) a box around several objects.
        masks: of the annotations.
        verified: (I, C) 1 where people verified that the class is present, -1 that it is absent,
            0 where nobody looked; None if the file does not say so for any image.
        frame: to which shorter side images are resized for the model, 0 for not at all, and how
            long the other one may get; Detectron2's by default.
    """

    name: str
    sha256: str
    images: list[Record]
    categories: list[Record]
    records: list[Record]
    image: NDArray[np.int32]
    category: NDArray[np.int32]
    boxes: NDArray[np.float64]
    areas: NDArray[np.float64]
    is_crowd: NDArray[np.bool_]
    is_group_of: NDArray[np.bool_]
    masks: Masks
    verified: NDArray[np.int8] | None
    frame: tuple[int, int] = (800, 1333)

    @property
    def classes(self) -> list[str]:
        """The names of the classes."""
        return [category["name"] for category in self.categories]

    @property
    def has_mask(self) -> NDArray[np.bool_]:
        """(N,) True for an object whose mask is to be found: neither ignored nor empty."""
        return ~self.is_crowd & (self.mask_areas > 0)

    @cached_property
    def mask_areas(self) -> NDArray[np.int64]:
        """(N,) in pixels, 0 where there is no mask."""
        return self.masks.areas

    @cached_property
    def sizes(self) -> NDArray[np.int32]:
        """(I, 2) height and width of the images."""
        pairs = [(image["height"], image["width"]) for image in self.images]
        return np.array(pairs, dtype=np.int32).reshape(-1, 2)

    @property
    def num_instances(self) -> dict[str, int]:
        """Objects to find by class; ignored regions are not counted."""
        counts = np.bincount(self.category[~self.is_crowd], minlength=len(self.categories))
        return dict(zip(self.classes, counts.tolist(), strict=True))


def image_order(truth: Truth) -> NDArray[np.int64]:
    """Return the images by their ids: the order in which COCO breaks ties of score."""
    ids = [image["id"] for image in truth.images]
    return np.array(sorted(range(len(ids)), key=ids.__getitem__), dtype=np.int64)


def read_truth(path: Path, name: str | None = None) -> Truth:
    """Read a COCO file, gzipped or not.

    Args:
        path: the file.
        name: of the data set; None for the file's.

    Raises:
        Problem: ABSENT; DAMAGED, it is not JSON, or not a COCO file.
    """
    content = read_json(path, Remedy.CHANGE_SETTING)
    try:
        return build_truth(content, name or path.name.split(".")[0], sha256(path))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        detail = f"not a COCO file: {type(error).__name__}: {error}"
        raise Problem(
            Kind.DAMAGED, path, detail, key="truth", remedy=Remedy.CHANGE_SETTING
        ) from error


def build_truth(content: Record, name: str, digest: str) -> Truth:
    """Return the truth in the content of a COCO file; its annotations are taken apart.

    Args:
        content: images, categories and annotations.
        name: of the data set.
        digest: SHA-256 of the file.
    """
    images, categories = content["images"], sorted(content["categories"], key=lambda c: c["id"])
    image_of = {image["id"]: index for index, image in enumerate(images)}
    category_of = {category["id"]: index for index, category in enumerate(categories)}
    annotations, masks = content["annotations"], MaskList()
    for one in annotations:
        record = images[image_of[one["image_id"]]]
        size = int(record["height"]), int(record["width"])
        outline = one.pop("segmentation", None)
        masks.append(size, to_rle(outline, size)["counts"] if outline else b"")
    packed = masks.finish()
    boxes = _boxes(annotations, packed)
    return Truth(
        name=name,
        sha256=digest,
        images=images,
        categories=categories,
        records=annotations,
        image=np.array([image_of[one["image_id"]] for one in annotations], dtype=np.int32),
        category=np.array([category_of[o["category_id"]] for o in annotations], dtype=np.int32),
        boxes=boxes,
        areas=_areas(annotations, packed, boxes),
        is_crowd=np.array([bool(one.get("iscrowd")) for one in annotations], dtype=np.bool_),
        is_group_of=np.array([_is_group_of(one) for one in annotations], dtype=np.bool_),
        masks=packed,
        verified=_verified(images, category_of),
    )


def _boxes(annotations: Sequence[Record], masks: Masks) -> NDArray[np.float64]:
    given = [one.get("bbox") for one in annotations]
    tight = masks.boxes if None in given else np.empty((len(given), 4))
    boxes = [tight[i] if box is None else box for i, box in enumerate(given)]
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def _areas(
    annotations: Sequence[Record], masks: Masks, boxes: NDArray[np.float64]
) -> NDArray[np.float64]:
    given = [one.get("area") for one in annotations]
    if None not in given:
        return np.array(given, dtype=np.float64)
    own = np.where(masks.present, masks.areas, boxes[:, 2] * boxes[:, 3])
    return np.array([own[i] if area is None else area for i, area in enumerate(given)], np.float64)


def _is_group_of(one: Record) -> bool:
    """Return whether an annotation is a box around several objects.

    An unknown attribute (-1) is read as true, as the challenge's code does, but for a mask that
    has no row in the release's table of boxes: then nothing at all is known. In a file that does
    not say so, every ignored region without another reason is such a box.
    """
    if one.get("is_group_of") is not None:
        unboxed = not one.get("iscrowd") and all(one.get(name) == -1 for name in _ATTRIBUTES)
        return bool(one["is_group_of"]) and not unboxed
    return bool(one.get("iscrowd")) and one.get("ignore_reason", "group of") == "group of"


def _verified(images: Sequence[Record], category_of: Mapping[Any, int]) -> NDArray[np.int8] | None:
    """Return `Truth.verified`; where present and absent contradict one another, present."""
    keys = {"positive_category_ids": 1, "negative_category_ids": -1}
    if not any(key in image for image in images for key in keys):
        return None
    verified = np.zeros((len(images), len(category_of)), dtype=np.int8)
    for row, image in zip(verified, images, strict=True):
        for key, value in reversed(keys.items()):
            row[[category_of[id_] for id_ in image.get(key) or () if id_ in category_of]] = value
    return verified


class Names:
    """Finds images and classes by what a file of predictions calls them.

    Images by id, Open Images id or file name; classes by id, name or MID. Numbers may be text.

    Args:
        truth: the images and classes.
        mids: MID by class name.
    """

    def __init__(self, truth: Truth, mids: Mapping[str, str]) -> None:
        self._images = _by_text(truth.images, ("file_name", "stem", "open_images_id", "id"))
        self._classes = _by_text(truth.categories, ("mid", "name", "id"))
        for index, name in enumerate(truth.classes):
            if name in mids:
                self._classes.setdefault(mids[name], index)

    def image(self, name: object) -> int | None:
        """Return the index of an image; None if there is none of that name."""
        return self._images.get(str(name))

    def category(self, name: object) -> int | None:
        """Return the index of a class; None if there is none of that name."""
        return self._classes.get(str(name))


def _by_text(records: Iterable[Record], keys: Sequence[str]) -> dict[str, int]:
    """Return indices by text; a later key wins over an earlier one."""
    found: dict[str, int] = {}
    records = [{**one, "stem": PurePosixPath(one.get("file_name", "")).stem} for one in records]
    for key in keys:
        found |= {str(one[key]): i for i, one in enumerate(records) if one.get(key) is not None}
    return found
