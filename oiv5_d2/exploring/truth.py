"""One part of a data set, read once from its COCO file."""

from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oiv5_d2.conversion import coco_file
from oiv5_d2.conversion.image_store import Images
from oiv5_d2.evaluation import truth as evaluated
from oiv5_d2.evaluation.labels import read_label_names
from oiv5_d2.evaluation.masks import to_rle
from oiv5_d2.exploring.layers import (
    NO_LABEL,
    Annotations,
    Records,
    flags_of,
    masks_of,
    starts_of,
)
from oiv5_d2.exploring.store import Store, Texts, fingerprint, open_store, save
from oiv5_d2.jobs import Show
from oiv5_d2.problems import Kind, Problem, Remedy
from oiv5_d2.runs.prepared import Prepared

BLOCK = 1 << 24  # bytes that are read at once to count lines


@dataclass(frozen=True)
class Part:
    """The I images of a part with their annotations.

    Attributes:
        name: such as ``validation``.
        dataset: such as ``mini_validation``.
        coco_path: of its COCO file.
        source: where images are read from.
        classes: names in the order of their categories.
        category_ids: as many.
        labels: names of child labels.
        reasons: to ignore an annotation; the first one is "", of an object.
        sizes: (I, 2) int32 height and width.
        names: (I,) bytes: file name and Open Images id in lower case, to be searched.
        image_ids: (I,) int64, of the COCO file.
        open_images_ids: (I,) bytes.
        images: what the file says of each image.
        truth: its annotations.
    """

    name: str
    dataset: str
    coco_path: Path
    source: Images
    classes: list[str]
    category_ids: list[int]
    labels: list[str]
    reasons: list[str]
    sizes: NDArray[np.int32]
    names: NDArray[np.bytes_]
    image_ids: NDArray[np.int64]
    open_images_ids: NDArray[np.bytes_]
    images: Records
    truth: Annotations

    def __len__(self) -> int:
        return len(self.image_ids)


def open_part(prepared: Prepared, cache_dir: Path, show: Show) -> Part:
    """Open a part; the first time its COCO file is read, which takes a minute a gigabyte.

    Args:
        prepared: where it is; nothing is written there.
        cache_dir: where what was read is kept.
        show: shows the progress.

    Raises:
        Problem: ABSENT or DAMAGED, the COCO file; DISK_FULL.
    """
    path = prepared.json_path
    stamp = fingerprint([path, _subset_path(path)])
    build = partial(_build, path, show)
    return _to_part(prepared, open_store(cache_dir, prepared.name, stamp, build))


def to_truth(part: Part) -> evaluated.Truth:
    """Return a part as the evaluation wants it; the records of annotations are left out."""
    truth = part.truth
    sizes, names = part.sizes.tolist(), part.names.tolist()
    images = [
        {"id": id_, "height": size[0], "width": size[1], "file_name": name.decode()}
        for id_, size, name in zip(part.image_ids.tolist(), sizes, names, strict=True)
    ]
    ids = zip(part.category_ids, part.classes, strict=True)
    return evaluated.Truth(
        name=part.dataset,
        sha256="",
        images=images,
        categories=[{"id": id_, "name": name} for id_, name in ids],
        records=[],
        image=truth.image,
        category=truth.category.astype(np.int32),
        boxes=truth.boxes.astype(np.float64),
        areas=truth.areas.astype(np.float64),
        is_crowd=truth.has("ignored"),
        is_group_of=truth.has("group of"),
        masks=truth.masks,
        verified=None,
    )


def _subset_path(coco_path: Path) -> Path:
    return coco_path.absolute().parents[1] / "subset" / coco_path.name


def _build(path: Path, show: Show, folder: Path) -> None:
    """Fill the folder of a store from a COCO file."""
    categories = coco_file.read_head(path)["categories"]
    try:
        with show(f"Index of {path.name}", {"lines": count_lines(path)}) as advance:
            images = _read_images(path, folder, advance)
            rows = _read_annotations(path, folder, categories, images, advance)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        detail = f"not a COCO file as these tools write it: {type(error).__name__} {error}"
        raise Problem(Kind.DAMAGED, path, detail, remedy=Remedy.PREPARE_AGAIN) from error
    names = read_label_names(_subset_path(path))
    about = {
        "categories": [[one["id"], one["name"]] for one in categories],
        "labels": [names.get(mid, mid) for mid in rows.labels],
        "reasons": list(rows.reasons),
    }
    save(folder, images | rows.arrays(), about)


def count_lines(path: Path) -> int:
    """Return the number of lines of a file."""
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(BLOCK), b""))


