"""Preparing data from a release to audited COCO files, as a row of stages that can be resumed."""

import json
import logging
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd

from oiv5_d2.acquisition.buckets import Bucket
from oiv5_d2.acquisition.downloads import download
from oiv5_d2.acquisition.fetch import fetch
from oiv5_d2.acquisition.layouts import find_images, find_tables
from oiv5_d2.acquisition.manifest import (
    IMAGE,
    MANIFEST_CSV,
    MANIFEST_SQLITE,
    num_to_retry,
    read_manifest,
)
from oiv5_d2.acquisition.tables import bytes_to_download, fetch_tables, repaired
from oiv5_d2.acquisition.transfer import folder_of
from oiv5_d2.audit.audit import audit, checks_version
from oiv5_d2.audit.figures import AUDIT_JSON
from oiv5_d2.conversion.adopt import Given, adopt
from oiv5_d2.conversion.coco_file import count_images
from oiv5_d2.conversion.convert import coco_path, convert, read_converted
from oiv5_d2.conversion.cuts import Cut
from oiv5_d2.conversion.image_store import BUCKET_JSON, PACKED, index_path
from oiv5_d2.conversion.packing import MB, find_shards, pack
from oiv5_d2.conversion.verify import verify
from oiv5_d2.files import whole_file
from oiv5_d2.jobs import Advance, Show, ignore
from oiv5_d2.openimages.release import HEX_DIGITS
from oiv5_d2.preparation import listings
from oiv5_d2.preparation.disk import check_room
from oiv5_d2.preparation.settings import Data, Request
from oiv5_d2.preparation.stages import Stage, former_settings, is_done, run
from oiv5_d2.problems import Kind, Problem, Remedy
from oiv5_d2.selection.select import needed_tables, num_bytes_to_read, select
from oiv5_d2.selection.subset import Subset, list_files, load, save, saved_files
from oiv5_d2.synthetic import thin_out, write_release

logger = logging.getLogger(__name__)

_SECRET = re.compile("key|secret|token|password")  # of a store's settings
_MANY_CROWDS = (
    "%s: %d objects have iscrowd=1 and are ignored. If each is a single object, as in masks that"
    " CVAT and Datumaro export, use a copy:  jq -c '.annotations[].iscrowd = 0' %s > single.json"
)


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
    _refuse_another_data_set(request)
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
    packs = [_pack(request, part) for part in data.parts] if request.pack else []
    if data.packed is not None:
        return [_open(request, data.packed)]
    if data.coco is not None:
        adoptions = [_adopt(request, part, path) for part, path in data.coco.items()]
        return [*adoptions, _audit(request), *packs]
    return [
        *([_draw(request)] if data.is_drawn else []),
        _select(request),
        _fetch(request),
        *(_convert(request, part) for part in data.parts),
        *(_verify(request, part) for part in data.parts),
        _audit(request),
        *packs,
    ]


def _refuse_another_data_set(request: Request) -> None:
    """Refuse to replace what was prepared in this folder under another name or for other classes.

    Raises:
        Problem: MISMATCH, with the files that would be replaced; FOREIGN, nothing was prepared
            here, or a file is one that is to be read.
    """
    data, paths = request.data, sorted((request.data.dir / "coco").glob("*.json"))
    now = {"name": data.name, "classes": list(data.choice.classes)}
    formers = [former_settings(stage, data.dir) for stage in stages(request)]
    is_given = any(_is_same(path, data) for path in paths)
    if paths and (is_given or not (any(formers) or request.force)):
        detail, keys = "it would be replaced", "data.name data.dir"
        raise Problem(Kind.FOREIGN, paths[0], detail, key=keys, remedy=Remedy.MOVE_AWAY)
    for former in formers:
        changed = {key: former[key] for key in now if former.get(key, now[key]) != now[key]}
        if changed and paths and not request.force:
            was = ", ".join(f"data.{key}={value}" for key, value in changed.items())
            detail = f"made with {was}; it would be replaced, as {', '.join(map(str, paths[1:]))}"
            detail = detail if len(paths) > 1 else f"made with {was}; it would be replaced"
            keys, remedy = "data.name data.dir force=true", Remedy.CHANGE_SETTING
            raise Problem(Kind.MISMATCH, paths[0], detail, key=keys, remedy=remedy)


