"""Prepared data sets under their names in Detectron2's catalog.

The catalog is one per process: register in every worker. Registering again replaces, so that the
runs of a sweep, which share a process, never see the data of the one before.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances


class Prepared(NamedTuple):
    """One prepared data set."""

    name: str
    json_path: Path
    images_dir: Path


def locate(
    data_name: str, data_dir: Path, dataset_names: Iterable[str], make: str
) -> list[Prepared]:
    """Find the prepared files of data sets called ``{data_name}_{part}``.

    Args:
        data_name: the data set family, ``data.name`` in the config.
        data_dir: where ``tools/prepare_data.py`` wrote it.
        dataset_names: as in ``DATASETS.TRAIN`` and ``DATASETS.TEST``.
        make: the command that prepares the data, for the error.

    Raises:
        FileNotFoundError: one is not prepared; the message is the command that does it.
        ValueError: a name that is not of this family.
    """
    found = []
    for name in dict.fromkeys(dataset_names):
        if not name.startswith(f"{data_name}_"):
            raise ValueError(
                f"data set {name!r} is not a part of data.name={data_name}: "
                f"d2.DATASETS takes names like {data_name}_train"
            )
        part = name.removeprefix(f"{data_name}_")
        json_path = data_dir / "coco" / f"{part}.json"
        if not json_path.is_file():
            raise FileNotFoundError(
                f"data set {name} is not prepared: {json_path} is absent. Make it with:  {make}"
            )
        found.append(Prepared(name, json_path, data_dir / "images"))
    return found


def register(prepared: Iterable[Prepared], classes: Sequence[str]) -> None:
    """Register data sets with Detectron2, replacing earlier ones of the same name.

    Raises:
        ValueError: a file's categories are not ``classes``, in their order.
    """
    for dataset in prepared:
        check_classes(dataset.json_path, classes)
        if dataset.name in DatasetCatalog.list():
            DatasetCatalog.remove(dataset.name)
            MetadataCatalog.remove(dataset.name)
        register_coco_instances(
            dataset.name,
            {"thing_classes": list(classes)},
            str(dataset.json_path),
            str(dataset.images_dir),
        )


def check_classes(json_path: Path, classes: Sequence[str]) -> None:
    """Refuse a COCO file made for other classes than the run's."""
    categories = read_coco(json_path)["categories"]
    names = [category["name"] for category in sorted(categories, key=lambda c: c["id"])]
    if names != list(classes):
        raise ValueError(
            f"{json_path} holds the classes {names}, but data.classes is {list(classes)}: "
            "prepare the data again, or give the run the same classes"
        )


def fingerprint(dataset: Prepared) -> dict[str, Any]:
    """Return what tells which data this was: sha256, numbers of images and objects."""
    content = dataset.json_path.read_bytes()
    coco = json.loads(content)
    return {
        "json": str(dataset.json_path),
        "images": str(dataset.images_dir),
        "sha256": hashlib.sha256(content).hexdigest(),
        "num_images": len(coco["images"]),
        "num_instances": sum(not a["iscrowd"] for a in coco["annotations"]),
        "num_ignored": sum(a["iscrowd"] for a in coco["annotations"]),
    }


def read_coco(json_path: Path) -> dict[str, Any]:
    """Read a COCO file.

    Raises:
        ValueError: it is no JSON (half a file of another tool, say).
    """
    try:
        content: dict[str, Any] = json.loads(json_path.read_bytes())
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{json_path} is no readable JSON ({error}): prepare the data again"
        ) from error
    return content
