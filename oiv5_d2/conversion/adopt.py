"""A COCO file of one's own, from any tool, as training and evaluation want it.

Objects become run lengths, ids become numbers from 1, categories the wanted classes in their order.
What cannot be understood without a guess is refused, with the file and the record. Objects without
a mask become ignored regions with the shape of their box. Images are used where they are.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from pycocotools import mask as coco_mask

from oiv5_d2.conversion import coco_file, masks
from oiv5_d2.conversion.images import check_images, size_of
from oiv5_d2.conversion.records import EMPTY_MASK
from oiv5_d2.conversion.run_lengths import is_of_size
from oiv5_d2.files import read_json
from oiv5_d2.keys import near
from oiv5_d2.problems import Kind, Problem, Remedy, wrong_setting

CROWD, NO_MASK = "crowd", "no mask"  # why an object is ignored
_LISTS = ("images", "annotations", "categories")
_SHOWN = 8  # categories of a file, in an error

Record = Mapping[str, Any]


@dataclass
class Adopted:
    """What became of a COCO file."""

    num_images: int = 0
    num_objects: dict[str, int] = field(default_factory=dict)
    """To be learnt, by class."""
    num_ignored: int = 0
    num_of_other_classes: int = 0
    """Annotations that are left out."""


def adopt(
    path: Path,
    images_dir: Path | None,
    classes: Sequence[str],
    to: Path,
    workers: int = 1,
    advance: Callable[[int], object] = lambda num_images: None,
) -> Adopted:
    """Write a COCO file anew as the other rooms want it.

    Args:
        path: the file; it and its images are only read.
        images_dir: what ``file_name`` is relative to; None for the file's folder, or ``images`` in
            it or beside it.
        classes: names of its categories, which get the ids from 1.
        to: where the new file goes.
        workers: the most processes to look at the images with.
        advance: called with the number of images newly looked at.

    Raises:
        Problem: ABSENT, the file or an image; DAMAGED, with the record; SETTING, a class that the
            file does not have.
    """
    content = _read(path)
    category_ids = _categories(path, content["categories"], classes)
    images = _images(path, content["images"], _find_folder(path, images_dir, content["images"]))
    faults = check_images(images.values(), Path("/"), workers, None, advance)
    if faults:
        more = f"; {len(faults) - 1} more such images" if len(faults) > 1 else ""
        detail, keys = f"{faults[0].what}{more}", "data.images"
        subject, remedy = faults[0].file_name, Remedy.FIX_SOURCE
        raise Problem(Kind.DAMAGED, subject, detail, key=keys, remedy=remedy)
    adopted = Adopted(len(images), dict.fromkeys(classes, 0))
    annotations = _annotations(path, content["annotations"], images, category_ids, adopted)
    head = {
        **{key: value for key, value in content.items() if key not in _LISTS},
        "categories": [{"id": id_, "name": name} for id_, name in enumerate(classes, start=1)],
    }
    lines = (map(coco_file.dumps, records) for records in (images.values(), annotations))
    coco_file.write(to, head, *lines)
    return adopted


def _read(path: Path) -> dict[str, Any]:
    content = read_json(path, Remedy.FIX_SOURCE)
    if not isinstance(content, dict):
        content = {}
    for name in _LISTS:
        if not isinstance(content.get(name), list):
            _refuse(path, "the file", f"it has no list of {name}")
    for name in ("images", "categories"):
        if not content[name]:
            _refuse(path, "the file", f"its list of {name} is empty")
    return content


def _categories(path: Path, records: Sequence[Any], classes: Sequence[str]) -> dict[Any, int]:
    """Return the new category id of each old one; 0 for a class that is not wanted."""
    names: dict[Any, str] = {}
    for record in records:
        id_, name = _id(path, "category", record), record.get("name")
        if not isinstance(name, str) or not name.strip() or id_ in names:
            _refuse(path, f"category {id_!r}", "it has no name, or its id is there twice")
        names[id_] = name.strip()
    if twice := [name for name in names.values() if list(names.values()).count(name) > 1]:
        _refuse(path, f"category {twice[0]}", "its name is there twice")
    unknown = [name for name in classes if name not in names.values()]
    if unknown:
        there = sorted(names.values())
        more = ", ..." if len(there) > _SHOWN else ""
        detail = f"not in {path}, which has {', '.join(there[:_SHOWN])}{more}"
        raise wrong_setting("data.classes", ", ".join(unknown), detail + near(unknown[0], there))
    return {id_: classes.index(name) + 1 if name in classes else 0 for id_, name in names.items()}


def _find_folder(path: Path, images_dir: Path | None, records: Sequence[Any]) -> Path:
    """Return the folder that the first image's name is relative to."""
    first = _file_name(path, records[0])
    beside = (path.parent, path.parent / "images", path.parent.parent / "images")
    folders = [images_dir] if images_dir else beside
    for folder in folders:
        if folder and (folder / first).is_file():
            return folder.absolute()
    tried = ", ".join(str(folder) for folder in folders)
    detail, remedy = f"looked for in {tried}", Remedy.CHANGE_SETTING
    raise Problem(Kind.ABSENT, first, detail, key="data.images", remedy=remedy)


