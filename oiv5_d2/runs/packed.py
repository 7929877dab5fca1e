"""A COCO file, opened at once: its images packed in a file that all processes map into memory.

A COCO file of a million objects takes half a minute to read, and gigabytes in every process that
does. So what it says is packed once: an Arrow table with a row an image, and its checksum. It is
kept with the prepared data, or in the user's cache if that cannot be written to, and is made again
if the COCO file or the table itself has changed.
"""

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from blake3 import blake3
from numpy.typing import NDArray
from pycocotools import mask as run_lengths

from oiv5_d2.conversion import sealed
from oiv5_d2.conversion.records import REAL_OBJECTS
from oiv5_d2.files import read_json, sha256
from oiv5_d2.problems import Kind, Problem, Remedy

FORMAT = 1  # of the table; another one is made again
OBJECT, REGION, REAL_REGION = range(3)  # kinds; the last is one real object all the same

_KEPT = ("iscrowd", "bbox", "keypoints", "ignore_reason")  # of an annotation, beside its mask
_SCHEMA = pa.schema(
    {
        "file_name": pa.string(),
        "height": pa.int32(),
        "width": pa.int32(),
        "kinds": pa.list_(pa.uint8()),
        "categories": pa.list_(pa.int16()),
        "known": pa.list_(pa.int16()),
        "record": pa.large_binary(),
    }
)

Stamp = tuple[int, int]  # bytes, and time of writing in ns


