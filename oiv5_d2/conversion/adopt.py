"""A COCO file of one's own, from any tool, as training and evaluation want it.

Objects become run lengths, ids become numbers from 1, categories the wanted classes in their order.
What cannot be understood without a guess is refused, with the file and the record. Objects without
a mask become ignored regions with the shape of their box. Images are used where they are.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from oiv5_d2.conversion import coco_file
from oiv5_d2.conversion.images import check_images, size_of
from oiv5_d2.conversion.outlines import Outlines
from oiv5_d2.conversion.regions import read_region
from oiv5_d2.files import read_json
from oiv5_d2.keys import near
from oiv5_d2.problems import Kind, Problem, Remedy, wrong_setting

ADOPTED = "adopted_from"  # in the new file's info
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
    outlines: Outlines = Outlines(),  # noqa: B008  # frozen
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
        outlines: how masks are written.
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


def _info(content: Mapping[str, Any]) -> Mapping[str, Any]:
    info = content.get("info")
    return info if isinstance(info, dict) else {}


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
    numbers = _class_numbers(path, sorted(names.values()), classes)
    return {id_: numbers.get(name, 0) for id_, name in names.items()}


def _class_numbers(path: Path, there: Sequence[str], classes: Sequence[str]) -> dict[str, int]:
    """Return the new category id of each wanted class by its name in the file, in any case."""
    folded = {name.casefold(): name for name in there}
    found = [name if name in there else folded.get(name.casefold(), "") for name in classes]
    if unknown := [name for name, its_name in zip(classes, found, strict=True) if not its_name]:
        more = ", ..." if len(there) > _SHOWN else ""
        detail = f"not in {path}, which has {', '.join(there[:_SHOWN])}{more}"
        detail += "".join(near(name, there) for name in unknown)
        raise wrong_setting("data.classes", ", ".join(unknown), detail)
    if len(set(found)) < len(found):
        raise wrong_setting("data.classes", list(classes), "one is there twice")
    return {name: number for number, name in enumerate(found, start=1)}


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
    return {old: {**found[old], "id": id_} for old, id_ in zip(found, ids, strict=True)}


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
        for key, there in (("image_id", images), ("category_id", category_ids)):
            other = record.get(key)
            if not _is_id(other) or other not in there:
                what = f"its {key.removesuffix('_id')} {other!r:.80} is not in the file"
                _refuse(path, who, what)
        category_id = category_ids[record["category_id"]]
        if not category_id:
            continue
        image = images[record["image_id"]]
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
        adopted.num_objects[names[one["category_id"] - 1]] += not one["iscrowd"]


def _id(path: Path, what: str, record: Any) -> Any:
    id_ = record.get("id") if isinstance(record, dict) else None
    if not _is_id(id_):
        _refuse(path, f"{what} {record!r:.80}", "it has no id")
    return id_


def _is_id(value: Any) -> bool:
    """Return True if a value may be an id; pandas makes 1.0 of 1."""
    is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return isinstance(value, str) or (is_whole and not isinstance(value, bool))


def _file_name(path: Path, record: Any) -> str:
    name = record.get("file_name") if isinstance(record, dict) else None
    if not isinstance(name, str) or not name:
        _refuse(path, f"image {record!r:.80}", "it has no file_name")
    return name.replace("\\", "/")


def _numbers(ids: Sequence[Any]) -> list[int]:
    """Return ids as numbers: themselves if all are distinct and above 0, otherwise their places."""
    is_kept = len(set(ids)) == len(ids) and all(isinstance(id_, int) and id_ > 0 for id_ in ids)
    return list(ids) if is_kept else list(range(1, len(ids) + 1))


def _refuse(path: Path, who: str, what: str) -> NoReturn:
    raise Problem(Kind.DAMAGED, path, f"{who}: {what}", remedy=Remedy.FIX_SOURCE)
