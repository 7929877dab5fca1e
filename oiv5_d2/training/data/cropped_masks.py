"""Masks of one image that are kept in their objects' boxes only."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from detectron2.layers.roi_align import ROIAlign
from detectron2.structures import Boxes
from numpy.typing import NDArray

Size = tuple[int, int]  # height, width


class Window(NamedTuple):
    """Where a crop lies in its image: its first column and row, and those after its last."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def size(self) -> Size:
        """Height and width."""
        return self.y1 - self.y0, self.x1 - self.x0

    def of(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the window's pixels of an image (..., H, W)."""
        return pixels[..., self.y0 : self.y1, self.x0 : self.x1]


class CroppedMasks:
    """What Mask R-CNN uses of Detectron2's ``BitMasks``, with the same results to the bit.

    An object of an average image covers a few hundredths of it. So these masks are made, moved to
    loader workers' parent and to a GPU in a small part of the time and memory. To index them copies
    no pixels.

    Args:
        image_size: (height, width).
        windows: of the G crops.
        pixels: bool, those of one crop after the other, row by row.
        index: (N,) int64, the crop of each mask; None: all crops, in their order.
    """

    def __init__(
        self,
        image_size: Size,
        windows: Sequence[Window],
        pixels: torch.Tensor,
        index: torch.Tensor | None = None,
    ) -> None:
        self.image_size, self.windows, self.pixels = image_size, tuple(windows), pixels
        everything = torch.arange(len(self.windows), device=pixels.device)
        self.index = everything if index is None else index

    @classmethod
    def of_crops(
        cls, image_size: Size, windows: Sequence[Window], crops: Sequence[torch.Tensor]
    ) -> "CroppedMasks":
        """Return the masks of crops (h, w) bool, each of its window's size."""
        flat = [crop.reshape(-1) for crop in crops]
        pixels = torch.cat(flat) if flat else torch.zeros(0, dtype=torch.bool)
        return cls(image_size, windows, pixels)

    @classmethod
    def of_masks(cls, masks: torch.Tensor) -> "CroppedMasks":
        """Return whole masks (N, H, W) bool, each cropped to its object."""
        height, width = masks.shape[1:]
        windows = [_around(mask) for mask in masks.cpu().numpy()]
        crops = [window.of(mask) for window, mask in zip(windows, masks, strict=True)]
        return cls.of_crops((height, width), windows, crops)

    @property
    def tensor(self) -> torch.Tensor:
        """The whole masks: (N, H, W) bool. To be drawn, or tested; training never needs them."""
        return self._pasted(torch.bool)[self.index]

    @property
    def device(self) -> torch.device:
        """Where the pixels are."""
        return self.pixels.device

    def to(self, *args: Any, **kwargs: Any) -> "CroppedMasks":
        """Return a copy on another device, as `torch.Tensor.to`."""
        pixels = self.pixels.to(*args, **kwargs)
        index = self.index.to(pixels.device)
        return CroppedMasks(self.image_size, self.windows, pixels, index)

    def crops(self) -> list[torch.Tensor]:
        """Return each crop's pixels, (h, w) bool, views of ``pixels``."""
        sizes = [window.size for window in self.windows]
        parts = torch.split(self.pixels, [height * width for height, width in sizes])
        return [part.view(size) for part, size in zip(parts, sizes, strict=True)]

    def crop_and_resize(self, boxes: torch.Tensor, mask_size: int) -> torch.Tensor:
        """Return the mask head's targets, as ``BitMasks.crop_and_resize``.

        ROIAlign rounds positions by their distance from the image's corner, and the edge of a mask
        lies on the threshold often enough. So it sees the whole image here, too, but each object
        once, however many proposals it has.

        Args:
            boxes: (N, 4) XYXY in pixels, one a mask.
            mask_size: S.

        Returns:
            (N, S, S) bool.
        """
        rois = torch.cat([self.index.to(boxes)[:, None], boxes], dim=1).to(self.device)
        align = ROIAlign((mask_size, mask_size), 1.0, 0, aligned=True)
        targets: torch.Tensor = align.forward(self._pasted(torch.float32)[:, None], rois) >= 0.5
        return targets[:, 0]

    def get_bounding_boxes(self) -> Boxes:
        """Return the tight boxes around the masks; of an empty one, zeros."""
        boxes = np.zeros((len(self.windows), 4), np.float32)
        for box, window, crop in zip(boxes, self.windows, self._arrays(), strict=True):
            tight = _around(crop)
            if tight.x1:
                box[:] = np.array(tight) + (window[:2] * 2)
        return Boxes(torch.from_numpy(boxes)[self.index.cpu()])

    def area(self) -> torch.Tensor:
        """Return the number of pixels of each mask: (N,) int64."""
        areas = [crop.sum() for crop in self.crops()]
        return torch.stack(areas)[self.index] if areas else self.index.clone()

    def nonempty(self) -> torch.Tensor:
        """Return which masks have pixels: (N,) bool."""
        found = [bool(crop.any()) for crop in self._arrays()]
        return torch.tensor(found, dtype=torch.bool, device=self.device)[self.index]

    def union(self) -> torch.Tensor:
        """Return which pixels of the image any mask has: (H, W) bool."""
        found, crops = self.pixels.new_zeros(self.image_size), self.crops()
        for number in set(self.index.tolist()):
            self.windows[number].of(found).logical_or_(crops[number])
        return found

    def without(self, covered: torch.Tensor) -> "CroppedMasks":
        """Return the masks less the pixels (H, W) that something covers."""
        pairs = zip(self.windows, self.crops(), strict=True)
        crops = [crop & ~window.of(covered) for window, crop in pairs]
        left = self.of_crops(self.image_size, self.windows, crops)
        return left[self.index]

    def shifted(self, size: Size, x: int, y: int) -> "CroppedMasks":
        """Return the masks on an image of another size, cut off at its border.

        Args:
            size: (height, width).
            x: the column that the first one becomes.
            y: the row that the first one becomes.
        """
        windows, crops = [], []
        for window, crop in zip(self.windows, self.crops(), strict=True):
            xs = [min(max(one + x, 0), size[1]) for one in (window.x0, window.x1)]
            ys = [min(max(one + y, 0), size[0]) for one in (window.y0, window.y1)]
            windows.append(Window(xs[0], ys[0], xs[1], ys[1]))
            left, top = xs[0] - x - window.x0, ys[0] - y - window.y0
            height, width = windows[-1].size
            crops.append(crop[top : top + height, left : left + width])
        return self.of_crops(size, windows, crops)[self.index]

    def __getitem__(self, item: Any) -> "CroppedMasks":
        """Return some masks: by a number, a slice, or a tensor of numbers or of bool."""
        index = self.index[item].reshape(-1)
        return CroppedMasks(self.image_size, self.windows, self.pixels, index)

    def __iter__(self) -> Iterator[torch.Tensor]:
        """Yield whole masks, (H, W) bool."""
        yield from self.tensor

    def __len__(self) -> int:
        return len(self.index)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(num_instances={len(self)})"

    @staticmethod
    def cat(several: Sequence["CroppedMasks"]) -> "CroppedMasks":
        """Return the masks of one image together, in their order."""
        windows = [window for one in several for window in one.windows]
        numbers, before = [], 0
        for one in several:
            numbers.append(one.index + before)
            before += len(one.windows)
        pixels = torch.cat([one.pixels for one in several])
        return CroppedMasks(several[0].image_size, windows, pixels, torch.cat(numbers))

    def _arrays(self) -> list[NDArray[np.bool_]]:
        """Return the crops as arrays, which answer small questions sooner."""
        return [
            crop.numpy()
            for crop in CroppedMasks(self.image_size, self.windows, self.pixels.cpu()).crops()
        ]

    def _pasted(self, dtype: torch.dtype) -> torch.Tensor:
        """Return every crop in its image: (G, H, W)."""
        size = (len(self.windows), *self.image_size)
        canvas = torch.zeros(size, dtype=dtype, device=self.device)
        for image, window, crop in zip(canvas, self.windows, self.crops(), strict=True):
            window.of(image).copy_(crop)
        return canvas


def _around(mask: NDArray[np.bool_]) -> Window:
    """Return the tight window of a mask (H, W); an empty one's is empty."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return Window(0, 0, 0, 0)
    return Window(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
