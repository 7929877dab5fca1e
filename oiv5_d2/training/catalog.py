"""Prepared data sets under their names in Detectron2's catalog.

The catalog is one per process: register in every worker. Registering again replaces, so that the
runs of a sweep, which share a process, never see the data of the one before.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from detectron2.data import DatasetCatalog, MetadataCatalog

from oiv5_d2.runs.packed import open_packed
from oiv5_d2.runs.prepared import Prepared, check_classes, check_files
from oiv5_d2.training.data.records import Records, part_of


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
        part = part_of(dataset)
        records = Records([part])
        DatasetCatalog.register(dataset.name, lambda records=records: records)
        MetadataCatalog.get(dataset.name).set(
            json_file=str(dataset.json_path),
            image_root=str(dataset.images_dir),
            evaluator_type="coco",
            thing_classes=list(classes),
            thing_dataset_id_to_contiguous_id={
                category_id: index
                for index, (category_id, _) in enumerate(part.packed.about["categories"])
            },
        )


@contextmanager
def naming_damage(dataset_name: str) -> Iterator[None]:
    """Turn the error of Detectron2's reader about an image into a problem that names it.

    Args:
        dataset_name: registered; its images are read meanwhile.

    Raises:
        Problem: DAMAGED, as `check_files` raises it.
    """
    try:
        yield
    except (OSError, ValueError):
        about = MetadataCatalog.get(dataset_name)
        dataset = Prepared(dataset_name, Path(about.json_file), Path(about.image_root))
        check_files(dataset, open_packed(dataset.json_path).images())
        raise