class Packed:
    """What a COCO file says, image by image in the order of their ids.

    Categories are numbered from 0 in the order of their ids.

    Args:
        json_path: the COCO file.
        table: of it.
        about: ``categories``, pairs of id and name; ``info``; ``sha256``; and ``counts``, the
            numbers of objects and of regions.

    Attributes:
        heights: (N,) of the images.
        widths: (N,).
        ends: (N,), how many annotations the images up to each have together.
        kinds: (M,) of all annotations: `OBJECT`, `REGION` or `REAL_REGION`.
        categories: (M,).
    """

    def __init__(self, json_path: Path, table: pa.Table, about: Mapping[str, Any]) -> None:
        self.json_path, self.about, self._table = json_path, about, table
        self.heights, self.widths = (
            sealed.column(table, n).to_numpy() for n in ("height", "width")
        )
        self.ends: NDArray[np.int32] = sealed.column(table, "kinds").offsets.to_numpy()[1:]
        self.kinds: NDArray[np.uint8] = sealed.column(table, "kinds").values.to_numpy()
        self.categories: NDArray[np.int16] = sealed.column(table, "categories").values.to_numpy()

    def __len__(self) -> int:
        return len(self.heights)

    def __reduce__(self) -> tuple[Any, ...]:
        return open_packed, (self.json_path,)

    def read(self, index: int) -> dict[str, Any]:
        """Return an image: ``image_id``, file name, size and ``annotations`` with category."""
        record: dict[str, Any] = json.loads(sealed.column(self._table, "record")[index].as_py())
        return record

    def known(self, index: int) -> list[bool]:
        """Return for each class whether people verified it in an image; all where nobody says."""
        found, num_classes = (
            sealed.column(self._table, "known")[index].as_py(),
            len(self.about["categories"]),
        )
        return [found is None or number in found for number in range(num_classes)]

    def count_known(self, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return for each class in how many of some images, (N,) bool, it was verified: (K,)."""
        column, num_classes = sealed.column(self._table, "known"), len(self.about["categories"])
        is_of_chosen = np.repeat(chosen, np.diff(column.offsets.to_numpy()))
        counts = np.bincount(column.values.to_numpy()[is_of_chosen], minlength=num_classes)
        knows_all = column.is_null().to_numpy(zero_copy_only=False)
        total: NDArray[np.int64] = counts + np.count_nonzero(knows_all & chosen)
        return total

    def images(self) -> Iterator[dict[str, Any]]:
        """Yield file name and size of each image."""
        names = sealed.column(self._table, "file_name")
        for name, height, width in zip(names, self.heights, self.widths, strict=True):
            yield {"file_name": name.as_py(), "height": int(height), "width": int(width)}


def open_packed(json_path: Path) -> Packed:
    """Return what a COCO file says; the file itself is read only if it has changed.

    Raises:
        Problem: ABSENT or DAMAGED.
    """
    stamp = _stamp(json_path) if json_path.is_file() else None
    return _open(json_path, stamp)


@lru_cache(maxsize=32)
def _open(json_path: Path, stamp: Stamp | None) -> Packed:
    for path in _places(json_path):
        if found := _read(path, json_path, stamp):
            return found
    coco = read_json(json_path, Remedy.PREPARE_AGAIN)
    try:
        table, about = _pack(coco, sha256(json_path), stamp)
    except (KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        detail = f"not a COCO file: {error!r}"
        raise Problem(Kind.DAMAGED, json_path, detail, remedy=Remedy.PREPARE_AGAIN) from error
    del coco  # gigabytes
    return _keep(table, about, json_path, stamp)


def _stamp(path: Path) -> Stamp:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _places(json_path: Path) -> Iterator[Path]:
    """Yield where a table may be kept: with prepared data, and in the user's cache."""
    whole = json_path.absolute()
    if whole.parent.name == "coco":
        yield whole.parent.parent / ".stamps" / f"opened-{whole.stem}.arrow"
    own = os.environ.get("OIV5_D2_CACHE")
    cache = Path(own) if own else Path.home() / ".cache" / "oiv5_d2"
    yield cache / f"{blake3(str(whole).encode()).hexdigest(8)}-{whole.stem}.arrow"


def _read(path: Path, json_path: Path, stamp: Stamp | None) -> Packed | None:
    """Return a kept table; None if it is not there, is damaged, or is not of this COCO file."""
    with suppress(OSError, ValueError, KeyError, pa.ArrowException):
        table, about = sealed.read_table(path)
        is_current = about["format"] == FORMAT and about["stamp"] == list(stamp or ())
        if is_current and sealed.is_whole(path):
            return Packed(json_path, table, about)
    return None


def _keep(
    table: pa.Table, about: Mapping[str, Any], json_path: Path, stamp: Stamp | None
) -> Packed:
    """Write a table where it can be, and return it mapped from there; else from a file unnamed."""
    for path in _places(json_path):
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            sealed.write_table(table, about, path)
            if found := _read(path, json_path, stamp):
                return found
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "opened.arrow"
        sealed.write_table(table, about, path)
        found = _read(path, json_path, stamp)
    assert found is not None
    return found


def _pack(
    coco: Mapping[str, Any], digest: str, stamp: Stamp | None
) -> tuple[pa.Table, dict[str, Any]]:
    categories = {one["id"]: one["name"] for one in coco["categories"]}
    ids = {category_id: index for index, category_id in enumerate(sorted(categories))}
    by_image: dict[int, list[Mapping[str, Any]]] = {one["id"]: [] for one in coco["images"]}
    for annotation in coco["annotations"]:
        by_image.get(annotation["image_id"], []).append(annotation)
    num_regions = sum(one.get("iscrowd", 0) for one in coco["annotations"])
    counts = len(coco["annotations"]) - num_regions, num_regions
    about = {"format": FORMAT, "stamp": stamp, "sha256": digest, "info": coco.get("info", {})}
    about |= {"categories": sorted(categories.items()), "counts": counts}
    images = sorted(coco["images"], key=lambda one: int(one["id"]))
    rows = (_row(one, by_image[one["id"]], ids) for one in images)
    columns: dict[str, list[Any]] = {name: [] for name in _SCHEMA.names}
    for row in rows:
        for name, value in row.items():
            columns[name].append(value)
    return pa.table(columns, schema=_SCHEMA), about


def _row(
    image: Mapping[str, Any], annotations: Iterable[Mapping[str, Any]], ids: Mapping[int, int]
) -> dict[str, Any]:
    kept = [one for one in (_annotation(a, ids) for a in annotations) if one]
    about = {name: image[name] for name in ("file_name", "height", "width")}
    categories = [one["category_id"] for one in kept]
    record = {**about, "image_id": image["id"], "annotations": kept}
    return {
        **about,
        "kinds": [_kind(one) for one in kept],
        "categories": categories,
        "known": _known(image, ids, categories),
        "record": json.dumps(record, separators=(",", ":")).encode(),
    }


def _known(
    image: Mapping[str, Any], ids: Mapping[int, int], categories: Iterable[int]
) -> list[int] | None:
    """Return the classes whose presence or absence people verified; None for all."""
    labels = [image.get(f"{sign}_category_ids") for sign in ("positive", "negative")]
    if None in labels:
        return None
    return sorted({ids[one] for some in labels for one in some or ()} | set(categories))


def _kind(annotation: Mapping[str, Any]) -> int:
    if not annotation.get("iscrowd", 0):
        return OBJECT
    return REAL_REGION if annotation.get("ignore_reason", "") in REAL_OBJECTS else REGION


def _annotation(annotation: Mapping[str, Any], ids: Mapping[int, int]) -> dict[str, Any] | None:
    """Return an annotation as Detectron2 v0.6 keeps it; None if it leaves it out."""
    found = {name: annotation[name] for name in _KEPT if name in annotation}
    found["category_id"] = ids[annotation["category_id"]]
    if mask := annotation.get("segmentation"):
        mask = _run_lengths(mask) if isinstance(mask, dict) else _polygons(mask)
        if not mask:
            return None
        found["segmentation"] = mask
    if points := found.get("keypoints"):  # of pixels, which have their centres at a half
        found["keypoints"] = [v + 0.5 if i % 3 < 2 else v for i, v in enumerate(points)]
    return found


def _run_lengths(mask: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(mask["counts"], list):
        return mask
    packed = run_lengths.frPyObjects(mask, *mask["size"])
    return {"size": mask["size"], "counts": packed["counts"].decode("ascii")}


def _polygons(mask: list[list[float]]) -> list[list[float]]:
    """Return the polygons that are such: of three corners and more."""
    return [one for one in mask if len(one) % 2 == 0 and len(one) >= 6]
