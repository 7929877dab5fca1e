"""Preparing data from a release to audited COCO files, as a row of stages that can be resumed."""

import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from oiv5_d2.acquisition.buckets import Bucket, folder_of
from oiv5_d2.acquisition.fetch import check_room, fetch
from oiv5_d2.acquisition.manifest import (
    IMAGE,
    MANIFEST_CSV,
    MANIFEST_SQLITE,
    MASK,
    num_to_retry,
    read_manifest,
)
from oiv5_d2.acquisition.tables import bytes_to_download, fetch_tables, remove_damaged
from oiv5_d2.audit.audit import AUDIT_JSON, audit
from oiv5_d2.conversion.convert import coco_path, convert, read_converted
from oiv5_d2.conversion.verify import verify
from oiv5_d2.jobs import Advance, Show
from oiv5_d2.openimages.release import HEX_DIGITS
from oiv5_d2.preparation.listings import (
    CREDITS_CSV,
    IMAGE_LIST_TXT,
    read_image_list,
    write_credits,
    write_image_list,
)
from oiv5_d2.preparation.settings import Data, Request
from oiv5_d2.preparation.stages import Stage, is_done, run
from oiv5_d2.problems import Kind, Problem
from oiv5_d2.selection.select import needed_tables, num_bytes_to_read, select
from oiv5_d2.selection.subset import Subset, list_files, load, save
from oiv5_d2.synthetic import write_release


def run_stages(request: Request, show: Show, skipped: Callable[[str], object]) -> int:
    """Run every stage that is not done.

    Args:
        request: the settings.
        show: shows the progress of a stage.
        skipped: called with the name of a stage that is done.

    Returns:
        the number of stages that ran.
    """
    num_run = 0
    for stage in stages(request):
        if not is_to_do(stage, request):
            skipped(stage.name)
            continue
        with show(stage.name, stage.count()) as advance:
            run(stage, request.data.dir, advance)
        num_run += 1
    return num_run


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
    """Return True if a stage has to run."""
    return (
        request.force
        or not is_done(stage, request.data.dir)
        or (stage.name == "fetch" and _is_to_retry(request))
    )


def load_subsets(data: Data) -> list[Subset]:
    """Load the subsets that were selected."""
    return [load(data.dir / "subset", part) for part in data.parts]


def select_subsets(request: Request, advance: Advance) -> list[Subset]:
    """Select the subsets from the source's tables, without saving them.

    Tables that come over a network are kept for the next time.

    Args:
        request: the settings.
        advance: called with bytes of tables, of `table_bytes` in all: downloaded ones or, if the
            tables are in a folder, read ones.
    """
    data, bucket, tables_dir = request.data, *_tables(request)
    files = needed_tables(data.published, data.choice)
    root = fetch_tables(bucket, files, tables_dir, advance)
    is_read: Callable[[int], object] = advance if bucket.folder else lambda num_bytes: None
    choice = data.choice
    if data.image_ids is not None:
        choice = replace(choice, image_ids=tuple(sorted(read_image_list(data.image_ids))))
    try:
        return list(select(root, data.published, choice, is_read).values())
    except Problem as problem:
        if problem.kind is Kind.DAMAGED and root == tables_dir:
            remove_damaged(Path(problem.subject))
        raise


def table_bytes(request: Request) -> dict[str, int]:
    """Return how much `select_subsets` reads, as a stage counts it."""
    data = request.data
    try:
        bucket, tables_dir = _tables(request)
        if bucket.folder:
            num_bytes = num_bytes_to_read(bucket.folder, data.published, data.choice)
        else:
            files = needed_tables(data.published, data.choice)
            num_bytes = bytes_to_download(bucket, files, tables_dir)
    except (OSError, Problem):
        num_bytes = 0  # reading the tables says best what is missing
    return {"bytes of tables": num_bytes}


def _tables(request: Request) -> tuple[Bucket, Path]:
    return Bucket(request.data.buckets[0], request.transfer), request.data.dir / "tables"


def _is_to_retry(request: Request) -> bool:
    """Return True if files are to be requested again that were not available the last time."""
    path = request.data.dir / MANIFEST_CSV
    if not request.retry_failed or not path.exists():
        return False
    return num_to_retry(read_manifest(path)) > 0


