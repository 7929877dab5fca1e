"""A small synthetic Open Images V5 release: street scenes in the release's exact layout.

It needs no download, can be learned from, and has every oddity of the real one, so that whatever
works on it has met them. The same arguments give the same bytes for the same versions of NumPy,
OpenCV and Pillow, however many processes draw.
"""

import csv
import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from oiv5_d2.openimages.release import (
    ANNOTATIONS_DIR,
    HEX_DIGITS,
    IMAGES_DIR,
    SPLITS,
    V5,
    Release,
    ReleaseFile,
)
from oiv5_d2.problems import Kind, Problem, Remedy, wrong_setting
from oiv5_d2.processes import map_tasks
from oiv5_d2.synthetic.annotations import MIDS, SEGMENTED, Annotated, ImagePlan, annotate
from oiv5_d2.synthetic.scenery.cast import BILLBOARD, CROWD
from oiv5_d2.synthetic.scenes import SMALLEST, draw_scene

NUM_IMAGES = {"train": 300, "validation": 60, "test": 60}
SIZE = (288, 384)  # height, width

ENTITY = "/m/0bl9f"  # the root of the tree; it has no display name
SEGMENTED_TXT = "v5/classes-segmentation.txt"
ZIP_DATE = (2019, 5, 1, 0, 0, 0)  # not the clock's: same input, same bytes
FEW = 24  # images: below it, starting processes takes longer than drawing
PLANS_A_TASK = 8


class Oddity(NamedTuple):
    """Where one kind of oddity is planted: in image ``first`` of a split and every so many."""

    first: int
    every: int
    splits: tuple[str, ...] = SPLITS
    fewest: int = 1  # splits of fewer images go without


ODDITIES: dict[str, Oddity] = {
    "empty mask": Oddity(0, 60),
    "grey": Oddity(1, 40),
    "unknown attributes": Oddity(1, 50),
    "spilling mask": Oddity(2, 25),
    "rotated": Oddity(2, 38),
    "missing": Oddity(3, 150, fewest=5),
    "turned": Oddity(4, 200, ("train",)),
}
# What the first images must show, so that even a tiny split has it; again every `CAST_EVERY`.
CASTS: tuple[tuple[str, ...], ...] = (
    ("Bus", CROWD, "Stop sign", "Man"),
    (BILLBOARD, "Van", "Motorcycle", "Woman"),
    ("Truck", "Girl", "Traffic light", "Taxi"),
    ("Boy", "Car", "Traffic sign"),
    ("Person", "Bicycle", "Stop sign", "Car"),
    ("Limousine", "Traffic light", "Man"),
)
CAST_EVERY = 48


def write_release(
    root: Path,
    num_images: Mapping[str, int] = NUM_IMAGES,
    size: tuple[int, int] = SIZE,
    seed: int = 0,
    advance: Callable[[int], object] = lambda num_done: None,
    workers: int | None = None,
    release: Release = V5,
) -> None:
    """Draw a release and write it to ``root``, whole or not at all, replacing one that was there.

    Args:
        root: the folder that gets ``openimages/`` and ``open-images-dataset/``.
        num_images: split -> number of listed images; splits left out get empty tables.
        size: (height, width) of the images in pixels.
        seed: of everything; another seed, other images.
        advance: called with the number of newly finished images.
        workers: processes that draw; by default one a core, and one for a few images.
        release: which one's files are written.

    Raises:
        Problem: SETTING, a split that Open Images does not have, a negative number, too small a
            size; FOREIGN, ``root`` holds something else than a release.
    """
    plans = _plan(num_images, size, seed)
    if workers is not None and workers < 1:
        raise wrong_setting("workers", workers, "it must be 1 or more")
    with _whole_folder(root) as temporary:
        drawn = _counted(_draw_all(plans, workers), advance)
        for split in SPLITS:
            of_split = [plan for plan in plans if plan.split == split]
            _write_split(temporary, release, split, of_split, drawn)
        _write_classes(temporary / ANNOTATIONS_DIR, release)


