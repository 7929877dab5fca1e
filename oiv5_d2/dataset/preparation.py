"""Preparing data from a release to an audited COCO file, as a row of stages that can be resumed."""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from oiv5_d2.dataset import coco
from oiv5_d2.dataset.audit import audit
from oiv5_d2.dataset.extraction import CORRUPT
from oiv5_d2.dataset.fetch import IMAGE, fetch, list_files, read_manifest
from oiv5_d2.dataset.request import Data, Request
from oiv5_d2.dataset.stages import Advance, Stage
from oiv5_d2.dataset.stores import folder_source
from oiv5_d2.dataset.subset import Subset, load, num_bytes_to_read, save, select
from oiv5_d2.dataset.synthetic import write_release
from oiv5_d2.openimages import release

AUDIT_JSON, MANIFEST_CSV = "audit.json", "manifest.csv"


def load_subsets(data: Data) -> list[Subset]:
    """Load the subsets that were selected."""
    return [load(data.dir / "subset", part) for part in data.parts]


def select_subsets(data: Data, advance: Advance) -> list[Subset]:
    """Select the subsets from the source's tables, without saving them."""
    subsets = select(
        data.source / release.ANNOTATIONS_DIR,
        data.classes,
        roll_up=data.roll_up,
        splits={split: split for split in data.splits},
        shares=data.shares,
        seed=data.seed,
        limit_per_class=data.limit.per_class,
        limit_unit=data.limit.unit,
        exclude=data.exclude,
        min_predicted_iou=data.min_predicted_iou,
        id_prefixes=data.id_prefixes,
        only_masked=data.only_masked,
        advance=advance,
    )
    return list(subsets.values())


def stages(request: Request) -> list[Stage]:
    """Return what has to be done, in order."""
    data = request.data
    return [
        *([_draw(request)] if data.is_drawn else []),
        _select(data),
        _fetch(request),
        *(_convert(request, part) for part in data.parts),
        *(_verify(request, part) for part in data.parts),
        _audit(request),
    ]


def _draw(request: Request) -> Stage:
    data, synthetic = request.data, request.data.synthetic
    assert synthetic is not None

    def draw(advance: Advance) -> None:
        # The same ids may get other pictures: none of an earlier release may be taken for them.
        for fetched in ("images", "masks"):
            shutil.rmtree(data.dir / fetched, ignore_errors=True)
        (data.dir / MANIFEST_CSV).unlink(missing_ok=True)
        height, width = synthetic.size
        write_release(
            data.source,
            synthetic.num_images,
            (height, width),
            synthetic.seed,
            advance,
            request.num_workers,
        )

    return Stage(
        name="draw",
        unit="pictures",
        settings=asdict(synthetic),
        inputs=list,
        outputs=lambda: [path for path in data.source.rglob("*") if path.is_file()],
        count=lambda: sum(synthetic.num_images.values()),
        run=draw,
    )


def _select(data: Data) -> Stage:
    annotations_dir = data.source / release.ANNOTATIONS_DIR
    tables = [
        release.CLASS_CSV,
        release.HIERARCHY_JSON,
        *(
            table(split)
            for split in data.splits
            for table in (
                release.mask_csv,
                release.box_csv,
                release.image_label_csv,
                release.image_csv,
            )
        ),
    ]

    def count() -> int:
        try:
            return num_bytes_to_read(annotations_dir, data.splits, data.only_masked)
        except FileNotFoundError:
            return 0  # the stage itself says best what is missing

    def run(advance: Advance) -> None:
        subsets = select_subsets(data, advance)
        _remove_other_parts(data)
        for subset in subsets:
            save(subset, data.dir / "subset")

    return Stage(
        name="select",
        unit="bytes",
        settings=_selection(data),
        inputs=lambda: [annotations_dir / table.path for table in tables],
        outputs=lambda: _subset_files(data, *data.parts),
        count=count,
        run=run,
    )