def _draw(request: Request) -> Stage:
    data, synthetic = request.data, request.data.synthetic
    assert synthetic is not None and data.source is not None
    release_dir = Path(data.source)

    def draw(advance: Advance) -> None:
        # The same ids may get other images: those of an earlier release must not stay.
        for fetched in ("images", "masks"):
            shutil.rmtree(data.dir / fetched, ignore_errors=True)
        for name in (MANIFEST_CSV, MANIFEST_SQLITE):
            (data.dir / name).unlink(missing_ok=True)
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
        count=lambda: {"images": sum(synthetic.num_images.values())},
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
        count=lambda: table_bytes(request),
        run=run,
    )


def _fetch(request: Request) -> Stage:
    data = request.data
    splits, mask_zip = data.choice.splits, data.published.mask_zip
    zips = [mask_zip(split, digit).path for split in splits for digit in HEX_DIGITS]

    def run(advance: Advance) -> None:
        files, (annotations, images) = list_files(load_subsets(data)), request.open_source()
        check_room(files, images, data.dir)
        fetch(
            files,
            annotations,
            images,
            data.dir,
            max_missing=request.max_missing,
            full_decode=request.full_decode or request.force,
            advance=advance,
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
        convert(load(data.dir / "subset", part), data.dir, request.num_workers, advance)

    return Stage(
        name=f"convert {part}",
        settings={},
        inputs=lambda: [*_subset_files(data, part), *_fetched(data)],
        outputs=lambda: [coco_path(data.dir, part)],
        count=lambda: {"images": len(load(data.dir / "subset", part).images)},
        run=run,
    )


def _verify(request: Request, part: str) -> Stage:
    data = request.data

    def run(advance: Advance) -> None:
        path, subset = coco_path(data.dir, part), load(data.dir / "subset", part)
        advance(verify(path, subset, data.dir, request.verify_sample))

    def count() -> dict[str, int]:
        num_annotations = read_converted(coco_path(data.dir, part)).num_annotations
        return {"annotations": min(request.verify_sample, num_annotations)}

    return Stage(
        name=f"verify {part}",
        settings={"sample": request.verify_sample},
        inputs=lambda: [coco_path(data.dir, part), *_subset_files(data, part)],
        outputs=list,
        count=count,
        run=run,
    )


def _audit(request: Request) -> Stage:
    data = request.data

    def run(advance: Advance) -> None:
        audit(data.dir, data.parts, request.train_parts, request.num_workers, advance)

    def count() -> dict[str, int]:
        paths = [coco_path(data.dir, part) for part in data.parts]
        return {"images": sum(read_converted(path).num_images for path in paths)}

    return Stage(
        name="audit",
        settings={"parts": data.parts, "train_parts": request.train_parts},
        inputs=lambda: [
            *(coco_path(data.dir, part) for part in data.parts),
            *_subset_files(data, *data.parts),
            *_fetched(data),
        ],
        outputs=lambda: [data.dir / AUDIT_JSON],
        count=count,
        run=run,
    )


def _count_files(files: pd.DataFrame) -> dict[str, int]:
    """Return how many files of each kind there are, in the order in which `fetch` fetches them."""
    num_of = files["Kind"].value_counts()
    return {name: int(num_of.get(kind, 0)) for name, kind in (("images", IMAGE), ("masks", MASK))}


def _selection(data: Data) -> dict[str, Any]:
    """Return the settings that decide what is selected."""
    return {
        "release": data.release,
        "buckets": data.buckets,
        "image_ids": str(data.image_ids),
        **data.choice.settings(),
    }


def _on_disk(bucket: str, *names: str) -> list[Path]:
    """Return where a bucket's files are; none of a remote one, whose changes are not noticed."""
    folder = folder_of(bucket)
    return [folder / name for name in names] if folder else []


def _subset_files(data: Data, *parts: str) -> list[Path]:
    endings = (".images.parquet", ".instances.parquet", ".json")
    return [data.dir / "subset" / f"{part}{ending}" for part in parts for ending in endings]


def _fetched(data: Data) -> list[Path]:
    """Return the folders of images and the zips of masks that are there."""
    images = [data.dir / "images" / split for split in data.choice.splits]
    return [*images, *sorted((data.dir / "masks").glob("*.zip"))]


def _remove_other_parts(data: Data) -> None:
    """Remove the files of parts that an earlier choice made, so that nobody trains on them."""
    wanted = {*_subset_files(data, *data.parts), *(coco_path(data.dir, p) for p in data.parts)}
    for pattern in ("subset/*.parquet", "subset/*.json", "coco/*.json"):
        for path in data.dir.glob(pattern):
            if path not in wanted:
                path.unlink()