def _read_images(
    path: Path, folder: Path, advance: Callable[[int], object]
) -> dict[str, NDArray[Any]]:
    ids, sizes = array("q"), array("i")
    names, open_images_ids = [], []
    with Texts(folder, "images") as texts:
        for record in coco_file.read_records(path, "images"):
            texts.append(coco_file.dumps(record).encode())
            ids.append(record["id"])
            sizes.extend((record["height"], record["width"]))
            id_, name = str(record.get("open_images_id", "")), record["file_name"]
            open_images_ids.append(id_.encode())
            names.append((name if id_ in name else f"{name} {id_}").lower().encode())
            advance(1)
    return {
        "image_spans": texts.spans(),
        "image_ids": np.frombuffer(ids, dtype=np.int64),
        "sizes": np.frombuffer(sizes, dtype=np.int32).reshape(-1, 2),
        "names": np.array(names, dtype=np.bytes_),
        "open_images_ids": np.array(open_images_ids, dtype=np.bytes_),
    }


def _read_annotations(
    path: Path,
    folder: Path,
    categories: list[dict[str, Any]],
    images: Mapping[str, NDArray[Any]],
    advance: Callable[[int], object],
) -> "_Rows":
    category_of = {one["id"]: index for index, one in enumerate(categories)}
    with Texts(folder, "annotations") as texts, Texts(folder, "masks") as masks:
        rows = _Rows(texts, masks, images, category_of)
        for record in coco_file.read_records(path, "annotations"):
            rows.append(record)
            advance(1)
    return rows


class _Rows:
    """Annotations that are added one by one.

    Args:
        texts: take their records.
        masks: take their run lengths.
        images: from `_read_images`.
        category_of: index of a class by its category id.
    """

    def __init__(
        self,
        texts: Texts,
        masks: Texts,
        images: Mapping[str, NDArray[Any]],
        category_of: Mapping[int, int],
    ) -> None:
        self._category_of, self._sizes = category_of, images["sizes"].tolist()
        self._image_of = {id_: i for i, id_ in enumerate(images["image_ids"].tolist())}
        self._texts, self._masks = texts, masks
        self._numbers = array("q")  # image, category, label, flags, reason, id
        self._shapes = array("f")  # box, area
        self.labels: dict[str, int] = {}
        self.reasons: dict[str, int] = {"": 0}

    def append(self, record: dict[str, Any]) -> None:
        """Add a record of the COCO file."""
        image = self._image_of[record["image_id"]]
        outline, mid = record.pop("segmentation", None), record.get("label")
        height, width = self._sizes[image]
        self._masks.append(to_rle(outline, (height, width))["counts"] if outline else b"")
        self._texts.append(coco_file.dumps(record).encode())
        label = self.labels.setdefault(mid, len(self.labels)) if mid else NO_LABEL
        why = (record.get("ignore_reason") or "crowd") if record.get("iscrowd") else ""
        reason = self.reasons.setdefault(why, len(self.reasons))
        category = self._category_of[record["category_id"]]
        self._numbers.extend((image, category, label, flags_of(record), reason, record["id"]))
        self._shapes.extend((*record["bbox"], record["area"]))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of `Annotations`, sorted by image."""
        numbers = np.frombuffer(self._numbers, dtype=np.int64).reshape(-1, 6)
        shapes = np.frombuffer(self._shapes, dtype=np.float32).reshape(-1, 5)
        order = np.argsort(numbers[:, 0], kind="stable")
        names = {"image": np.int32, "category": np.int16, "label": np.int16}
        types = names | {"flags": np.uint8, "reason": np.uint8, "ids": np.int64}
        columns = numbers[order].T
        return {
            **{name: columns[i].astype(type_) for i, (name, type_) in enumerate(types.items())},
            "boxes": shapes[order, :4],
            "areas": shapes[order, 4],
            "mask_spans": self._masks.spans()[order],
            "annotation_spans": self._texts.spans()[order],
        }


def _to_part(prepared: Prepared, store: Store) -> Part:
    arrays = store.arrays
    columns = ("image", "category", "boxes", "areas", "label", "flags", "reason", "ids")
    sizes = arrays["sizes"]
    truth = Annotations(
        **{name: arrays[name] for name in columns},
        masks=masks_of(store, sizes[arrays["image"]]),
        starts=starts_of(arrays["image"], len(sizes)),
        records=Records(store.bytes("annotations"), arrays["annotation_spans"]),
    )
    ids, classes = zip(*store.about["categories"], strict=True)
    return Part(
        name=prepared.json_path.stem,
        dataset=prepared.name,
        coco_path=prepared.json_path,
        source=prepared.images,
        classes=list(classes),
        category_ids=list(ids),
        labels=store.about["labels"],
        reasons=store.about["reasons"],
        sizes=sizes,
        names=arrays["names"],
        image_ids=arrays["image_ids"],
        open_images_ids=arrays["open_images_ids"],
        images=Records(store.bytes("images"), arrays["image_spans"]),
        truth=truth,
    )
