"""The release's ids as numbers: 16 hex digits are 64 bits, which are compared faster than text."""

import binascii
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

_NUM_DIGITS = 16


def parse_ids(ids: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """Return N ids, an array of strings, as (N,) numbers, in the same order.

    Raises:
        ValueError: one is not 16 hex digits 0-9 a-f.
    """
    data = b"".join(_parse(chunk) for chunk in ids.chunks if len(chunk))
    return np.frombuffer(data, dtype=">u8").astype(np.uint64)


def _parse(ids: pa.StringArray) -> bytes:
    _, ends_buffer, text_buffer = ids.buffers()
    ends = np.frombuffer(ends_buffer, np.int32)[ids.offset : ids.offset + len(ids) + 1]
    if not (np.diff(ends) == _NUM_DIGITS).all():
        raise ValueError("not all ids have 16 digits")
    text = bytes(memoryview(text_buffer)[ends[0] : ends[-1]])  # a view compares slowly
    data = binascii.unhexlify(text)
    if binascii.hexlify(data) != text:
        raise ValueError("an id has capital letters")
    return data


def to_numbers(ids: pd.Series) -> npt.NDArray[np.uint64]:
    """Return N ids as (N,) numbers, in the same order; see `parse_ids`."""
    return parse_ids(pa.chunked_array([ids.tolist()], pa.string()))


@dataclass(frozen=True)
class IdSet:
    """A set of ids; a million take 8 MB."""

    numbers: npt.NDArray[np.uint64]
    """Sorted."""

    @classmethod
    def of(cls, ids: Iterable[str]) -> "IdSet":
        """Make the set of these ids."""
        return cls(np.unique(to_numbers(pd.Series(ids, dtype=object))))

    def contain(self, ids: pd.Series) -> npt.NDArray[np.bool_]:
        """Return for each of N ids, as (N,) bool, whether it is in the set."""
        return self.contain_numbers(to_numbers(ids))

    def contain_numbers(self, numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """Return the same for ids that are numbers already."""
        if not len(self.numbers):
            return np.zeros(len(numbers), dtype=np.bool_)
        places = np.searchsorted(self.numbers, numbers)
        found: npt.NDArray[np.bool_] = self.numbers.take(places, mode="clip") == numbers
        return found