def _images(path: Path, records: Sequence[Any], folder: Path) -> dict[Any, dict[str, Any]]:
    """Return the new record of each image by its old id."""
    found: dict[Any, dict[str, Any]] = {}
    for record in records:
        old = _id(path, "image", record)
        if old in found:
            _refuse(path, f"image {old!r}", "its id is there twice")
        file_path = folder / _file_name(path, record)
        size = record.get("height"), record.get("width")
        if not all(isinstance(side, int) and side > 0 for side in size):
            size = _size_of(path, old, file_path)
        found[old] = {
            "open_images_id": str(old),  # by which the tools find an image
            **record,
            "file_name": str(file_path),
            "height": size[0],
            "width": size[1],
        }
    ids = _numbers(list(found))
    return {old: {**record, "id": ids[old]} for old, record in found.items()}


def _size_of(path: Path, id_: Any, file_path: Path) -> tuple[int, int]:
    try:
        return size_of(file_path)
    except (OSError, ValueError) as error:
        _refuse(path, f"image {id_!r}", f"it has no size, and {file_path} has none: {error}")


def _annotations(
    path: Path,
    records: Sequence[Any],
    images: Mapping[Any, Record],
    category_ids: Mapping[Any, int],
    adopted: Adopted,
) -> Iterator[dict[str, Any]]:
    """Yield the new record of each wanted annotation, and count it."""
    ids = _numbers([_id(path, "annotation", record) for record in records])
    names = list(adopted.num_objects)
    for record in records:
        who = f"annotation {record['id']!r}"
        if record.get("image_id") not in images:
            _refuse(path, who, f"its image {record.get('image_id')!r} is not in the file")
        if record.get("category_id") not in category_ids:
            _refuse(path, who, f"its category {record.get('category_id')!r} is not in the file")
        category_id = category_ids[record["category_id"]]
        if not category_id:
            adopted.num_of_other_classes += 1
            continue
        image = images[record["image_id"]]
        region = _region(path, who, record, image["height"], image["width"])
        adopted.num_ignored += region["iscrowd"]
        adopted.num_objects[names[category_id - 1]] += not region["iscrowd"]
        kept = {key: value for key, value in record.items() if key != "ignore"}
        yield {
            **kept,
            "id": ids[record["id"]],
            "image_id": image["id"],
            "category_id": category_id,
            **region,
        }