def _is_same(path: Path, data: Data) -> bool:
    """Return True if a file of the data folder is one of the COCO files that a user gave."""
    return any(path.samefile(given) for given in (data.coco or {}).values())


def is_to_do(stage: Stage, request: Request) -> bool:
    """Return True if a stage has to run."""
    if request.force or not is_done(stage, request.data.dir):
        return True
    path = request.data.dir / MANIFEST_CSV
    is_retry = request.retry_failed and stage.name == "fetch" and path.exists()
    return is_retry and num_to_retry(read_manifest(path)) > 0


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
    data, (bucket, tables_dir) = request.data, open_tables(request)
    choice, needed = data.choice, needed_tables(data.published, data.choice)
    paths = fetch_tables(bucket, needed, tables_dir, advance)
    if data.image_ids is not None:
        ids = listings.read_image_list(data.image_ids)
        choice = replace(choice, image_ids=tuple(sorted(ids)))
    is_read = advance if bucket.folder else ignore
    while True:
        try:
            return list(select(paths.__getitem__, data.published, choice, is_read).values())
        except Problem as problem:
            if problem.kind is not Kind.DAMAGED:
                raise
            paths |= repaired(problem, bucket, needed, paths, tables_dir)


def needed_files(subsets: Iterable[Subset], images: Bucket) -> pd.DataFrame:
    """Return what subsets need, see `list_files`; an image's Key is where a folder has it."""
    files = list_files(subsets)
    if images.folder:
        is_image = files["Kind"] == IMAGE
        files.loc[is_image, "Key"] = find_images(images.folder, files[is_image])
    return files


def table_bytes(request: Request) -> dict[str, int]:
    """Return how much `select_subsets` reads, as a stage counts it."""
    release, choice = request.data.published, request.data.choice
    try:
        bucket, tables_dir = open_tables(request)
        needed = needed_tables(release, choice)
        if bucket.folder:
            found = find_tables(bucket.folder, needed)
            num_bytes = num_bytes_to_read(found.__getitem__, release, choice)
        else:
            num_bytes = bytes_to_download(bucket, needed, tables_dir)
    except (OSError, Problem):
        num_bytes = 0  # reading the tables says best what is missing
    return {"bytes of tables": num_bytes}


def open_tables(request: Request) -> tuple[Bucket, Path]:
    """Return the bucket of tables, and the folder that keeps copies."""
    return Bucket(request.data.buckets[0], request.transfer), request.data.dir / "tables"


def _open(request: Request, location: str) -> Stage:
    """Bring all but the images of a prepared data set, and note where these are."""
    data, about = request.data, asdict(request.transfer)
    indices = [f"{PACKED}/{part}.arrow" for part in data.parts]
    keys = [*(f"coco/{part}.json" for part in data.parts), *indices, AUDIT_JSON]
    note = data.dir / PACKED / BUCKET_JSON

    def run(advance: Advance) -> None:
        bucket = Bucket(location, request.transfer)
        for key in keys:
            download(bucket, key, data.dir / key, advance)
        about["store"] = {k: v for k, v in about["store"].items() if not _SECRET.search(k)}
        with whole_file(note) as temporary:
            temporary.write_text(json.dumps({"location": bucket.location, "transfer": about}))

    return Stage(
        name="open",
        settings={"name": data.name, "classes": list(data.choice.classes), "packed": location},
        inputs=list,
        outputs=lambda: [*(data.dir / key for key in keys), note],
        count=lambda: {"bytes": 0},
        run=run,
    )


