"""What a preparation would do, found out without fetching a picture or a mask.

The tables are read, because they say what is wanted; the mask zips' directories are read, because
they say where each mask lies; pictures are asked for their size, some of them where they are many.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from oiv5_d2.acquisition.disk import free_bytes
from oiv5_d2.acquisition.fetch import kept_zips_dir
from oiv5_d2.acquisition.images import lacking as images_lacking
from oiv5_d2.acquisition.images import sample
from oiv5_d2.acquisition.manifest import IMAGE, MASK
from oiv5_d2.acquisition.mask_zips.extraction import held_masks
from oiv5_d2.acquisition.mask_zips.mask_zip import MaskZip, lacking
from oiv5_d2.acquisition.mask_zips.ranges import ZipPlan
from oiv5_d2.acquisition.shards import shard_path
from oiv5_d2.acquisition.mask_zips.spool import Held
from oiv5_d2.acquisition.stores import Head, Source, Store, StoreError, is_remote
from oiv5_d2.jobs import Advance, Show, unseen
from oiv5_d2.openimages import release
from oiv5_d2.preparation.plan import ImageNeed, Need, Plan, ZipNeed
from oiv5_d2.preparation.rates import TABLES, Rate, keep_rate, read_rate
from oiv5_d2.preparation.request import Request
from oiv5_d2.preparation.sources import count_tables, load_subsets, open_buckets, select_subsets
from oiv5_d2.preparation.stages import Stage
from oiv5_d2.preparation.steps import is_to_do, stages
from oiv5_d2.selection.files import list_files
from oiv5_d2.selection.subset import Subset

MAKERS = ("draw", "select", "fetch")  # whoever runs one of these runs all that follows
FEW = 32  # pictures; of fewer, opening connections takes the longest
SAMPLE = 200  # pictures of a split that a server is asked about; more say hardly more


def make_plan(request: Request, show: Show = unseen) -> Plan:
    """Find out what is to be done. What was read for it over a network is kept for doing it.

    Args:
        request: what is wanted.
        show: shows how far each of its steps is.

    Raises:
        StoreError: a table, or the size of a single picture of some split, can't be had.
    """
    data = request.data
    steps = tuple(_states(request, stages(request)))
    states = dict(steps)
    if not states.get("draw", True):
        return Plan(steps, free_bytes=free_bytes(data.dir))
    if states["select"]:
        subsets = load_subsets(data)
    else:
        subsets = _select(request, show)
    needs = tuple(_need(subset) for subset in subsets)
    if states["fetch"]:
        return Plan(steps, needs, locations=data.buckets, free_bytes=free_bytes(data.dir))
    files = list_files(subsets)
    with open_buckets(request) as source:
        masks = files[files["Kind"] == MASK]
        masks_dir = data.dir / "masks"
        num_zips = masks.groupby(["Split", "Digit"]).ngroups
        with show("zip directories", {"zips": num_zips}) as advance:
            needs_of = _zip_needs(masks, source.annotations, masks_dir, request.keep_zips, advance)
            zips = tuple(needs_of)
        begin = time.monotonic()
        images = tuple(_image_needs(files[files["Kind"] == IMAGE], source, data.dir, show))
        seconds = time.monotonic() - begin
    num_asked = sum(need.num_asked for need in images) if is_remote(data.buckets[1]) else 0
    rate, rate_is = _rate(request)
    return Plan(
        stages=steps,
        needs=needs,
        images=images,
        zips=zips,
        locations=data.buckets,
        free_bytes=free_bytes(data.dir),
        bytes_per_second=rate,
        rate_is=rate_is,
        answers_per_second=num_asked / seconds if num_asked >= FEW else None,
        keeps_zips=request.keep_zips,
    )


def _select(request: Request, show: Show) -> list[Subset]:
    """Select the subsets; how fast the tables came is kept."""
    num_bytes: list[int] = []
    with show("tables", count_tables(request)) as advance:
        begin = time.monotonic()
        subsets = select_subsets(request, advance, num_bytes.append)
        rate = Rate(sum(num_bytes), time.monotonic() - begin, TABLES)
    keep_rate(request.data.dir, request.data.buckets[1], rate)
    return subsets


def _rate(request: Request) -> tuple[float | None, str]:
    """Return how many bytes a second a plan counts with, and where that number comes from."""
    if request.rate:
        return request.rate, "given"
    kept = read_rate(request.data.dir, request.data.buckets[1])
    return (kept.bytes_per_second, str(kept)) if kept else (None, "")


def _states(request: Request, steps: Iterable[Stage]) -> Iterable[tuple[str, bool]]:
    is_current = True
    for stage in steps:
        done = is_current and not is_to_do(stage, request)
        if stage.name in MAKERS:
            is_current = done
        yield stage.name, done


def _need(subset: Subset) -> Need:
    files = list_files([subset])
    learnt = subset.instances[subset.instances["Ignore"] == ""]
    masks_of = learnt["ClassName"].value_counts()
    images_of = learnt.groupby("ClassName")["ImageID"].nunique()
    return Need(
        part=subset.part,
        num_images=int((files["Kind"] == IMAGE).sum()),
        num_masks=int((files["Kind"] == MASK).sum()),
        images_of={name: int(images_of.get(name, 0)) for name in subset.classes},
        masks_of={name: int(masks_of.get(name, 0)) for name in subset.classes},
        num_ignored=int((subset.instances["Ignore"] != "").sum()),
    )


def _image_needs(
    images: pd.DataFrame, source: Source, data_dir: Path, show: Show
) -> Iterator[ImageNeed]:
    for split, rows in images.groupby("Split"):
        keys = images_lacking([f"{split}/{name}" for name in rows["Path"]], data_dir / "images")
        asked = sample(keys, SAMPLE) if is_remote(source.images.location) else keys
        with show(f"picture sizes, {split}", {"pictures": len(asked)}) as advance:
            need = _image_need(str(split), len(keys), asked, source.images, advance)
        yield need


def _image_need(
    split: str, num_files: int, asked: Sequence[str], store: Store, advance: Advance
) -> ImageNeed:
    heads = []
    for _, head in store.head_many(asked):
        heads.append(head)
        advance(1)
    sizes = [head.num_bytes for head in heads if isinstance(head, Head)]
    num_absent = sum(isinstance(head, FileNotFoundError) for head in heads)
    errors = [str(head) for head in heads if isinstance(head, StoreError)]
    num_told = len(sizes) + num_absent
    if errors and not num_told:
        raise StoreError(f"{store.location}/{split}: no picture's size is to be had: {errors[0]}")
    num_bytes = round(sum(sizes) * num_files / num_told) if num_told else 0
    why = errors[0] if errors else ""
    return ImageNeed(split, num_files, num_bytes, len(asked), num_absent, len(errors), why)


def _zip_needs(
    masks: pd.DataFrame, store: Store, masks_dir: Path, keep_zips: bool, advance: Advance
) -> Iterator[ZipNeed]:
    for (split, digit), rows in masks.groupby(["Split", "Digit"]):
        file = release.mask_zip(str(split), str(digit))
        path = shard_path(masks_dir, str(split), str(digit))
        mask_zip = MaskZip(store, file, path, kept_zips_dir(masks_dir, keep_zips), "auto")
        names = rows["Path"].tolist()
        held, is_begun = held_masks(path, names)
        num_needed = sum(name not in held for name in names)
        if num_needed == 0:
            advance(1)
            continue
        found: tuple[ZipPlan | None, str, int]
        try:
            found = _look(mask_zip, names, held, is_begun)
        except FileNotFoundError:
            found = None, "it is not there", 0
        except (OSError, ValueError) as error:
            found = None, str(error), 0
        yield ZipNeed(str(split), str(digit), num_needed, *found)
        advance(1)


def _look(
    mask_zip: MaskZip, wanted: Sequence[str], held: Mapping[str, Held], is_begun: bool
) -> tuple[ZipPlan, str, int]:
    """Return how a zip's masks are still to be had, why, and their bytes."""
    near = mask_zip.near(wanted)
    directory = near.directory if near else mask_zip.read_directory(wanted)
    if directory is None:
        num_bytes = mask_zip.store.head(mask_zip.file.path).num_bytes
        why = "the server has only whole files to give"
        return ZipPlan(False, len(wanted), 0, 0, 0, num_bytes, why), why, num_bytes
    plan = mask_zip.choose(directory, wanted, held, is_begun)
    if near:
        why = "it is here: what is wanted is read out of it"
        is_here = near.store is not mask_zip.store
        plan = plan._replace(by_range=True, why=why, is_here=is_here)
    else:  # the directory came, and is kept
        plan = plan._replace(range_bytes=plan.range_bytes - directory.directory_bytes)
    entries = lacking(directory.entries.values(), held).values()
    return plan, plan.why, sum(entry.num_bytes for entry in entries)
