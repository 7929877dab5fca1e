"""A COCO file of one's own, from any tool, as training and evaluation want it.

Objects become run lengths, ids become numbers from 1, categories the wanted classes in their order.
What cannot be understood without a guess is refused, with the file and the record. Objects without
a mask become ignored regions with the shape of their box. Images are used where they are.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from oiv5_d2.conversion import coco_file
from oiv5_d2.conversion.cuts import Cut
from oiv5_d2.conversion.image_places import locate_images
from oiv5_d2.conversion.images import check_images, size_of
from oiv5_d2.conversion.outlines import Outlines
from oiv5_d2.conversion.regions import CROWD, read_region
from oiv5_d2.files import read_json
from oiv5_d2.keys import near
from oiv5_d2.problems import Kind, Problem, Remedy, wrong_setting

ADOPTED = "adopted_from"  # in the new file's info
_LISTS = ("images", "annotations", "categories")
_NUMBER = re.compile(r"0|-?[1-9]\d{0,17}", re.ASCII)  # as a text, that is the same number again
_VERIFIED = ("positive_category_ids", "negative_category_ids")  # as `records` writes them
_SHOWN = 8  # categories of a file, in an error

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Given:
    """A COCO file of one's own; it and its images are only read."""

    path: Path
    images_dir: Path | None = None
    """The folder of its images, see `image_places`; None for the places that tools use."""
    cut: Cut | None = None
    """The part of its images to use; None for all."""


@dataclass
class Adopted:
    """What became of a COCO file."""

    num_images: int = 0
    num_objects: dict[str, int] = field(default_factory=dict)
    """To be learnt, by class."""
    num_ignored: int = 0
    num_crowds: int = 0
    """Those of them that the file has with ``iscrowd``."""
    num_of_other_classes: int = 0
    """Annotations that are left out."""


def adopt(
    given: Given,
    classes: Sequence[str],
    to: Path,
    workers: int = 1,
    outlines: Outlines = Outlines(),  # noqa: B008  # frozen
    advance: Callable[[int], object] = lambda num_images: None,
) -> Adopted:
    """Write a COCO file anew as the other rooms want it.

    Args:
        given: the file, or a part of it.
        classes: names of its categories, which get the ids from 1.
        to: where the new file goes.
        workers: the most processes to look at the images with.
        outlines: how masks are written.
        advance: called with the number of images newly looked at.

    Raises:
        Problem: ABSENT, the file or an image; DAMAGED, with the record; SETTING, a class that the
            file does not have; EMPTY, a part without an image.
    """
    path, content = given.path, _read(given.path)
    category_ids = _categories(path, content["categories"], classes, _used(content))
    if given.cut is not None:
        content = _part(path, content, given.cut)
    images = _images(path, content["images"], given.images_dir, category_ids)
    faults = check_images(images.values(), Path("/"), workers, None, advance)
    if faults:
        more = f"; {len(faults) - 1} more such images" if len(faults) > 1 else ""
        detail, keys = f"{faults[0].what}{more}", "data.images"
        subject, remedy = faults[0].file_name, Remedy.FIX_SOURCE
        raise Problem(Kind.DAMAGED, subject, detail, key=keys, remedy=remedy)
    adopted = Adopted(len(images), dict.fromkeys(classes, 0))
    found = list(_annotations(path, content["annotations"], images, category_ids))
    annotations = _outlined(found, images.values(), outlines) if outlines.settings() else found
    _count(adopted, annotations)
    adopted.num_of_other_classes = len(content["annotations"]) - len(found)
    head = {
        **{key: value for key, value in content.items() if key not in _LISTS},
        "info": {**_info(content), ADOPTED: path.name},
        "categories": [{"id": id_, "name": name} for id_, name in enumerate(classes, start=1)],
    }
    lines = (map(coco_file.dumps, records) for records in (images.values(), annotations))
    try:
        coco_file.write(to, head, *lines)
    except ValueError as error:  # such as 1e999, which JSON has but floats have not
        _refuse(path, "the file", f"a value cannot be written: {error}")
    return adopted


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path, Remedy.FIX_SOURCE)
    except Problem as problem:
        cause = problem.__cause__
        if isinstance(cause, UnicodeDecodeError) and cause.encoding == "utf-8":
            stray = f"not UTF-8 (byte 0x{cause.object[cause.start]:02x})"
            raise Problem(Kind.DAMAGED, path, stray, remedy=Remedy.SAVE_AS_UTF8) from problem
        raise
    if not isinstance(content, dict):
        content = {}
    for name in _LISTS:
        if not isinstance(content.get(name), list):
            _refuse(path, "the file", f"it has no list of {name}")
    for name in ("images", "categories"):
        if not content[name]:
            _refuse(path, "the file", f"its list of {name} is empty")
    if any("segments_info" in one for one in content["annotations"][:1] if isinstance(one, dict)):
        _refuse(path, "the file", "it is a panoptic one, without a mask for each object")
    return content


