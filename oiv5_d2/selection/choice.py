"""What a user asks a subset to be: the settings of ``configs/data``, checked before any reading."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from oiv5_d2.openimages import release
from oiv5_d2.problems import Kind, Problem, Remedy
from oiv5_d2.selection.objects import NEVER_TARGETS

LIMIT_UNITS = ("images", "masks")


@dataclass(frozen=True)
class Limit:
    """How many of each class are enough, in each part; see `sampling.limit`."""

    per_class: int | None = None
    """Choose images until every class has so many, the rarest class first; None for all. Objects
    are never cut out of a chosen image."""
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
    """Of the cut and of the limit."""
    limit: Limit = field(default_factory=Limit)
    exclude: tuple[str, ...] = ()
    """Of the five Is* attributes, those whose objects are not training targets."""
    require: tuple[str, ...] = ()
    """Of the five Is* attributes, those without which an object is not a training target."""
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

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, list):  # as OmegaConf makes them
                object.__setattr__(self, name, tuple(value))
        problems = (
            self._part_problems(),
            self._limit_problems(),
            self._attribute_problems(),
            self._id_problems(),
        )
        for found in problems:
            for key, value, detail in found:
                subject = f"data.{key}={value}"
                key = f"data.{key}"
                raise Problem(Kind.SETTING, subject, detail, key=key, remedy=Remedy.CHANGE_SETTING)

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the parts: the splits', or those of the shares that one is cut into."""
        return tuple(self.shares or self.splits)

    def settings(self) -> dict[str, Any]:
        """Return the settings as they are written beside the subset."""
        return asdict(self)

    def parts_of(self, split: str) -> Mapping[str, float]:
        """Return the parts made of an official split, and each one's share of it."""
        return self.shares or {split: 1.0}

    def _part_problems(self) -> Iterator[tuple[str, object, str]]:
        splits = list(self.splits)
        for split in splits:
            if split not in release.SPLITS:
                yield "splits", splits, f"'{split}' is none of {', '.join(release.SPLITS)}"
        if len(set(splits)) < len(splits) or not splits:
            yield "splits", splits, "at least one split is needed, and each only once"
        if self.shares is None:
            return
        for part in self.shares:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", part):
                yield "shares", part, "a part's name has letters, digits, _ and - only"
        if len(splits) > 1:
            yield "shares", self.shares, f"they cut one split, but data.splits has {len(splits)}"
        if min(self.shares.values(), default=0) <= 0 or sum(self.shares.values()) > 1 + 1e-9:
            yield "shares", self.shares, "they must be above 0 and add up to at most 1"

    def _limit_problems(self) -> Iterator[tuple[str, object, str]]:
        number, unit = self.limit.per_class, self.limit.unit
        if unit not in LIMIT_UNITS:
            yield "limit.unit", unit, f"not one of {', '.join(LIMIT_UNITS)}"
        if number is not None and number < 1:
            yield "limit.per_class", number, "it must be 1 or more, or null"
        if number and unit == "masks" and not self.only_masked:
            yield "limit.unit", unit, "masks are counted only with data.only_masked=true"

    def _attribute_problems(self) -> Iterator[tuple[str, object, str]]:
        for key, names in (("exclude", self.exclude), ("require", self.require)):
            for name in names:
                if name not in release.ATTRIBUTES:
                    yield key, name, f"not one of {', '.join(release.ATTRIBUTES)}"
        for name in self.require:
            if name in self.exclude:
                yield "require", name, "it is in data.exclude as well"
            if name in NEVER_TARGETS:
                yield "require", name, "such objects are never training targets"
        iou = self.min_predicted_iou
        if iou is not None and not 0 <= iou <= 1:
            yield "min_predicted_iou", iou, "it must be from 0 to 1, or null"

    def _id_problems(self) -> Iterator[tuple[str, object, str]]:
        for prefix in self.id_prefixes:
            if not re.fullmatch("[0-9a-f]{1,16}", str(prefix)):
                yield "id_prefixes", prefix, "an id has digits 0-9 a-f only; put it in quotes"
        if self.image_ids is not None and not self.image_ids:
            yield "image_ids", "[]", "at least one is needed, or null"
        for open_images_id in self.image_ids or ():
            if not re.fullmatch("[0-9a-f]{16}", str(open_images_id)):
                yield "image_ids", open_images_id, "an id has 16 digits 0-9 a-f"
