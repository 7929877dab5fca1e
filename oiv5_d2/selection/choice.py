"""The settings of ``configs/data`` that decide what a subset contains, checked before reading."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from oiv5_d2.openimages import release
from oiv5_d2.problems import wrong_setting

LIMIT_UNITS = ("images", "masks")
NEVER_TARGETS = ("IsGroupOf", "IsDepiction")  # boxes of these kinds are never one real object


@dataclass(frozen=True)
class Limit:
    """How many of each class are enough, in each part; see `sampling.limit`."""

    per_class: int | None = None
    """Choose images until every class has so many; None for all. All objects of a chosen image
    stay."""
    unit: str = "images"
    """What is counted: "images" that show the class, or "masks" of it."""


@dataclass(frozen=True)
class Choice:
    """Which images and objects are used.

    Raises:
        Problem: SETTING, a setting that has no meaning; its key is the one in the YAML.
    """

    classes: tuple[str, ...]
    """Display names or MIDs; a class's place here is its category."""
    roll_up: bool = True
    """Take in the kinds of a class (Man, Woman ... for Person), see `classes.roll_up`."""
    splits: tuple[str, ...] = release.SPLITS
    """The official splits; each is a part of that name unless `shares` cut it."""
    shares: dict[str, float] | None = None
    """Cut the one split at random into disjoint parts: each part's share, in all at most 1."""
    seed: int = 0
    """Random seed for `limit` and `shares`."""
    limit: Limit = field(default_factory=Limit)
    exclude: tuple[str, ...] = ()
    """Objects that have one of these Is* attributes are not training targets."""
    require: tuple[str, ...] = ()
    """Objects without one of these Is* attributes are not training targets."""
    min_predicted_iou: float | None = None
    """Masks with a lower PredictedIoU are not training targets; those without one are."""
    id_prefixes: tuple[str, ...] = ()
    """Only images whose id begins with one of these; none for all."""
    image_ids: tuple[str, ...] | None = None
    """Open Images ids: only these images, of those that fit all the rest; None for all."""
    only_masked: bool = True
    """Only images with at least one training target. Otherwise a wanted object that is neither
    group-of, nor a depiction, nor excluded, and that has what is required, is enough, with a mask
    or without."""
    keep_verified: tuple[str, ...] = ("validation", "test")
    """Parts that also keep images without a training target if people verified that they show a
    wanted class, or that they do not: false detections count there. With `limit`, the same share
    of them as of the other images."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, list):  # as OmegaConf makes them
                object.__setattr__(self, name, tuple(value))
        faults = (*self._part_faults(), *self._object_faults(), *self._id_faults())
        for name, value, detail in faults:
            raise wrong_setting(f"data.{name}", value, detail)

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the parts: the splits', or those of the shares that one is cut into."""
        return tuple(self.shares or self.splits)

    @property
    def refused(self) -> list[str]:
        """The attributes of objects that are never training targets."""
        return [*NEVER_TARGETS, *self.exclude]

    def keeping_parts(self, split: str) -> list[str]:
        """Return the parts of an official split that `keep_verified` names."""
        return [part for part in self.parts_of(split) if part in self.keep_verified]

    def settings(self) -> dict[str, Any]:
        """Return the settings as they are written beside the subset."""
        return asdict(self)

    def parts_of(self, split: str) -> Mapping[str, float]:
        """Return the parts made of an official split, and each one's share of it."""
        return self.shares or {split: 1.0}

    def _part_faults(self) -> Iterator[tuple[str, object, str]]:
        splits, shares = list(self.splits), self.shares
        for split in sorted(set(splits) - set(release.SPLITS)):
            yield "splits", splits, f"'{split}' is none of {', '.join(release.SPLITS)}"
        if len(set(splits)) < len(splits) or not splits:
            yield "splits", splits, "at least one split is needed, and each only once"
        for part in sorted(set(self.keep_verified) - {*release.SPLITS, *self.parts}):
            yield "keep_verified", part, f"no such part; the parts are {', '.join(self.parts)}"
        if shares is None:
            return
        for part in shares:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", part):
                yield "shares", part, "a part's name has letters, digits, _ and - only"
        if len(splits) > 1:
            yield "shares", shares, f"they cut one split, but data.splits has {len(splits)}"
        if min(shares.values(), default=0) <= 0 or sum(shares.values()) > 1 + 1e-9:
            yield "shares", shares, "they must be above 0 and add up to at most 1"

    def _object_faults(self) -> Iterator[tuple[str, object, str]]:
        number, unit, iou = self.limit.per_class, self.limit.unit, self.min_predicted_iou
        if unit not in LIMIT_UNITS:
            yield "limit.unit", unit, f"not one of {', '.join(LIMIT_UNITS)}"
        if number is not None and number < 1:
            yield "limit.per_class", number, "it must be 1 or more, or null"
        if number and unit == "masks" and not self.only_masked:
            yield "limit.unit", unit, "masks are counted only with data.only_masked=true"
        for key, names in (("exclude", self.exclude), ("require", self.require)):
            for name in sorted(set(names) - set(release.ATTRIBUTES)):
                yield key, name, f"not one of {', '.join(release.ATTRIBUTES)}"
        for name in self.require:
            if name in self.exclude:
                yield "require", name, "it is in data.exclude as well"
            if name in NEVER_TARGETS:
                yield "require", name, "such objects are never training targets"
        if iou is not None and not 0 <= iou <= 1:
            yield "min_predicted_iou", iou, "it must be from 0 to 1, or null"

    def _id_faults(self) -> Iterator[tuple[str, object, str]]:
        for prefix in self.id_prefixes:
            if not re.fullmatch("[0-9a-f]{1,16}", str(prefix)):
                yield "id_prefixes", prefix, "an id has digits 0-9 a-f only; put it in quotes"
        if self.image_ids == ():
            yield "image_ids", "[]", "at least one is needed, or null"
        for open_images_id in self.image_ids or ():
            if not re.fullmatch("[0-9a-f]{16}", str(open_images_id)):
                yield "image_ids", open_images_id, "an id has 16 digits 0-9 a-f"
