"""Image ids as numbers: 16 hex digits are 64 bits, which are looked up far faster than text."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa


def to_numbers(image_ids: pd.Series | pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """Return N ids of 16 hex digits as (N,) numbers, in the same order."""
    digits = "".join(image_ids.to_numpy())
    return np.frombuffer(bytes.fromhex(digits), dtype=">u8").astype(np.uint64)


@dataclass(frozen=True)
class ImageIds:
    """A set of image ids; a million take 8 MB."""

    numbers: npt.NDArray[np.uint64]
    """Sorted."""

    @classmethod
    def of(cls, image_ids: Iterable[str]) -> "ImageIds":
        """Make the set of these ids of 16 hex digits."""
        return cls(np.unique(to_numbers(pd.Series(image_ids, dtype=object))))

    def contain(self, image_ids: pd.Series | pa.ChunkedArray) -> npt.NDArray[np.bool_]:
        """Return for each of N ids, as (N,) bool, whether it is in the set."""
        numbers = to_numbers(image_ids)
        if not len(self.numbers):
            return np.zeros(len(numbers), dtype=np.bool_)
        places = np.searchsorted(self.numbers, numbers)
        found: npt.NDArray[np.bool_] = self.numbers.take(places, mode="clip") == numbers
        return found