def _part(path: Path, content: Mapping[str, Any], cut: Cut) -> dict[str, Any]:
    """Return the content with the images of one part, and without the others' annotations."""
    ids = [_id(path, "image", record) for record in content["images"]]
    others = set(ids) - cut.choose(ids)
    if len(others) == len(set(ids)):
        detail, key = f"no image is left for {cut.part}", "data.shares"
        raise Problem(Kind.EMPTY, path, detail, key=key, remedy=Remedy.CHANGE_SETTING)
    objects = content["annotations"]
    image_ids = [_as_id(one.get("image_id")) if isinstance(one, dict) else None for one in objects]
    return {
        **content,
        "images": [
            one for one, id_ in zip(content["images"], ids, strict=True) if id_ not in others
        ],
        "annotations": [
            one for one, id_ in zip(objects, image_ids, strict=True) if id_ not in others
        ],
    }


def _info(content: Mapping[str, Any]) -> Mapping[str, Any]:
    info = content.get("info")
    return info if isinstance(info, dict) else {}


def _used(content: Mapping[str, Any]) -> set[Any]:
    """Return the category ids that annotations have."""
    records = (one for one in content["annotations"] if isinstance(one, dict))
    return {_as_id(one.get("category_id")) for one in records}


def _categories(
    path: Path, records: Sequence[Any], classes: Sequence[str], used: Collection[Any]
) -> dict[Any, int]:
    """Return the new category id of each old one; 0 for a class that is not wanted.

    Roboflow gives a class the name of a group that has no objects: of two, the one that has any.
    """
    names: dict[Any, str] = {}
    for record in records:
        id_, name = _id(path, "category", record), record.get("name")
        if not isinstance(name, str) or not name.strip() or id_ in names:
            _refuse(path, f"category {id_!r}", "it has no name, or its id is there twice")
        names[id_] = name.strip()
    num_used = Counter(name for id_, name in names.items() if id_ in used)
    if twice := [name for name, number in num_used.items() if number > 1]:
        _refuse(path, f"category {twice[0]}", "its name is there twice, with objects of both")
    numbers = _class_numbers(path, sorted(set(names.values())), classes)
    return {id_: numbers.get(name, 0) for id_, name in names.items()}


def _class_numbers(path: Path, there: Sequence[str], classes: Sequence[str]) -> dict[str, int]:
    """Return the new category id of each wanted class by its name in the file, in any case."""
    folded = {_folded(name): name for name in there}
    found = [name if name in there else folded.get(_folded(name), "") for name in classes]
    if unknown := [name for name, its_name in zip(classes, found, strict=True) if not its_name]:
        more = ", ..." if len(there) > _SHOWN else ""
        detail = f"not in {path}, which has {', '.join(there[:_SHOWN])}{more}"
        detail += "".join(near(name, there) for name in unknown)
        raise wrong_setting("data.classes", ", ".join(unknown), detail)
    if len(set(found)) < len(found):
        raise wrong_setting("data.classes", list(classes), "one is there twice")
    return {name: number for number, name in enumerate(found, start=1)}


def _folded(name: str) -> str:
    """Return a name as it is compared: in any case and any form of Unicode."""
    return unicodedata.normalize("NFC", name).casefold()


def _images(
    path: Path,
    records: Sequence[Any],
    images_dir: Path | None,
    category_ids: Mapping[Any, int],
) -> dict[Any, dict[str, Any]]:
    """Return the new record of each image by its old id."""
    found: dict[Any, dict[str, Any]] = {}
    places = locate_images(path, images_dir, [_file_name(path, record) for record in records])
    for record, file_path in zip(records, places, strict=True):
        old = _id(path, "image", record)
        if old in found:
            _refuse(path, f"image {old!r}", "its id is there twice")
        size = record.get("height"), record.get("width")
        if not all(isinstance(side, int) and side > 0 for side in size):
            size = _size_of(path, old, file_path)
        found[old] = {
            "open_images_id": str(old),  # by which the tools find an image
            **record,
            **_verified(path, old, record, category_ids),
            "file_name": str(file_path),
            "height": size[0],
            "width": size[1],
        }
    ids = _numbers(list(found))
    return {old: {**found[old], "id": id_} for old, id_ in zip(found, ids, strict=True)}


