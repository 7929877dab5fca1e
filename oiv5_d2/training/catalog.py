"""Prepared data sets under their names in Detectron2's catalog.

The catalog is one per process: register in every worker. Registering again replaces, so that the
runs of a sweep, which share a process, never see the data of the one before.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances

from oiv5_d2.problems import Kind, Problem, Remedy
from oiv5_d2.runs.prepared import Prepared, read_coco


def register(prepared: Iterable[Prepared], classes: Sequence[str]) -> None:
    """Register data sets with Detectron2, replacing earlier ones of the same name.

    Raises:
        Problem: MISMATCH, a file's categories are not ``classes``, in their order; DAMAGED, it
            is not JSON.
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
    """Refuse a COCO file that was made for classes other than the run's."""
    categories = read_coco(json_path)["categories"]
    names = [category["name"] for category in sorted(categories, key=lambda c: c["id"])]
    if names != list(classes):
        detail = f"its classes are {names}, but data.classes is {list(classes)}"
        remedy = Remedy.PREPARE_AGAIN
        raise Problem(Kind.MISMATCH, json_path, detail, key="data.classes", remedy=remedy)