def draw(plan: ImagePlan) -> Annotated:
    """Draw and annotate one image; nothing but the plan decides what comes out."""
    rng = np.random.default_rng(plan.seed)
    scene = draw_scene(rng, *plan.size, plan.wanted)
    return annotate(plan, scene, rng)


def _plan(num_images: Mapping[str, int], size: tuple[int, int], seed: int) -> list[ImagePlan]:
    """Check the settings and return the plans of all images, sorted by split and ImageID."""
    _check(num_images, size, seed)
    plans = []
    for split_number, split in enumerate(SPLITS):
        number = num_images.get(split, 0)
        for index in range(number):
            seeds = (seed, split_number, index)
            digest = hashlib.sha256(repr(seeds).encode()).hexdigest()
            place = index % CAST_EVERY
            wanted = CASTS[place] if place < len(CASTS) else ()
            oddities = frozenset(_oddities_at(split, index, number))
            plans.append(ImagePlan(split, digest[:16], seeds, size, wanted, oddities))
    return sorted(plans, key=lambda plan: (SPLITS.index(plan.split), plan.open_images_id))


def _check(num_images: Mapping[str, int], size: tuple[int, int], seed: int) -> None:
    key = "data.synthetic.num_images"
    for split, number in num_images.items():
        if split not in SPLITS:
            raise wrong_setting(key, split, f"not one of {', '.join(SPLITS)}")
        if number < 0:
            raise wrong_setting(key, number, "it must be 0 or more")
    if size[0] < SMALLEST[0] or size[1] < SMALLEST[1]:
        smallest = f"the smallest height and width are {SMALLEST[0]} and {SMALLEST[1]}"
        raise wrong_setting("data.synthetic.size", list(size), smallest)
    if seed < 0:
        raise wrong_setting("data.synthetic.seed", seed, "it must be 0 or more")


def _oddities_at(split: str, index: int, number: int) -> Iterator[str]:
    for name, oddity in ODDITIES.items():
        if split in oddity.splits and number >= oddity.fewest:
            if index >= oddity.first and (index - oddity.first) % oddity.every == 0:
                yield name


@contextmanager
def _whole_folder(root: Path) -> Iterator[Path]:
    """Yield a folder that takes the place of ``root`` when all of it has been written."""
    known = {ANNOTATIONS_DIR, IMAGES_DIR}
    if root.exists() and (not root.is_dir() or {path.name for path in root.iterdir()} - known):
        detail = "it holds something else than a release, which would be replaced"
        raise Problem(Kind.FOREIGN, root, detail, remedy=Remedy.MOVE_AWAY)
    temporary, old = (root.with_name(f".{kind}-{root.name}") for kind in ("part", "old"))
    for leftover in (temporary, old):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
    except BaseException:
        shutil.rmtree(temporary)
        raise
    if root.exists():
        root.rename(old)
    temporary.rename(root)
    shutil.rmtree(old, ignore_errors=True)


def _draw_all(plans: Sequence[ImagePlan], workers: int | None) -> Iterator[Annotated]:
    """Yield the images in the order of their plans, drawn by several processes."""
    if workers is None:
        workers = 1 if len(plans) < FEW else len(os.sched_getaffinity(0))
    if workers == 1:
        yield from map(draw, plans)
        return
    tasks = [plans[first : first + PLANS_A_TASK] for first in range(0, len(plans), PLANS_A_TASK)]
    for drawn in map_tasks(_draw_some, tasks, workers):
        yield from drawn


def _draw_some(plans: Sequence[ImagePlan]) -> list[Annotated]:
    cv2.setNumThreads(1)  # there is a process for every core
    return [draw(plan) for plan in plans]


def _counted(drawn: Iterable[Annotated], advance: Callable[[int], object]) -> Iterator[Annotated]:
    for annotated in drawn:
        advance(1)
        yield annotated