def _draw(request: Request) -> Stage:
    data, synthetic = request.data, request.data.synthetic
    assert synthetic is not None and data.source is not None
    root, num_images, (height, width) = Path(data.source), synthetic.num_images, synthetic.size

    def draw(advance: Advance) -> None:
        # The same ids may get other images: those of an earlier release must not stay.
        for fetched in ("images", "masks"):
            shutil.rmtree(data.dir / fetched, ignore_errors=True)
        for name in (MANIFEST_CSV, MANIFEST_SQLITE):
            (data.dir / name).unlink(missing_ok=True)
        size, workers = (height, width), request.num_workers
        write_release(root, num_images, size, synthetic.seed, advance, workers, data.published)
        if synthetic.partial is not None:
            thin_out(root, synthetic.partial, synthetic.seed, data.published)

    return Stage(
        name="draw",
        settings={"release": data.release, **asdict(synthetic)},
        inputs=list,
        outputs=lambda: [path for path in root.rglob("*") if path.is_file()],
        count=lambda: {"images": sum(num_images.values())},
        run=draw,
    )


def _select(request: Request) -> Stage:
    data, choice = request.data, request.data.choice
    lists = [data.dir / listings.CREDITS_CSV, data.dir / listings.IMAGE_LIST_TXT]

    def inputs() -> list[Path]:
        return [*_tables_on_disk(request), *([data.image_ids] if data.image_ids else [])]

    def run(advance: Advance) -> None:
        subsets = select_subsets(request, advance)
        _remove_other_parts(data)
        for subset in subsets:
            save(subset, data.dir / "subset")
        listings.write_credits(subsets, lists[0])
        listings.write_image_list(subsets, lists[1])

    about = {
        "name": data.name,
        "release": data.release,
        "buckets": data.buckets,
        "image_ids": str(data.image_ids),
    }
    return Stage(
        name="select",
        settings=about | choice.settings(),
        inputs=inputs,
        outputs=lambda: _subset_files(data, *data.parts) + lists,
        count=lambda: table_bytes(request),
        run=run,
    )


def _adopt(request: Request, part: str, path: Path) -> Stage:
    data, workers = request.data, request.num_workers
    classes, folder, to = list(data.choice.classes), data.image_folder, coco_path(data.dir, part)
    shares, seed = data.choice.shares, data.choice.seed
    cut = Cut(part, shares, seed) if shares else None

    def run(advance: Advance) -> None:
        if cut:  # a part of an earlier cut would share images with the new ones
            _remove_other_parts(data)
        given = Given(path, folder, cut)
        adopted = adopt(given, classes, to, workers, data.outlines, advance)
        if adopted.num_of_other_classes:
            what = "%s: %d annotations of other classes are left out"
            logger.warning(what, path, adopted.num_of_other_classes)
        if adopted.num_crowds > sum(adopted.num_objects.values()):
            logger.warning(_MANY_CROWDS, path, adopted.num_crowds, path)

    return Stage(
        name=f"adopt {part}",
        settings={
            "name": data.name,
            "path": str(path),
            "classes": classes,
            **data.outlines.settings(),
            **(cut.settings() if cut else {}),
            "images": str(folder),
        },
        inputs=lambda: [path],
        outputs=lambda: [to],
        count=lambda: {"images": 0},
        run=run,
    )


def _fetch(request: Request) -> Stage:
    data, masks, images = request.data, *request.data.buckets
    splits, mask_zip = data.choice.splits, data.published.mask_zip
    zips = [mask_zip(split, digit).path for split in splits for digit in HEX_DIGITS]
    # A folder's own time changes when a file in it is added, such as an unpacked mask.
    sources = _on_disk(images, ["", *splits])
    sources += _on_disk(masks, zips + sorted({str(Path(path).parent) for path in zips}))
    settings = {"max_missing": request.max_missing, "full_decode": request.full_decode}

    def count() -> dict[str, int]:
        kinds = list_files(load_subsets(data)).groupby("Kind")  # images first, as they are fetched
        return {f"{kind}s": int(number) for kind, number in kinds.size().items()}

    def run(advance: Advance) -> None:
        annotations, images = request.open_source()
        files = needed_files(load_subsets(data), images)
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
        settings=settings | {"buckets": data.buckets},
        inputs=lambda: _subset_files(data, *data.parts) + sources,
        outputs=lambda: [data.dir / MANIFEST_CSV, *_fetched(data)],
        count=count,
        run=run,
    )


