"""Prepared data sets under their names in Detectron2's catalog.

The catalog is one per process: register in every worker. Registering again replaces, so that the
runs of a sweep, which share a process, never see the data of the one before.
"""

from collections.abc import Iterable, Sequence

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances

from oiv5_d2.runs.prepared import Prepared, check_classes


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
