"""What a preparation would do, found out without fetching an image or a mask.

The tables are read, because they say which files are needed, and the mask zips' directories,
because they say where each mask is. Of a server's images, a sample is asked for its size.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from oiv5_d2.acquisition.images import ImageNeed, needed_images
from oiv5_d2.acquisition.manifest import IMAGE, MASK
from oiv5_d2.acquisition.mask_zips import ZipNeed, needed_bytes
from oiv5_d2.conversion.convert import coco_path
from oiv5_d2.conversion.packing import list_members
from oiv5_d2.files import free_bytes
from oiv5_d2.jobs import Show, unseen
from oiv5_d2.preparation.disk import bytes_beside
from oiv5_d2.preparation.settings import Request
from oiv5_d2.preparation.steps import (
    is_to_do,
    load_subsets,
    needed_files,
    select_subsets,
    stages,
    table_bytes,
)
from oiv5_d2.problems import Problem
from oiv5_d2.selection.subset import Subset

MAKERS = ("draw", "select", "fetch")  # when one of these runs, everything after it runs
SAMPLE = 200  # images of a split that a server is asked about; more hardly change the estimate


class PartNeed(NamedTuple):
    """What one part of the data set will contain."""

    part: str
    num_images: int
    num_masks: int
    images_of: dict[str, int]
    """Images with a training target, by class."""
    masks_of: dict[str, int]
    """Training targets, by class."""
    num_ignored: int
    num_without_target: int
    """Images without a training target."""


class SplitNeed(NamedTuple):
    """What is still to be fetched of one official split."""

    split: str
    images: ImageNeed
    masks: ZipNeed
    """Of all its zips."""
    problems: tuple[Problem, ...]
    """Why some files could not be asked about; the first of each kind."""


@dataclass(frozen=True)
class Plan:
    """What would be done."""

    stages: tuple[tuple[str, bool], ...]
    """Each stage's name, and whether it is done."""
    parts: tuple[PartNeed, ...] = ()
    """Empty if the source is still to be drawn."""
    splits: tuple[SplitNeed, ...] = ()
    free_bytes: int = 0
    """On the disk of the data folder."""
    pack_bytes: int = 0
    """Of packed images that are still to be written."""

    @property
    def num_bytes(self) -> int:
        """Bytes to fetch."""
        return sum(split.images.num_bytes + split.masks.num_bytes for split in self.splits)

    @property
    def disk_bytes(self) -> int:
        """Disk space that is needed: masks are there twice until their zip is complete."""
        done = {name for name, is_done in self.stages if is_done}
        new = [part for part in self.parts if f"convert {part.part}" not in done]
        beside = sum(
            bytes_beside(part.num_images, part.num_masks, part.num_ignored) for part in new
        )
        twice = sum(split.masks.num_bytes for split in self.splits)
        return self.num_bytes + twice + beside + self.pack_bytes


def seconds_at(num_bytes: int, bits_per_second: float) -> float:
    """Return how long a download takes at a network's full rate."""
    return num_bytes * 8 / bits_per_second


def make_plan(request: Request, show: Show = unseen) -> Plan:
    """Find out what is to be done. What is downloaded for it is kept for doing it.

    Args:
        request: the settings.
        show: shows the progress of each step.

    Raises:
        Problem: a table is not available, or a setting is wrong.
    """
    data = request.data
    steps = tuple(_states(request))
    is_done = dict(steps)
    if not is_done.get("draw", True):
        return Plan(steps, free_bytes=free_bytes(data.dir))
    if not data.is_made_here:
        packed = _bytes_to_pack(request, is_done, ())
        return Plan(steps, free_bytes=free_bytes(data.dir), pack_bytes=packed)
    if is_done["select"]:
        subsets = load_subsets(data)
    else:
        with show("tables", table_bytes(request)) as advance:
            subsets = select_subsets(request, advance)
    parts = tuple(_part_need(subset) for subset in subsets)
    splits: tuple[SplitNeed, ...] = ()
    if not is_done["fetch"]:
        splits = tuple(_split_needs(subsets, request, show))
    packed = _bytes_to_pack(request, is_done, splits)
    return Plan(steps, parts, splits, free_bytes(data.dir), packed)


def _bytes_to_pack(
    request: Request, is_done: Mapping[str, bool], splits: Iterable[SplitNeed]
) -> int:
    """Return what packs will take: as much as their images, which are there or to be fetched."""
    data = request.data
    paths = [coco_path(data.dir, part) for part in data.parts if not is_done.get(f"pack {part}", 1)]
    try:
        members = [one for path in paths for one in list_members(path, data.dir / "images")]
    except Problem:  # not converted yet
        return sum(split.images.num_bytes for split in splits)
    return sum(one.num_bytes for one in members)


def _states(request: Request) -> Iterator[tuple[str, bool]]:
    is_current = True
    for stage in stages(request):
        done = is_current and not is_to_do(stage, request)
        if stage.name in MAKERS:
            is_current = done
        yield stage.name, done


def _part_need(subset: Subset) -> PartNeed:
    targets = subset.instances[subset.instances["Ignore"] == ""]
    masks_of = targets["ClassName"].value_counts()
    images_of = targets.groupby("ClassName")["ImageID"].nunique()
    return PartNeed(
        part=subset.part,
        num_images=len(subset.images),
        num_masks=len(targets),
        images_of={name: int(images_of.get(name, 0)) for name in subset.classes},
        masks_of={name: int(masks_of.get(name, 0)) for name in subset.classes},
        num_ignored=len(subset.instances) - len(targets),
        num_without_target=len(subset.images) - targets["ImageID"].nunique(),
    )


def _split_needs(subsets: list[Subset], request: Request, show: Show) -> Iterator[SplitNeed]:
    annotations, images = request.open_source()
    for split, rows in needed_files(subsets, images).groupby("Split"):
        of_images, masks = (rows[rows["Kind"] == kind] for kind in (IMAGE, MASK))
        most = len(of_images) if images.folder else SAMPLE
        image_need = needed_images(of_images, images, request.data.dir / "images", most)
        problems = [image_need.problem] if image_need.problem else []
        zips = masks.groupby("Key")["Name"]
        needs = [ZipNeed()]
        with show(f"mask zips of {split}", {"mask zips": len(zips)}) as advance:
            for key, names in zips:
                shard_path = request.data.dir / "masks" / Path(str(key)).name
                try:
                    needs.append(needed_bytes(annotations, str(key), names.tolist(), shard_path))
                except Problem as problem:
                    problems.append(problem)
                advance(1)
        yield SplitNeed(
            split=str(split),
            images=image_need,
            masks=ZipNeed(*map(sum, zip(*needs, strict=True))),
            problems=tuple({problem.kind: problem for problem in reversed(problems)}.values()),
        )