def _convert(request: Request, part: str) -> Stage:
    data, subset_dir = request.data, request.data.dir / "subset"
    return Stage(
        name=f"convert {part}",
        settings=data.outlines.settings(),
        inputs=lambda: _subset_files(data, part) + _fetched(data),
        outputs=lambda: [coco_path(data.dir, part)],
        count=lambda: {"images": len(load(subset_dir, part).images)},
        run=lambda advance: convert(
            load(subset_dir, part), data.dir, request.num_workers, advance, data.outlines
        ),
    )


def _verify(request: Request, part: str) -> Stage:
    data, sample, path = request.data, request.verify_sample, coco_path(request.data.dir, part)
    return Stage(
        name=f"verify {part}",
        settings={"sample": sample},
        inputs=lambda: [path, *_subset_files(data, part)],
        outputs=list,
        count=lambda: {"annotations": min(sample, read_converted(path).num_annotations)},
        run=lambda advance: advance(
            verify(path, load(data.dir / "subset", part), data.dir, sample)
        ),
    )


def _audit(request: Request) -> Stage:
    data, trained, workers = request.data, request.train_parts, request.num_workers
    paths = [coco_path(data.dir, part) for part in data.parts]
    return Stage(
        name="audit",
        settings={"parts": data.parts, "train_parts": trained, "checks": checks_version()},
        inputs=lambda: paths + ([] if data.coco else _sources(data)),
        outputs=lambda: [data.dir / AUDIT_JSON],
        count=lambda: {"images": sum(map(count_images, paths))},
        run=lambda advance: audit(data.dir, data.parts, trained, workers, advance),
    )


def _pack(request: Request, part: str) -> Stage:
    data, path = request.data, coco_path(request.data.dir, part)
    images_dir, shard_bytes = data.dir / "images", request.shard_mb * MB
    splits = [] if data.coco else [images_dir / split for split in data.choice.splits]
    return Stage(
        name=f"pack {part}",
        settings={"shard_mb": request.shard_mb},
        inputs=lambda: [path, *splits],
        outputs=lambda: [index_path(path), *find_shards(path)],
        count=lambda: {"images": count_images(path)},
        run=lambda advance: pack(path, images_dir, shard_bytes, advance),
    )


def _on_disk(bucket: str, names: Iterable[str]) -> list[Path]:
    """Return where a bucket's files are; none of a remote one, whose changes are not noticed."""
    folder = folder_of(bucket)
    return [folder / name for name in names] if folder else []


def _tables_on_disk(request: Request) -> list[Path]:
    """Return where the tables of a folder are; none of a remote bucket."""
    data = request.data
    needed, folder = needed_tables(data.published, data.choice), folder_of(data.buckets[0])
    try:
        return list(find_tables(folder, needed).values()) if folder else []
    except Problem:  # said when they are read
        return _on_disk(data.buckets[0], [table.path for table in needed])


def _sources(data: Data) -> list[Path]:
    return _subset_files(data, *data.parts) + _fetched(data)


def _subset_files(data: Data, *parts: str) -> list[Path]:
    return [path for part in parts for path in saved_files(data.dir / "subset", part)]


def _fetched(data: Data) -> list[Path]:
    """Return the folders of images and the zips of masks that are there."""
    images = [data.dir / "images" / split for split in data.choice.splits]
    return [*images, *sorted((data.dir / "masks").glob("*.zip"))]


def _remove_other_parts(data: Data) -> None:
    """Remove the files of parts that an earlier choice made, so that nobody trains on them."""
    paths = [coco_path(data.dir, part) for part in data.parts]
    packed = {*map(index_path, paths), *(shard for path in paths for shard in find_shards(path))}
    wanted = {*_subset_files(data, *data.parts), *paths, *packed}
    patterns = "subset/*.parquet", "subset/*.json", "coco/*.json", "packed/*.arrow", "packed/*.tar"
    for pattern in patterns:
        for path in data.dir.glob(pattern):
            if path not in wanted:
                path.unlink()