def _region(path: Path, who: str, record: Record, height: int, width: int) -> dict[str, Any]:
    """Return what an annotation says of its object: bbox, area, iscrowd, segmentation, and why."""
    box = _box(path, who, record.get("bbox"))
    rle = _run_lengths(path, who, record.get("segmentation"), height, width)
    area = int(coco_mask.area(rle)) if rle else 0
    reason = record.get("ignore_reason") or (CROWD if record.get("iscrowd") else "")
    if rle and area:
        tight = [float(side) for side in coco_mask.toBbox(rle)]
        region = {"bbox": box or tight, "area": area, "segmentation": rle}
    elif box:
        x, y, w, h = box
        sides = (x / width, y / height, (x + w) / width, (y + h) / height)
        ends = masks.RelBox(*(min(max(side, 0.0), 1.0) for side in sides))
        drawn = masks.encode_box(ends, height, width)
        region = {"bbox": box, "area": drawn.area, "segmentation": drawn.rle}
        reason = reason or (EMPTY_MASK if rle else NO_MASK)
    else:
        _refuse(path, who, "it has neither a mask nor a box")
    return {**region, "iscrowd": int(bool(reason)), "ignore_reason": reason}


def _box(path: Path, who: str, box: Any) -> list[float] | None:
    """Return an xywh_abs box; None where there is none."""
    if box is None or box == []:
        return None
    if not (isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))):
        _refuse(path, who, f"its bbox {box!r} is not four numbers")
    if min(box[2:]) < 0:
        _refuse(path, who, f"its bbox {box!r} has a negative side: it is x, y, width, height")
    return [float(side) for side in box]


def _run_lengths(path: Path, who: str, segmentation: Any, height: int, width: int) -> Any:
    """Return COCO's run lengths of any of its forms; None where there is no outline."""
    if not segmentation:
        return None
    if isinstance(segmentation, dict):
        counts, size = segmentation.get("counts"), segmentation.get("size")
        if size != [height, width]:
            what = f"its mask's size is {size}, its image's {[height, width]} (height, width)"
            _refuse(path, who, what)
        if not isinstance(counts, str | list) or not is_of_size(counts, height * width):
            _refuse(path, who, "its run lengths are damaged")
        if isinstance(counts, str):
            return {"size": size, "counts": counts}
        return _text(coco_mask.frPyObjects(segmentation, height, width))
    if not isinstance(segmentation, list):
        _refuse(path, who, f"its segmentation is a {type(segmentation).__name__}")
    polygons = [polygon for polygon in segmentation if polygon]
    for polygon in polygons:
        is_outline = isinstance(polygon, list) and len(polygon) >= 6 and len(polygon) % 2 == 0
        if not is_outline or not all(map(_is_number, polygon)):
            _refuse(path, who, "a polygon needs at least three points, as x, y, x, y, ...")
    if not polygons:
        return None
    return _text(coco_mask.merge(coco_mask.frPyObjects(polygons, height, width)))


def _text(rle: dict[str, Any]) -> dict[str, Any]:
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


def _id(path: Path, what: str, record: Any) -> Any:
    id_ = record.get("id") if isinstance(record, dict) else None
    if isinstance(id_, bool) or not isinstance(id_, int | str):
        _refuse(path, f"{what} {record!r:.80}", "it has no id")
    return id_


def _file_name(path: Path, record: Any) -> str:
    name = record.get("file_name") if isinstance(record, dict) else None
    if not isinstance(name, str) or not name:
        _refuse(path, f"image {record!r:.80}", "it has no file_name")
    return name.replace("\\", "/")


def _numbers(ids: Sequence[Any]) -> dict[Any, int]:
    """Return each id as a number: itself if all are distinct and above 0, otherwise its place."""
    is_kept = len(set(ids)) == len(ids) and all(isinstance(id_, int) and id_ > 0 for id_ in ids)
    return {id_: id_ if is_kept else place for place, id_ in enumerate(ids, start=1)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _refuse(path: Path, who: str, what: str) -> NoReturn:
    raise Problem(Kind.DAMAGED, path, f"{who}: {what}", remedy=Remedy.FIX_SOURCE)