def _verified(
    path: Path, id_: Any, record: Record, category_ids: Mapping[Any, int]
) -> dict[str, list[int]]:
    """Return the labels that people verified on an image, by their new ids, if it has any."""
    found = {}
    for key in (key for key in _VERIFIED if key in record):
        old = [_as_id(one) for one in record[key]] if isinstance(record[key], list) else [None]
        if not category_ids.keys() >= set(old):
            _refuse(path, f"image {id_!r}", f"its {key} are not a list of categories of the file")
        found[key] = sorted({category_ids[one] for one in old} - {0})
    return found


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
) -> Iterator[dict[str, Any]]:
    """Yield the new record of each wanted annotation."""
    ids = _numbers([_id(path, "annotation", record) for record in records])
    for record, id_ in zip(records, ids, strict=True):
        who = f"annotation {record['id']!r}"
        refers = {key: _as_id(record.get(key)) for key in ("image_id", "category_id")}
        for key, there in (("image_id", images), ("category_id", category_ids)):
            if refers[key] not in there:
                what = f"its {key.removesuffix('_id')} {record.get(key)!r:.80} is not in the file"
                _refuse(path, who, what)
        category_id = category_ids[refers["category_id"]]
        if not category_id:
            continue
        image = images[refers["image_id"]]
        try:
            region = read_region(record, image["height"], image["width"])
        except ValueError as error:
            _refuse(path, who, str(error))
        kept = {key: value for key, value in record.items() if key != "ignore"}
        yield {
            **kept,
            "id": id_,
            "image_id": image["id"],
            "category_id": category_id,
            **region,
        }


def _outlined(
    annotations: Sequence[Record], images: Collection[Record], outlines: Outlines
) -> list[dict[str, Any]]:
    """Return the annotations, image by image, with their masks as they are to be written."""
    by_image: dict[int, list[Record]] = {image["id"]: [] for image in images}
    for one in annotations:
        by_image[one["image_id"]].append(one)
    sizes = {image["id"]: (image["height"], image["width"]) for image in images}
    return [one for id_, some in by_image.items() for one in outlines.apply(some, *sizes[id_])]


def _count(adopted: Adopted, annotations: Iterable[Record]) -> None:
    names = list(adopted.num_objects)
    for one in annotations:
        adopted.num_ignored += one["iscrowd"]
        adopted.num_crowds += one["ignore_reason"] == CROWD
        adopted.num_objects[names[one["category_id"] - 1]] += not one["iscrowd"]


def _id(path: Path, what: str, record: Any) -> Any:
    id_ = _as_id(record.get("id")) if isinstance(record, dict) else None
    if id_ is None:
        _refuse(path, f"{what} {record!r:.80}", "it has no id")
    return id_


def _as_id(value: Any) -> int | str | None:
    """Return a value as an id, None if it is none: pandas makes 1.0 of 1, JavaScript "1"."""
    is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if is_whole and not isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        return int(value) if _NUMBER.fullmatch(value) else value
    return None


def _file_name(path: Path, record: Any) -> str:
    """Return an image's name; LVIS has its address alone."""
    known = record if isinstance(record, dict) else {}
    name = known.get("file_name", known.get("coco_url"))
    if not isinstance(name, str) or not name:
        _refuse(path, f"image {record!r:.80}", "it has no file_name")
    return name


def _numbers(ids: Sequence[Any]) -> list[int]:
    """Return ids as numbers: themselves if all are distinct and above 0, otherwise their places."""
    is_kept = len(set(ids)) == len(ids) and all(isinstance(id_, int) and id_ > 0 for id_ in ids)
    return list(ids) if is_kept else list(range(1, len(ids) + 1))


def _refuse(path: Path, who: str, what: str) -> NoReturn:
    raise Problem(Kind.DAMAGED, path, f"{who}: {what}", remedy=Remedy.FIX_SOURCE)
