"""A step's samples on their way from a loader worker, with all tensors in one piece of memory.

PyTorch shares every tensor by itself, and the process that trains has to ask the worker for each of
them, which is loading the next samples meanwhile: 30 times for a step of 6 images.
"""

import io
import pickle
from typing import Any, NamedTuple

import torch

_ALIGNMENT = 16  # bytes; as many as the largest type of a number has

Place = tuple[int, int, torch.dtype, torch.Size]  # first byte, number of bytes, and what they are


class Parcel(NamedTuple):
    """Values with tensors in them.

    Attributes:
        content: the values, pickled; each tensor is a `Place`.
        memory: (N,) uint8, the bytes of all tensors.
    """

    content: bytes
    memory: torch.Tensor


def pack(values: Any) -> Parcel:
    """Return values as they are sent; their tensors are dense and on the CPU."""
    file = io.BytesIO()
    pickler = _Pickler(file)
    pickler.dump(values)
    return Parcel(file.getvalue(), torch.cat(pickler.pieces))


def unpack(parcel: Parcel) -> Any:
    """Return the values that were packed; their tensors are views of the parcel's memory."""
    return _Unpickler(parcel).load()


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self.pieces: list[torch.Tensor] = [torch.empty(0, dtype=torch.uint8)]
        self._size = 0

    def persistent_id(self, value: Any) -> Place | None:
        if type(value) is not torch.Tensor:
            return None
        piece = value.contiguous().flatten().view(torch.uint8)
        place = self._size, len(piece), value.dtype, value.shape
        padding = -len(piece) % _ALIGNMENT
        self.pieces += [piece, torch.zeros(padding, dtype=torch.uint8)]
        self._size += len(piece) + padding
        return place


class _Unpickler(pickle.Unpickler):
    def __init__(self, parcel: Parcel) -> None:
        super().__init__(io.BytesIO(parcel.content))
        self._memory = parcel.memory

    def persistent_load(self, place: Place) -> torch.Tensor:
        start, size, dtype, shape = place
        return self._memory[start : start + size].view(dtype).view(shape)
