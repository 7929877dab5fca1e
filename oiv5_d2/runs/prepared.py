"""Prepared data sets: found by name, and identified by their bytes."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from oiv5_d2.conversion.image_store import Images, find_images
from oiv5_d2.conversion.images import CHECKED_JSON, check_images
from oiv5_d2.files import read_json
from oiv5_d2.problems import Kind, Problem, Remedy, wrong_setting
from oiv5_d2.runs.packed import OBJECT, open_packed

PROJECT_DIR = Path(__file__).parents[2]  # where most people start the tools, with data/ in it
PSEUDO = "pseudo"  # in a COCO file, what a model filled in


class Survey(NamedTuple):
    """What is asked of a COCO file before it is used."""

    classes: tuple[str, ...]
    """Names, in the order of their category ids."""
    sha256: str
    num_images: int
    num_instances: int
    num_ignored: int
    is_filled: bool
    """True if some masks are a model's own."""


class Prepared(NamedTuple):
    """One prepared data set."""

    name: str
    json_path: Path
    images_dir: Path

    @property
    def images(self) -> Images:
        """Where its images are read from; errors are those of `find_images`."""
        return find_images(self.json_path, self.images_dir, lambda path: survey(path).sha256)


def locate(data_name: str, data_dir: Path, dataset_names: Iterable[str]) -> list[Prepared]:
    """Find the prepared files of data sets called ``{data_name}_{part}``.

    Those of another family are looked for in its folder beside this one's.

    Args:
        data_name: the data set family, ``data.name`` in the config.
        data_dir: where ``tools/prepare_data.py`` wrote it.
        dataset_names: as in ``DATASETS.TRAIN`` and ``DATASETS.TEST``.

    Raises:
        Problem: ABSENT, one is not prepared; SETTING, a name of no family that is.
    """
    found = []
    for name in dict.fromkeys(dataset_names):
        folder, part = _place_of(name, data_name, data_dir)
        json_path = folder / "coco" / f"{part}.json"
        if not json_path.is_file():
            raise _not_prepared(name, folder, json_path)
        found.append(Prepared(name, json_path, folder / "images"))
    return found


def _place_of(name: str, data_name: str, data_dir: Path) -> tuple[Path, str]:
    """Return the data folder and the part that a data set's name stands for."""
    if name.startswith(f"{data_name}_"):
        return data_dir, name.removeprefix(f"{data_name}_")
    words = name.split("_")
    for length in range(len(words) - 1, 0, -1):  # a family and a part may have a _ in their names
        folder, part = data_dir.parent / "_".join(words[:length]), "_".join(words[length:])
        if (folder / "coco" / f"{part}.json").is_file():
            return folder, part
    detail = f"not a part of data.name={data_name}, whose parts are named {data_name}_train, "
    detail += f"nor prepared in another folder of {data_dir.parent}"
    keys, remedy = "d2.DATASETS.TRAIN d2.DATASETS.TEST data.name", Remedy.CHANGE_SETTING
    raise Problem(Kind.SETTING, name, detail, key=keys, remedy=remedy)


def _not_prepared(name: str, data_dir: Path, json_path: Path) -> Problem:
    """Return the problem of a data set that is not there, with what is there or elsewhere."""
    detail = f"the data set {name} is not prepared"
    if not data_dir.is_absolute():
        detail += f" in {Path.cwd()}"
    keys, remedy = "part d2.DATASETS data.splits", Remedy.CHANGE_SETTING
    if others := sorted(path.stem for path in json_path.parent.glob("*.json")):
        # Preparing it as before would not bring this part.
        detail += f"; the parts there are {', '.join(others)}"
    elif (PROJECT_DIR / json_path).is_file():
        detail += f"; it is in the project's folder: give data.dir={PROJECT_DIR / data_dir}"
        keys = "data.dir"
    else:
        keys, remedy = "", Remedy.PREPARE
    return Problem(Kind.ABSENT, json_path, detail, key=keys, remedy=remedy)


def fingerprint(dataset: Prepared) -> dict[str, Any]:
    """Return what identifies the data: paths, sha256, numbers of images and objects."""
    found = survey(dataset.json_path)._asdict()
    del found["classes"], found["is_filled"]
    return {"json": str(dataset.json_path), "images": str(dataset.images_dir), **found}


def survey(json_path: Path) -> Survey:
    """Return the facts of a COCO file, which may be a gigabyte: it is read once.

    Raises:
        Problem: ABSENT or DAMAGED.
    """
    packed = open_packed(json_path)
    num_instances, num_ignored = packed.about["counts"]
    return Survey(
        classes=tuple(name for _, name in packed.about["categories"]),
        sha256=packed.about["sha256"],
        num_images=len(packed),
        num_instances=num_instances,
        num_ignored=num_ignored,
        is_filled=PSEUDO in packed.about["info"],
    )


def count_objects(datasets: Iterable[Prepared]) -> dict[str, int]:
    """Return the number of objects by class name, in category order; ignored regions not counted.

    Raises:
        Problem: DAMAGED, a file is not JSON.
    """
    counts: dict[str, int] = {}
    for dataset in datasets:
        packed = open_packed(dataset.json_path)
        names = [name for _, name in packed.about["categories"]]
        found = np.bincount(packed.categories[packed.kinds == OBJECT], minlength=len(names))
        for name, count in zip(names, found.tolist(), strict=True):
            counts[name] = counts.get(name, 0) + count
    return counts


def check_files(dataset: Prepared, records: Iterable[Mapping[str, Any]]) -> None:
    """Look at every image of a data set, so that none stops a training later.

    Packed images were looked at then: whether the pack is whole is all there is to see. What was
    right of others is kept beside the data, where that can be written.

    Args:
        dataset: the data set.
        records: its images, as in its COCO file.

    Raises:
        Problem: DAMAGED, an image is not there, unreadable or of another size; it has the first.
    """
    pack = dataset.images.pack
    if pack is not None:
        pack.check()
        return
    data_dir = dataset.json_path.parent.parent
    checked_path = data_dir / CHECKED_JSON.format(dataset.json_path.stem)
    workers = len(os.sched_getaffinity(0))
    faults = check_images(records, dataset.images_dir, workers, checked_path)
    if faults:
        more = f"; {len(faults) - 1} more such images" if len(faults) > 1 else ""
        path, detail = dataset.images_dir / faults[0].file_name, f"{faults[0].what}{more}"
        raise Problem(Kind.DAMAGED, path, detail, remedy=Remedy.PREPARE_AGAIN)


def check_truth(dataset: Prepared, key: str) -> None:
    """Refuse to evaluate on masks that a model filled in.

    Args:
        dataset: the data set.
        key: the setting that chose it.

    Raises:
        Problem: SETTING.
    """
    if survey(dataset.json_path).is_filled:
        detail = f"some masks of {dataset.json_path} are a model's own, so they are no truth"
        raise wrong_setting(key, dataset.name, detail)


def read_coco(json_path: Path) -> dict[str, Any]:
    """Read a COCO file.

    Raises:
        Problem: DAMAGED, it is not JSON (half a file of another tool, say).
    """
    content: dict[str, Any] = read_json(json_path, Remedy.PREPARE_AGAIN)
    return content


def check_classes(json_path: Path, classes: Sequence[str]) -> None:
    """Refuse a COCO file that was made for classes other than the run's."""
    names = list(survey(json_path).classes)
    if names != list(classes):
        detail = f"its classes are {names}, but data.classes is {list(classes)}"
        remedy = Remedy.PREPARE_AGAIN
        raise Problem(Kind.MISMATCH, json_path, detail, key="data.classes", remedy=remedy)
