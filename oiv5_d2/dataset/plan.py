"""What a preparation would do, found out without fetching a picture or a mask.

The tables are read, because they say what is wanted; the mask zips' directories are read, because
they say where each mask lies; pictures are asked for their size, some of them where they are many.
"""

import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from oiv5_d2.dataset.central_directory import read_directory
from oiv5_d2.dataset.fetch import list_files
from oiv5_d2.dataset.manifest import IMAGE, MASK
from oiv5_d2.dataset.mask_zips import kept_directory_path
from oiv5_d2.dataset.preparation import load_subsets, open_buckets, select_subsets, stages
from oiv5_d2.dataset.ranges import ZipPlan, how
from oiv5_d2.dataset.request import Request
from oiv5_d2.dataset.shards import shard_path
from oiv5_d2.dataset.stages import Advance, Stage, is_done
from oiv5_d2.dataset.stores import Head, Source, Store, is_remote
from oiv5_d2.dataset.subset import Subset
from oiv5_d2.openimages import release

MAKERS = ("draw", "select", "fetch")  # whoever runs one of these runs all that follows
SAMPLE = 200  # pictures of a split that a server is asked about; more say hardly more


class Need(NamedTuple):
    """What one part is to have."""

    part: str
    num_images: int
    num_masks: int
    images_of: dict[str, int]
    """Images that show an object to learn, by class."""
    masks_of: dict[str, int]
    """Objects to learn, by class."""
    num_ignored: int


class ImageNeed(NamedTuple):
    """The pictures of one split that are not on the disk yet."""

    split: str
    num_files: int
    num_bytes: int
    num_asked: int
    """How many of them were asked for their size; fewer than all: `num_bytes` is an estimate."""
    num_absent: int
    """Of those asked, how many the source does not have."""


class ZipNeed(NamedTuple):
    """One mask zip."""

    split: str
    digit: str
    num_wanted: int
    plan: ZipPlan | None
    """How its masks are to be had; None: it can not be read."""
    why: str
    directory_bytes: int = 0
    """That came over a network to make this plan, and not for an earlier one."""
    wanted_bytes: int = 0
    """Of the masks themselves, as they come to lie on the disk."""


@dataclass(frozen=True)
class Plan:
    """What would be done."""

    stages: tuple[tuple[str, bool], ...]
    """Each stage's name, and whether it is done."""
    needs: tuple[Need, ...] = ()
    """Of each part; empty where the source is still to be drawn."""
    images: tuple[ImageNeed, ...] = ()
    zips: tuple[ZipNeed, ...] = ()
    locations: tuple[str, str] = ("", "")
    """Of the annotations and of the images."""
    free_bytes: int = 0
    """On the disk of the data folder."""
    bytes_per_second: float | None = None
    """As given, or as measured on the way; None where nothing came over a network."""

    @property
    def image_bytes(self) -> int:
        """Bytes of pictures to fetch."""
        return sum(need.num_bytes for need in self.images)

    @property
    def mask_bytes(self) -> int:
        """Bytes to fetch for the masks, the zips' directories included."""
        plans = [need.plan for need in self.zips if need.plan]
        return sum(plan.range_bytes if plan.by_range else plan.zip_bytes for plan in plans)

    @property
    def disk_bytes(self) -> int:
        """Disk that is needed on the way: a zip that comes whole lies there for a while."""
        whole = [n.plan.zip_bytes for n in self.zips if n.plan and not n.plan.by_range]
        kept = sum(need.wanted_bytes for need in self.zips)
        return self.image_bytes + kept + max(whole, default=0)

    @property
    def seconds(self) -> float | None:
        """How long the fetching takes at that rate."""
        if self.bytes_per_second is None:
            return None
        return (self.image_bytes + self.mask_bytes) / self.bytes_per_second


def make_plan(request: Request, advance: Advance) -> Plan:
    """Find out what is to be done. What was read for it over a network is kept for doing it.

    Args:
        request: what is wanted.
        advance: called with the number of table bytes newly read.
    """
    data = request.data
    steps = tuple(_states(request, stages(request)))
    states = dict(steps)
    free_bytes = shutil.disk_usage(_existing(data.dir)).free
    if not states.get("draw", True):
        return Plan(steps, free_bytes=free_bytes)
    subsets = load_subsets(data) if states["select"] else select_subsets(request, advance)
    needs = tuple(_need(subset) for subset in subsets)
    if states["fetch"]:
        return Plan(steps, needs, locations=data.buckets, free_bytes=free_bytes)
    files = list_files(subsets)
    with open_buckets(request) as source:
        begin = time.monotonic()
        masks = files[files["Kind"] == MASK]
        zips = tuple(_zip_needs(masks, source.annotations, data.dir / "masks"))
        seconds = time.monotonic() - begin
        images = tuple(_image_needs(files[files["Kind"] == IMAGE], source, data.dir))
    directory_bytes = sum(need.directory_bytes for need in zips)
    rate = request.rate or (directory_bytes / seconds) or None
    return Plan(steps, needs, images, zips, data.buckets, free_bytes, rate)


def _states(request: Request, steps: Iterable[Stage]) -> Iterable[tuple[str, bool]]:
    is_current = not request.force
    for stage in steps:
        done = is_current and is_done(stage, request.data.dir)
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


def _image_needs(images: pd.DataFrame, source: Source, data_dir: Path) -> Iterator[ImageNeed]:
    for split, rows in images.groupby("Split"):
        keys = [
            f"{split}/{name}"
            for name in rows["Path"]
            if not (data_dir / "images" / str(split) / name).exists()
        ]
        asked = _sample(keys) if is_remote(source.images.location) else keys
        heads = [head for _, head in source.images.head_many(asked)]
        sizes = [head.num_bytes for head in heads if isinstance(head, Head)]
        num_bytes = round(sum(sizes) * len(keys) / len(asked)) if asked else 0
        yield ImageNeed(str(split), len(keys), num_bytes, len(asked), len(asked) - len(sizes))


def _sample(keys: Sequence[str]) -> Sequence[str]:
    """Return some of the keys, evenly spread."""
    return keys[:: max(1, -(-len(keys) // SAMPLE))]


def _zip_needs(masks: pd.DataFrame, store: Store, masks_dir: Path) -> Iterator[ZipNeed]:
    for (split, digit), rows in masks.groupby(["Split", "Digit"]):
        names = rows["Path"].tolist()
        of_zip = (str(split), str(digit), len(names))
        key, kept_path = release.mask_zip(str(split), str(digit)).path, None
        if is_remote(store.location):  # what is fetched next needs it again
            kept_path = kept_directory_path(shard_path(masks_dir, str(split), str(digit)))
        comes = kept_path is not None and not kept_path.exists()
        try:
            directory = read_directory(store, key, names, kept_path)
        except FileNotFoundError:
            yield ZipNeed(*of_zip, None, "it is not there")
        except (OSError, ValueError) as error:
            yield ZipNeed(*of_zip, None, str(error))
        else:
            plan = how(directory, names)
            wanted_bytes = sum(entry.num_bytes for entry in directory.entries.values())
            num_came = directory.directory_bytes if comes else 0
            yield ZipNeed(*of_zip, plan, plan.why, num_came, wanted_bytes)


def _existing(path: Path) -> Path:
    """Return the path, or the nearest folder above it that exists."""
    parents: Sequence[Path] = [path, *path.absolute().parents]
    return next(parent for parent in parents if parent.exists())
