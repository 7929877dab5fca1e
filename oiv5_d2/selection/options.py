"""What a user asks a subset to be: the settings, checked before anything is read."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from oiv5_d2.openimages import release
from oiv5_d2.selection.objects import NEVER_LEARNT

LIMIT_UNITS = ("images", "masks")


class EmptyPartError(ValueError):
    """No image is left for a part."""


@dataclass(frozen=True)
class Choice:
    """The arguments of `subset.select`, which documents them.

    Raises:
        ValueError: a setting that has no meaning; the message names it.
    """

    classes: tuple[str, ...]
    roll_up: bool
    splits: Mapping[str, str]
    shares: Mapping[str, float] | None
    seed: int
    limit_per_class: int | None
    limit_unit: str
    exclude: tuple[str, ...]
    require: tuple[str, ...]
    min_predicted_iou: float | None
    id_prefixes: tuple[str, ...]
    image_ids: tuple[str, ...] | None
    only_masked: bool

    def __post_init__(self) -> None:
        problems = (
            self._parts_problem(),
            self._limit_problem(),
            *self._attribute_problems(),
            *self._id_problems(),
            self._iou_problem(),
        )
        for problem in filter(None, problems):
            raise ValueError(problem)

    def settings(self) -> dict[str, Any]:
        """Return the settings as they are written beside the subset."""
        return asdict(self)

    def parts_of(self, split: str) -> Mapping[str, float]:
        """Return the parts made of an official split, and each one's share of it."""
        if self.shares:
            return self.shares
        return {part: 1.0 for part, official in self.splits.items() if official == split}

    def refuse_empty(self, parts: Collection[str]) -> None:
        """Raise an EmptyPartError where a list of images has some for these parts only."""
        splits = [
            split for split in self.splits.values() if not self.parts_of(split).keys() - parts
        ]
        if len(splits) == len(self.splits):
            return
        asked = ", ".join(self.splits.values())
        if not splits:
            raise EmptyPartError(
                f"no image of data.image_ids in {asked} shows a wanted class after the filters."
                " Ask for other images, other classes or fewer filters"
            )
        raise EmptyPartError(
            f"of data.image_ids only images of {', '.join(splits)} are left after the filters, but"
            f" {asked} are asked for: add data.splits=[{','.join(splits)}]"
        )

    def _parts_problem(self) -> str | None:
        official = list(self.splits.values())
        for part in (*self.splits, *(self.shares or ())):
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", part):
                return f"data.splits: '{part}' can not name a part: use letters, digits, _ and -"
        for split in official:
            if split not in release.SPLITS:
                return (
                    f"data.splits: '{split}' is no official split: use {', '.join(release.SPLITS)}"
                )
            if official.count(split) > 1:
                return f"data.splits: two parts of '{split}' would share images: cut it with shares"
        if not official:
            return f"data.splits: name at least one of {', '.join(release.SPLITS)}"
        if self.shares is None:
            return None
        if len(official) > 1:
            return "data.shares: one split is cut, but splits names several: name one"
        if min(self.shares.values(), default=0) <= 0 or sum(self.shares.values()) > 1 + 1e-9:
            return "data.shares: they must be above 0 and add up to at most 1"
        return None

    def _limit_problem(self) -> str | None:
        if self.limit_unit not in LIMIT_UNITS:
            return f"data.limit.unit: '{self.limit_unit}' is neither of {', '.join(LIMIT_UNITS)}"
        if self.limit_per_class is not None and self.limit_per_class < 1:
            return f"data.limit.per_class: {self.limit_per_class} leaves nothing: use 1 or more"
        if self.limit_per_class and self.limit_unit == "masks" and not self.only_masked:
            return (
                "data.limit.unit: a limit in masks needs data.only_masked: count images, or set it"
            )
        return None

    def _attribute_problems(self) -> Iterator[str]:
        for key, names in (("exclude", self.exclude), ("require", self.require)):
            for name in names:
                if name not in release.ATTRIBUTES:
                    yield f"data.{key}: '{name}' is none of {', '.join(release.ATTRIBUTES)}"
        for name in self.require:
            if name in self.exclude:
                yield f"data.require: '{name}' is in data.exclude as well: name it once"
            if name in NEVER_LEARNT:
                yield f"data.require: '{name}' objects are never learnt: leave it out"

    def _id_problems(self) -> Iterator[str]:
        for prefix in self.id_prefixes:
            if not re.fullmatch("[0-9a-f]{1,16}", str(prefix)):
                yield (
                    f"data.id_prefixes: '{prefix}' begins no image id: use digits 0-9 a-f in quotes"
                )
        if self.image_ids == ():
            yield "data.image_ids: not one is named: name some, or null for all"
        for image_id in self.image_ids or ():
            if not re.fullmatch("[0-9a-f]{16}", str(image_id)):
                yield f"data.image_ids: '{image_id}' is no image id: use 16 digits 0-9 a-f, quoted"

    def _iou_problem(self) -> str | None:
        if self.min_predicted_iou is not None and not 0 <= self.min_predicted_iou <= 1:
            return f"data.min_predicted_iou: {self.min_predicted_iou} is outside [0, 1]"
        return None


def make_choice(
    splits: Mapping[str, str] | str | None, shares: Mapping[str, float] | None, **settings: Any
) -> Choice:
    """Return the choice, with the short forms of `splits` spelled out."""
    if splits is None:
        splits = {split: split for split in release.SPLITS}
    elif isinstance(splits, str):
        splits = {splits: splits}
    return Choice(splits=dict(splits), shares=dict(shares) if shares else None, **settings)
