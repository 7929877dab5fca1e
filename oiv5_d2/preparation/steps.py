"""Preparing data from a release to an audited COCO file, as a row of stages that can be resumed."""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from oiv5_d2.acquisition.disk import check_room
from oiv5_d2.acquisition.fetch import fetch
from oiv5_d2.acquisition.manifest import IMAGE, MANIFEST_CSV, MASK, num_to_retry, read_manifest
from oiv5_d2.acquisition.stores import folder_of
from oiv5_d2.audit.audit import audit
from oiv5_d2.conversion import coco
from oiv5_d2.jobs import Advance
from oiv5_d2.openimages.release import HEX_DIGITS
from oiv5_d2.preparation.listings import (
    CREDITS_CSV,
    IMAGE_LIST_TXT,
    write_credits,
    write_image_list,
)
from oiv5_d2.preparation.rates import measured_fetch
from oiv5_d2.preparation.request import Data, Request
from oiv5_d2.preparation.sources import count_tables, load_subsets, open_buckets, select_subsets
from oiv5_d2.preparation.stages import Stage, is_done
from oiv5_d2.selection.files import list_files
from oiv5_d2.selection.select import needed_tables
from oiv5_d2.selection.subset import load, save
from oiv5_d2.synthetic import write_release

AUDIT_JSON = "audit.json"


def stages(request: Request) -> list[Stage]:
    """Return what has to be done, in order."""
    data = request.data
    return [
        *([_draw(request)] if data.is_drawn else []),
        _select(request),
        _fetch(request),
        *(_convert(request, part) for part in data.parts),
        *(_verify(request, part) for part in data.parts),
        _audit(request),
    ]


def is_to_do(stage: Stage, request: Request) -> bool:
    """Tell whether a stage has to run."""
    return (
        request.force
        or not is_done(stage, request.data.dir)
        or (stage.name == "fetch" and _is_to_retry(request))
    )


def _is_to_retry(request: Request) -> bool:
    """Tell whether files are to be asked for again that could not be had the last time."""
    path = request.data.dir / MANIFEST_CSV
    if not request.retry_failed or not path.exists():
        return False
    return num_to_retry(read_manifest(path)) > 0


def _draw(request: Request) -> Stage:
    data, synthetic = request.data, request.data.synthetic
    assert synthetic is not None and data.source is not None
    release_dir = Path(data.source)

    def draw(advance: Advance) -> None:
        # The same ids may get other pictures: none of an earlier release may be taken for them.
        for fetched in ("images", "masks"):
            shutil.rmtree(data.dir / fetched, ignore_errors=True)
        (data.dir / MANIFEST_CSV).unlink(missing_ok=True)
        height, width = synthetic.size
        write_release(
            release_dir,
            synthetic.num_images,
            (height, width),
            synthetic.seed,
            advance,
            request.num_workers,
            data.published,
        )

    return Stage(
        name="draw",
        settings=asdict(synthetic),
        inputs=list,
        outputs=lambda: [path for path in release_dir.rglob("*") if path.is_file()],
        count=lambda: {"pictures": sum(synthetic.num_images.values())},
        run=draw,
    )


def _select(request: Request) -> Stage:
    data = request.data
    tables = needed_tables(data.published, data.choice)

    def run(advance: Advance) -> None:
        subsets = select_subsets(request, advance)
        _remove_other_parts(data)
        for subset in subsets:
            save(subset, data.dir / "subset")
        write_credits(subsets, data.dir / CREDITS_CSV)
        write_image_list(subsets, data.dir / IMAGE_LIST_TXT)

    return Stage(
        name="select",
        settings=_selection(data),
        inputs=lambda: [
            *_on_disk(data.buckets[0], *(table.path for table in tables)),
            *([data.image_ids] if data.image_ids else []),
        ],
        outputs=lambda: [
            *_subset_files(data, *data.parts),
            data.dir / CREDITS_CSV,
            data.dir / IMAGE_LIST_TXT,
        ],
        count=lambda: count_tables(request),
        run=run,
    )


