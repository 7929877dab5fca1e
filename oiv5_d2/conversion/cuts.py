"""Parts of one's own COCO file, whose images are cut at random into disjoint sets."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from oiv5_d2.selection import sampling

Id = int | str


@dataclass(frozen=True)
class Cut:
    """One of the disjoint parts that a file's images are cut into.

    What part an image is in depends on the ids and the seed, not on the order in the file.
    """

    part: str
    """Its name."""
    shares: Mapping[str, float]
    """Each part's share of the images, in all at most 1."""
    seed: int
    """Another seed, another cut."""

    def settings(self) -> dict[str, Any]:
        """Return what decides which images the part has."""
        return asdict(self)

    def choose(self, ids: Collection[Id]) -> set[Id]:
        """Return the ids of the images in this part."""
        by_digits = {hashlib.sha256(str(id_).encode()).hexdigest()[:16]: id_ for id_ in ids}
        parts = sampling.cut(pd.Series(list(by_digits)), self.shares, self.seed)
        return {by_digits[digits] for digits in parts[self.part]}