def _write_split(
    root: Path, release: Release, split: str, plans: Sequence[ImagePlan], drawn: Iterator[Annotated]
) -> None:
    bucket = root / ANNOTATIONS_DIR
    (root / IMAGES_DIR / split).mkdir(parents=True)
    images = []
    for plan in plans:
        annotated = next(drawn)
        if annotated.jpg is not None:
            key = release.image_key(split, plan.open_images_id)
            (root / IMAGES_DIR / key).write_bytes(annotated.jpg)
        images.append(annotated)
    tables = {
        release.mask_csv(split): (row for p in images for row in sorted(p.mask_rows)),
        release.box_csv(split): (row for p in images for row in _sorted_by_label(p.box_rows)),
        release.image_label_csv(split): (
            row for p in images for row in _sorted_by_label(p.label_rows)
        ),
        release.image_csv(split): (p.image_row for p in images),
    }
    for table, rows in tables.items():
        write_table(bucket, table, rows)
    masks = {name: png for p in images for name, png in p.masks.items()}
    write_zips(bucket, release, split, masks)


def _sorted_by_label(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    return sorted(rows, key=lambda row: (row[2], row))


def write_table(bucket: Path, table: ReleaseFile, rows: Iterable[tuple[str, ...]]) -> None:
    """Write rows, in the order of the table's columns, below its header."""
    path = bucket / table.path
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table.columns)
        for row in rows:
            writer.writerow(row + ("-1",) * (len(table.columns) - len(row)))  # V6's extreme points


def write_zips(bucket: Path, release: Release, split: str, masks: Mapping[str, bytes]) -> None:
    """Write 16 zips by the first hex digit of the ImageID; odd ones deflated, even ones stored."""
    for number, digit in enumerate(HEX_DIGITS):
        path = bucket / release.mask_zip(split, digit).path
        path.parent.mkdir(parents=True, exist_ok=True)
        method = zipfile.ZIP_DEFLATED if number % 2 else zipfile.ZIP_STORED
        with zipfile.ZipFile(path, "w") as archive:
            for name in sorted(name for name in masks if name[0] == digit):
                entry = zipfile.ZipInfo(name, ZIP_DATE)
                entry.compress_type, entry.create_system = method, 3
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, masks[name])


def _write_classes(bucket: Path, release: Release) -> None:
    """Write the class table (in V5 it has no header), the segmented classes and the tree."""
    names = sorted(MIDS, key=MIDS.__getitem__)
    header = ",".join(release.class_csv.columns)
    table = header + "\n" * bool(header) + "".join(f"{MIDS[name]},{name}\n" for name in names)
    (bucket / release.class_csv.path).write_text(table, encoding="utf-8")
    segmented = "".join(f"{mid}\n" for mid in sorted(SEGMENTED.values()))
    (bucket / SEGMENTED_TXT).write_text(segmented, encoding="utf-8")
    tree = json.dumps(_tree(), indent=2)
    (bucket / release.hierarchy.path).write_text(tree + "\n", encoding="utf-8")


def _tree() -> dict[str, object]:
    def node(name: str, *children: object, parts: Sequence[object] = ()) -> dict[str, object]:
        branch: dict[str, object] = {"LabelName": MIDS.get(name, ENTITY)}
        branch |= {"Subcategory": list(children)} if children else {}
        return branch | ({"Part": list(parts)} if parts else {})

    people = (node(name) for name in ("Man", "Woman", "Boy", "Girl"))
    siblings = (node(name) for name in ("Taxi", "Bus", "Truck", "Motorcycle", "Bicycle"))
    car = node("Car", node("Van"), node("Limousine"))
    return node(
        "Entity",
        node("Person", *people, parts=[node("Human body")]),
        node("Vehicle", node("Land vehicle", car, *siblings)),
        node("Traffic light"),
        node("Traffic sign", node("Stop sign")),
        node("Building"),
        node("Tree"),
    )