def _fetch(request: Request) -> Stage:
    data = request.data
    splits, mask_zip = data.choice.splits, data.published.mask_zip
    zips = [mask_zip(split, digit).path for split in splits for digit in HEX_DIGITS]

    def run(advance: Advance) -> None:
        files = list_files(load_subsets(data))
        with open_buckets(request) as source:
            check_room(files, source.images, data.dir)
            with measured_fetch(data.dir, data.buckets[1], advance) as counted:
                fetch(
                    files,
                    source,
                    data.dir,
                    max_missing=request.max_missing,
                    full_decode=request.full_decode or request.force,
                    keep_zips=request.keep_zips,
                    advance=counted,
                )

    return Stage(
        name="fetch",
        settings={
            "buckets": data.buckets,
            "max_missing": request.max_missing,
            "full_decode": request.full_decode,
        },
        inputs=lambda: [
            *_subset_files(data, *data.parts),
            *_on_disk(data.buckets[1], *splits),
            *_on_disk(data.buckets[0], *zips),
        ],
        outputs=lambda: [data.dir / MANIFEST_CSV, *_fetched(data)],
        count=lambda: _count_files(list_files(load_subsets(data))),
        run=run,
    )


def _convert(request: Request, part: str) -> Stage:
    data = request.data

    def run(advance: Advance) -> None:
        coco.convert(load(data.dir / "subset", part), data.dir, request.num_workers, advance)

    return Stage(
        name=f"convert {part}",
        settings={},
        inputs=lambda: [*_subset_files(data, part), *_fetched(data)],
        outputs=lambda: [coco.coco_path(data.dir, part)],
        count=lambda: {"pictures": len(load(data.dir / "subset", part).images)},
        run=run,
    )


def _verify(request: Request, part: str) -> Stage:
    data = request.data

    def run(advance: Advance) -> None:
        path, subset = coco.coco_path(data.dir, part), load(data.dir / "subset", part)
        advance(coco.verify(path, subset, data.dir, request.verify_sample))

    def count() -> dict[str, int]:
        num_annotations = coco.read_converted(coco.coco_path(data.dir, part)).num_annotations
        return {"annotations": min(request.verify_sample, num_annotations)}

    return Stage(
        name=f"verify {part}",
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

    def count() -> dict[str, int]:
        paths = [coco.coco_path(data.dir, part) for part in data.parts]
        return {"pictures": sum(coco.read_converted(path).num_images for path in paths)}

    return Stage(
        name="audit",
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


def _count_files(files: pd.DataFrame) -> dict[str, int]:
    """Return how many files of each kind there are, in the order in which `fetch` brings them."""
    num_of = files["Kind"].value_counts()
    return {name: int(num_of.get(kind, 0)) for name, kind in (("pictures", IMAGE), ("masks", MASK))}


def _selection(data: Data) -> dict[str, Any]:
    """Return the settings that decide what is selected."""
    skipped = ("name", "dir", "synthetic")
    return {
        key: str(value) if isinstance(value, Path) else value
        for key, value in asdict(data).items()
        if key not in skipped
    }


def _on_disk(bucket: str, *names: str) -> list[Path]:
    """Return where a bucket's files lie; of a remote one none: its changes are not looked for."""
    folder = folder_of(bucket)
    return [folder / name for name in names] if folder else []


def _subset_files(data: Data, *parts: str) -> list[Path]:
    endings = (".images.parquet", ".instances.parquet", ".json")
    return [data.dir / "subset" / f"{part}{ending}" for part in parts for ending in endings]


def _fetched(data: Data) -> list[Path]:
    """Return the folders of pictures and the zips of masks that are there."""
    images = [data.dir / "images" / split for split in data.choice.splits]
    return [*images, *sorted((data.dir / "masks").glob("*.zip"))]


def _remove_other_parts(data: Data) -> None:
    """Remove files of parts that an earlier choice made: nobody shall train on those by mistake."""
    wanted = {*_subset_files(data, *data.parts), *(coco.coco_path(data.dir, p) for p in data.parts)}
    for pattern in ("subset/*.parquet", "subset/*.json", "coco/*.json"):
        for path in data.dir.glob(pattern):
            if path not in wanted:
                path.unlink()