def _fetch(request: Request) -> Stage:
    data = request.data
    annotations_dir = data.source / release.ANNOTATIONS_DIR

    def run(advance: Advance) -> None:
        fetch(
            load_subsets(data),
            folder_source(data.source),
            data.dir,
            max_missing=request.max_missing,
            full_decode=request.full_decode or request.force,
            advance=advance,
        )
        _remove_corrupt(data.dir)

    return Stage(
        name="fetch",
        unit="files",
        settings={
            "source": str(data.source),
            "max_missing": request.max_missing,
            "full_decode": request.full_decode,
        },
        inputs=lambda: [
            *_subset_files(data, *data.parts),
            *(data.source / release.IMAGES_DIR / split for split in data.splits),
            *(
                annotations_dir / release.mask_zip(split, digit).path
                for split in data.splits
                for digit in release.HEX_DIGITS
            ),
        ],
        outputs=lambda: [data.dir / MANIFEST_CSV, *_fetched(data)],
        count=lambda: len(list_files(load_subsets(data))),
        run=run,
    )


def _convert(request: Request, part: str) -> Stage:
    data = request.data

    def run(advance: Advance) -> None:
        coco.convert(load(data.dir / "subset", part), data.dir, request.num_workers, advance)

    return Stage(
        name=f"convert {part}",
        unit="pictures",
        settings={},
        inputs=lambda: [*_subset_files(data, part), *_fetched(data)],
        outputs=lambda: [coco.coco_path(data.dir, part)],
        count=lambda: len(load(data.dir / "subset", part).images),
        run=run,
    )


def _verify(request: Request, part: str) -> Stage:
    data = request.data

    def run(advance: Advance) -> None:
        path, subset = coco.coco_path(data.dir, part), load(data.dir / "subset", part)
        advance(coco.verify(path, subset, data.dir, request.verify_sample))

    def count() -> int:
        num_annotations = coco.read_converted(coco.coco_path(data.dir, part)).num_annotations
        return min(request.verify_sample, num_annotations)

    return Stage(
        name=f"verify {part}",
        unit="annotations",
        settings={"sample": request.verify_sample},
        inputs=lambda: [coco.coco_path(data.dir, part), *_subset_files(data, part)],
        outputs=list,
        count=count,
        run=run,
    )


def _audit(request: Request) -> Stage:
    data = request.data

    def run(advance: Advance) -> None:
        audit(data.dir, data.parts, request.train_parts, request.num_workers, advance)

    def count() -> int:
        paths = [coco.coco_path(data.dir, part) for part in data.parts]
        return sum(coco.read_converted(path).num_images for path in paths)

    return Stage(
        name="audit",
        unit="pictures",
        settings={"parts": data.parts, "train_parts": request.train_parts},
        inputs=lambda: [
            *(coco.coco_path(data.dir, part) for part in data.parts),
            *_subset_files(data, *data.parts),
            *_fetched(data),
        ],
        outputs=lambda: [data.dir / AUDIT_JSON],
        count=count,
        run=run,
    )


def _selection(data: Data) -> dict[str, Any]:
    """Return the settings that decide what is selected."""
    skipped = ("name", "dir", "synthetic")
    return {
        key: str(value) if isinstance(value, Path) else value
        for key, value in asdict(data).items()
        if key not in skipped
    }


def _subset_files(data: Data, *parts: str) -> list[Path]:
    endings = (".images.parquet", ".instances.parquet", ".json")
    return [data.dir / "subset" / f"{part}{ending}" for part in parts for ending in endings]


def _fetched(data: Data) -> list[Path]:
    """Return the folders of pictures and the zips of masks that are there."""
    images = [data.dir / "images" / split for split in data.splits]
    return [*images, *sorted((data.dir / "masks").glob("*.zip"))]


def _remove_corrupt(data_dir: Path) -> None:
    """Remove pictures of an earlier run that turned out damaged, and that the source has no better.

    Training would stop at them; without the file, the image is left out and listed.
    """
    manifest = read_manifest(data_dir / MANIFEST_CSV)
    corrupt = manifest[(manifest["State"] == CORRUPT) & (manifest["Kind"] == IMAGE)]
    for split, name in zip(corrupt["Split"], corrupt["Path"], strict=True):
        (data_dir / "images" / split / name).unlink(missing_ok=True)


def _remove_other_parts(data: Data) -> None:
    """Remove files of parts that an earlier choice made: nobody shall train on those by mistake."""
    wanted = {*_subset_files(data, *data.parts), *(coco.coco_path(data.dir, p) for p in data.parts)}
    for pattern in ("subset/*.parquet", "subset/*.json", "coco/*.json"):
        for path in data.dir.glob(pattern):
            if path not in wanted:
                path.unlink()
