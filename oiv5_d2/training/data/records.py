"""The images of data sets in Detectron2's format, each made when it is asked for."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
from detectron2.data import MetadataCatalog
from detectron2.structures import BoxMode
from numpy.typing import NDArray

from oiv5_d2.conversion.image_store import Images, Place
from oiv5_d2.conversion.records import REAL_OBJECTS
from oiv5_d2.runs.packed import OBJECT, REAL_REGION, Packed, open_packed
from oiv5_d2.runs.prepared import Prepared

Record = dict[str, Any]  # one image in Detectron2's format
Indices = NDArray[np.int64]
PLACE = "place"  # of a record: where its image is packed; images that are files have none

_OF_OBJECTS = ("kinds", "categories")


class Objects(NamedTuple):
    """The annotations of some images, as arrays.

    Attributes:
        num_images: N.
        images: (M,), from 0 to N - 1.
        categories: (M,).
        is_target: (M,) bool; the others are ignored regions.
        has_mask: (M,) bool.
    """

    num_images: int
    images: Indices
    categories: Indices
    is_target: NDArray[np.bool_]
    has_mask: NDArray[np.bool_]

    def only(self, chosen: NDArray[np.bool_]) -> "Objects":
        """Return some of the annotations, (M,) bool, of the same images."""
        arrays: tuple[Any, ...] = tuple(one[chosen] for one in self[1:])
        return Objects(self.num_images, *arrays)

    def showing(self, chosen: NDArray[np.bool_]) -> Indices:
        """Return the images that have some of the annotations, (M,) bool, in their order."""
        shown = np.zeros(self.num_images, np.bool_)
        shown[self.images[chosen]] = True
        return np.flatnonzero(shown)


class Part(NamedTuple):
    """One data set.

    Attributes:
        packed: its COCO file.
        images: where they are read from.
    """

    packed: Packed
    images: Images


class Records(Sequence[Record]):
    """Images of one or more data sets; a process keeps a few bytes of each.

    ``file_name`` is where an image's file would be, also if it is packed: see `read_image`.

    Args:
        parts: the data sets, of the same classes.
        boxes: None for records as Detectron2's own ``load_coco_json`` makes them. Otherwise each
            has ``verified``: for every class, whether people verified that it is in the image or
            that it is not; and each annotation ``has_mask``. True: objects without a mask are
            targets; False: they are ignore regions.
        places: of the wanted images among all; None for all of them.
    """

    def __init__(
        self, parts: Sequence[Part], boxes: bool | None = None, places: Indices | None = None
    ) -> None:
        self._parts, self._boxes = tuple(parts), boxes
        self._ends = np.cumsum([len(part.packed) for part in parts])
        self._places = np.arange(self._ends[-1]) if places is None else places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> "Records": ...
    def __getitem__(self, index: int | slice) -> "Record | Records":
        """Return an image's record, or some of the images."""
        if isinstance(index, slice):
            return Records(self._parts, self._boxes, self._places[index])
        place = int(self._places[index])
        number = int(np.searchsorted(self._ends, place, side="right"))
        packed, images = self._parts[number]
        row = place - int(self._ends[number]) + len(packed)
        record = packed.read(row)
        if images.pack is not None:
            record[PLACE] = Place(images, record["file_name"])
        record["file_name"] = os.path.join(images.folder, record["file_name"])
        for annotation in record["annotations"]:
            self._complete(annotation)
        if self._boxes is not None:
            record["verified"] = packed.known(row)
        return record

    def _complete(self, annotation: dict[str, Any]) -> None:
        annotation["bbox_mode"] = BoxMode.XYWH_ABS
        if self._boxes is None:
            annotation.pop("ignore_reason", None)
            return
        annotation["has_mask"] = not annotation.get("iscrowd", 0)
        is_real = annotation.get("ignore_reason", "") in REAL_OBJECTS
        is_target = annotation["has_mask"] or (self._boxes and is_real)
        annotation["iscrowd"] = int(not is_target)

    def chosen(self, index: Indices) -> "Records":
        """Return some of the images, each once."""
        return Records(self._parts, self._boxes, self._places[index])

    @property
    def is_remote(self) -> bool:
        """Whether images are read from a bucket."""
        return any(part.images.is_remote for part in self._parts)

    @property
    def is_wide(self) -> NDArray[np.bool_]:
        """Which images are wider than high: (N,)."""
        wide = [part.packed.widths > part.packed.heights for part in self._parts]
        found: NDArray[np.bool_] = np.concatenate(wide)[self._places]
        return found

    def objects(self) -> Objects:
        """Return all annotations."""
        packed = [part.packed for part in self._parts]
        counts = np.concatenate([np.diff(one.ends, prepend=0) for one in packed])
        numbers = np.full(len(counts), -1)  # of the chosen images
        numbers[self._places] = np.arange(len(self))
        images = np.repeat(numbers, counts)
        kinds, categories = (np.concatenate([getattr(o, n) for o in packed]) for n in _OF_OBJECTS)
        has_mask = kinds == OBJECT
        is_target = has_mask | (kinds == REAL_REGION) if self._boxes else has_mask
        everything = Objects(len(self), images, categories, is_target, has_mask)
        return everything.only(images >= 0)

    def with_targets(self) -> "Records":
        """Return the images with something to learn."""
        objects = self.objects()
        return self.chosen(objects.showing(objects.is_target))

    def count_unverified(self) -> list[int]:
        """Return for each class in how many images nobody verified whether it is there."""
        chosen = np.zeros(self._ends[-1], np.bool_)
        chosen[self._places] = True
        of_parts = zip(self._parts, np.split(chosen, self._ends[:-1]), strict=True)
        known = np.sum([part.packed.count_known(some) for part, some in of_parts], axis=0)
        return [len(self) - count for count in known.tolist()]


def read_records(names: Iterable[str], boxes: bool | None = None) -> Records:
    """Return the images of data sets of the catalog; `boxes` as in `Records`."""
    abouts = [MetadataCatalog.get(name) for name in names]
    files = [Prepared(one.name, Path(one.json_file), Path(one.image_root)) for one in abouts]
    return Records([part_of(one) for one in files], boxes)


def part_of(dataset: Prepared) -> Part:
    """Return a prepared data set as `Records` wants it."""
    return Part(open_packed(dataset.json_path), dataset.images)


def read_image(record: Record) -> bytes:
    """Return the bytes of a record's image.

    Raises:
        OSError: it cannot be read.
        Problem: DAMAGED, it is not what was packed.
    """
    place: Place | None = record.get(PLACE)
    if place:
        return place.read()
    with open(record["file_name"], "rb") as file:
        return file.read()
