"""A release whose train split is annotated in part, as the real one's is.

A complete release loses masks, single boxes and whole classes. Its images are not touched, so that
the complete release is the truth that was left out.
"""

import csv
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from oiv5_d2.openimages.release import ANNOTATIONS_DIR, HEX_DIGITS, V5, Release, ReleaseFile
from oiv5_d2.problems import wrong_setting
from oiv5_d2.synthetic.annotations import MIDS, TRAFFIC, family
from oiv5_d2.synthetic.release_files import write_table, write_zips

SPLIT = "train"  # validation and test stay complete

Row = dict[str, str]

_CLASS_OF = {mid: family(name) for name, mid in MIDS.items()}
_SIDES = ("XMin", "XMax", "YMin", "YMax")


@dataclass
class Rates:
    """How much of the train split is annotated. Not frozen: OmegaConf fills it.

    Raises:
        Problem: SETTING, a rate below 0 or above 1.
    """

    masks: float
    """Share of the masks that stay; the other objects keep their boxes."""
    group_of: float
    """Share of the objects that are replaced, with those of their label that they touch, by one
    group-of box."""
    unverified: float
    """Share of the classes present in an image that nobody verified there: they have neither image
    labels nor boxes nor masks. At least one class of an image stays."""

    def __post_init__(self) -> None:
        for name, rate in vars(self).items():
            if not 0 <= rate <= 1:
                raise wrong_setting(f"data.synthetic.partial.{name}", rate, "a share, 0 to 1")


@dataclass(frozen=True)
class Rows:
    """An image's rows of the three tables of annotations."""

    masks: list[Row]
    boxes: list[Row]
    labels: list[Row]


def thin_out(root: Path, rates: Rates, seed: int, release: Release = V5) -> None:
    """Take annotations out of the train split of a release of ours.

    Args:
        root: holds ``openimages/``, complete, as `write_release` makes it.
        rates: how much stays.
        seed: of every choice.
        release: whose files these are.
    """
    bucket = root / ANNOTATIONS_DIR
    tables = (release.mask_csv(SPLIT), release.box_csv(SPLIT), release.image_label_csv(SPLIT))
    by_image = [_read_by_image(bucket, table) for table in tables]
    kept = [
        annotate_in_part(
            Rows(*(rows[image_id] for rows in by_image)),
            rates,
            np.random.default_rng([seed, int(image_id, 16)]),
        )
        for image_id in sorted(set().union(*by_image))
    ]
    for table, name in zip(tables, ("masks", "boxes", "labels"), strict=True):
        rows = (row for image in kept for row in getattr(image, name))
        write_table(bucket, table, (tuple(row.values()) for row in rows))
    names = {row["MaskPath"] for image in kept for row in image.masks}
    write_zips(bucket, release, SPLIT, dict(_read_masks(bucket, release, names)))


def annotate_in_part(whole: Rows, rates: Rates, rng: np.random.Generator) -> Rows:
    """Return an image's rows without what its annotators did not do.

    Args:
        whole: all of them.
        rates: how much stays.
        rng: makes every choice. How often it is asked does not depend on the rates, so that a lower
            rate of masks leaves out all that a higher one does.
    """
    luck = {row["MaskPath"]: rng.random() for row in whole.masks}
    grouped = _draw_groups(_drop_classes(whole, rates.unverified, rng), rates.group_of, rng)
    masks = [row for row in grouped.masks if luck[row["MaskPath"]] < rates.masks]
    return replace(grouped, masks=masks)


def _drop_classes(whole: Rows, rate: float, rng: np.random.Generator) -> Rows:
    """Remove all rows of the unverified classes, of those that the project looks for."""
    luck = dict(zip(TRAFFIC, rng.random(len(TRAFFIC)).tolist(), strict=True))
    present = {_CLASS_OF[row["LabelName"]] for row in whole.boxes} & luck.keys()
    unverified = {name for name in present if luck[name] < rate}
    if unverified and unverified == present:
        unverified.remove(max(present, key=luck.__getitem__))
    verified = {mid for mid, name in _CLASS_OF.items() if name not in unverified}
    kept = {
        name: [row for row in rows if row["LabelName"] in verified]
        for name, rows in vars(whole).items()
    }
    return Rows(**kept)


def _draw_groups(whole: Rows, rate: float, rng: np.random.Generator) -> Rows:
    """Replace objects, each with those that it touches, by group-of boxes."""
    luck = rng.random(len(whole.boxes)).tolist()
    boxes = [(row, one < rate) for row, one in zip(whole.boxes, luck, strict=True)]
    singles = [row for row, _ in boxes if not _is_special(row)]
    groups, gone = [], list[Row]()
    for core, is_core in boxes:
        if is_core and core in singles and core not in gone:
            members = [row for row in singles if row not in gone and _touch(core, row)]
            groups.append(_group_row(core, members))
            gone += members
    places = {_place(row, "") for row in gone}
    return replace(
        whole,
        boxes=[*(row for row in whole.boxes if row not in gone), *groups],
        masks=[row for row in whole.masks if _place(row, "Box") not in places],
    )


def _is_special(row: Row) -> bool:
    """Return True for a group-of box or a depiction: neither is one real object."""
    return "1" in (row["IsGroupOf"], row["IsDepiction"])


def _touch(one: Row, other: Row) -> bool:
    """Return True if two boxes of one label overlap; a box overlaps itself."""
    (x0, x1, y0, y1), (left, right, upper, lower) = _sides(one), _sides(other)
    meets = min(x1, right) > max(x0, left) and min(y1, lower) > max(y0, upper)
    return meets and one["LabelName"] == other["LabelName"]


def _group_row(core: Row, members: Iterable[Row]) -> Row:
    """Return the core's row with the box around all members, marked as a group."""
    x0, x1, y0, y1 = zip(*map(_sides, members), strict=True)
    around = zip(_SIDES, (min(x0), max(x1), min(y0), max(y1)), strict=True)
    return {**core, **{side: f"{value:.6f}" for side, value in around}, "IsGroupOf": "1"}


def _sides(row: Row) -> list[float]:
    """Return XMin, XMax, YMin, YMax as fractions."""
    return [float(row[side]) for side in _SIDES]


def _place(row: Row, prefix: str) -> tuple[str, ...]:
    """Return what joins a mask's row to its box's: label and corners."""
    return (row["LabelName"], *(row[prefix + side] for side in _SIDES))


def _read_by_image(bucket: Path, table: ReleaseFile) -> Mapping[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    with (bucket / table.path).open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found[row["ImageID"]].append(row)
    return found


def _read_masks(bucket: Path, release: Release, names: set[str]) -> Iterator[tuple[str, bytes]]:
    for digit in HEX_DIGITS:
        with zipfile.ZipFile(bucket / release.mask_zip(SPLIT, digit).path) as archive:
            yield from ((name, archive.read(name)) for name in archive.namelist() if name in names)
