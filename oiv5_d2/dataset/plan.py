"""What a preparation would do, found out without doing any of it."""

import shutil
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from oiv5_d2.dataset.fetch import IMAGE, MASK, list_files
from oiv5_d2.dataset.preparation import load_subsets, select_subsets, stages
from oiv5_d2.dataset.request import Request
from oiv5_d2.dataset.stages import Advance, Stage, is_done
from oiv5_d2.dataset.stores import Source, Store, folder_source, open_key
from oiv5_d2.dataset.subset import Subset
from oiv5_d2.openimages import release

MAKERS = ("draw", "select", "fetch")  # whoever runs one of these runs all that follows


class Need(NamedTuple):
    """What one part needs of the source; bytes are of what is there."""

    part: str
    num_images: int
    num_masks: int
    num_objects: dict[str, int]
    """Objects to learn of each class."""
    num_ignored: int
    image_bytes: int
    mask_bytes: int
    num_absent: int
    """Pictures and masks that the source does not have."""


class Plan(NamedTuple):
    """What would be done."""

    stages: tuple[tuple[str, bool], ...]
    """Each stage's name, and whether it is done."""
    needs: tuple[Need, ...]
    """Of each part; empty where the source is still to be drawn."""
    free_bytes: int
    """On the disk of the data folder."""


def make_plan(request: Request, advance: Advance) -> Plan:
    """Find out what is to be done; nothing is written.

    Args:
        request: what is wanted.
        advance: called with the number of table bytes newly read.
    """
    steps = list(_states(request, stages(request)))
    states = dict(steps)
    if states.get("draw", True):
        subsets = load_subsets(request.data) if states["select"] else None
        source = folder_source(request.data.source)
        needs = tuple(
            _need(subset, source) for subset in subsets or select_subsets(request.data, advance)
        )
    else:
        needs = ()
    return Plan(tuple(steps), needs, shutil.disk_usage(_existing(request.data.dir)).free)


def _states(request: Request, steps: Iterable[Stage]) -> Iterable[tuple[str, bool]]:
    is_current = not request.force
    for stage in steps:
        done = is_current and is_done(stage, request.data.dir)
        if stage.name in MAKERS:
            is_current = done
        yield stage.name, done


def _need(subset: Subset, source: Source) -> Need:
    files = list_files([subset])
    images, masks = files[files["Kind"] == IMAGE], files[files["Kind"] == MASK]
    sizes = [*_image_sizes(images, source.images), *_mask_sizes(masks, source.annotations)]
    learnt = subset.instances[subset.instances["Ignore"] == ""]["ClassName"].value_counts()
    return Need(
        part=subset.part,
        num_images=len(images),
        num_masks=len(masks),
        num_objects={name: int(learnt.get(name, 0)) for name in subset.classes},
        num_ignored=int((subset.instances["Ignore"] != "").sum()),
        image_bytes=sum(size for size in sizes[: len(images)] if size is not None),
        mask_bytes=sum(size for size in sizes[len(images) :] if size is not None),
        num_absent=sizes.count(None),
    )


def _image_sizes(images: pd.DataFrame, store: Store) -> Iterable[int | None]:
    for split, name in zip(images["Split"], images["Path"], strict=True):
        try:
            yield store.head(release.image_key(split, name.removesuffix(".jpg"))).num_bytes
        except FileNotFoundError:
            yield None


def _mask_sizes(masks: pd.DataFrame, store: Store) -> Iterable[int | None]:
    for (split, digit), some in masks.groupby(["Split", "Digit"]):
        sizes = _entry_sizes(store, release.mask_zip(str(split), str(digit)).path)
        yield from (sizes.get(name) for name in some["Path"])


def _entry_sizes(store: Store, key: str) -> dict[str, int]:
    """Return the bytes of each file in a zip; none where there is no whole zip."""
    try:
        with open_key(store, key) as file, zipfile.ZipFile(file) as shard:
            return {entry.filename: entry.file_size for entry in shard.infolist()}
    except (FileNotFoundError, zipfile.BadZipFile):
        return {}


def _existing(path: Path) -> Path:
    """Return the path, or the nearest folder above it that exists."""
    parents: Sequence[Path] = [path, *path.absolute().parents]
    return next(parent for parent in parents if parent.exists())
