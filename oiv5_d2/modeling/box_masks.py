"""A mask loss for objects known by their boxes alone, as in BoxInst (Tian et al. 2021).

Two terms, here in the frame of each proposal: the mask reaches every side of the box and nothing
outside it; and neighbouring pixels of one colour are both object or both background.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch.nn import functional as F
from torchvision.ops import roi_align

SIMILAR = 0.3  # of exp(-distance / 2), from which two pixels have one colour
DILATION = 2  # pixels of the mask head's grid between neighbours
_RGB_TO_XYZ = ((0.4125, 0.3576, 0.1804), (0.2127, 0.7152, 0.0722), (0.0193, 0.1192, 0.9503))
_WHITE = (0.9505, 1.0, 1.0888)  # D65


class Pixels(NamedTuple):
    """How a model's input was made of an image's colours."""

    mean: Sequence[float]
    std: Sequence[float]
    is_bgr: bool

    def to_rgb(self, normalised: torch.Tensor) -> torch.Tensor:
        """Return the model's input (B, 3, H, W) as RGB from 0 to 255."""
        mean, std = (
            torch.tensor(one, device=normalised.device)[:, None, None]
            for one in (self.mean, self.std)
        )
        colours = normalised * std + mean
        return colours.flip(1) if self.is_bgr else colours


def box_mask_loss(
    logits: torch.Tensor, lab: torch.Tensor, proposals: torch.Tensor, boxes: torch.Tensor
) -> torch.Tensor:
    """Return the mean over the proposals of both terms.

    Args:
        logits: (N, S, S) of the objects' classes, over the proposals' areas.
        lab: (N, 3, S, S) colours there, see `crop_colours`.
        proposals: (N, 4) XYXY in pixels.
        boxes: (N, 4), of the objects.
    """
    inside = _inside(proposals, boxes, logits.shape[-1])
    return projection_loss(logits, inside).mean() + pairwise_loss(logits, lab, inside).mean()


def projection_loss(logits: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """Return one minus Dice between the mask's and the box's extents along both axes: (N,)."""
    mask, box = logits.sigmoid(), inside.to(logits.dtype)
    terms = [1 - _dice(mask.amax(dim=axis), box.amax(dim=axis)) for axis in (1, 2)]
    return terms[0] + terms[1]


def pairwise_loss(logits: torch.Tensor, lab: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """Return -log P(both object or both background), the mean over similar neighbours: (N,)."""
    objects, background = F.logsigmoid(logits)[:, None], F.logsigmoid(-logits)[:, None]
    both = (one + _neighbours(one)[:, 0] for one in (objects, background))
    same = torch.logaddexp(*both)  # (N, 8, S, S)
    distance = (lab[:, :, None] - _neighbours(lab)).norm(dim=1)
    is_similar = (torch.exp(-distance / 2) >= SIMILAR) & inside[:, None]
    terms, num_similar = (one.sum((1, 2, 3)) for one in (same * is_similar, is_similar))
    loss: torch.Tensor = -terms / num_similar.clamp(min=1)
    return loss


def crop_colours(rgb: torch.Tensor, proposals: list[torch.Tensor], size: int) -> torch.Tensor:
    """Return the colours in proposals, in CIELAB: (N, 3, size, size).

    Args:
        rgb: (B, 3, H, W), 0 to 255.
        proposals: (N_b, 4) XYXY in pixels, for each image of the batch.
        size: of the mask head's grid.
    """
    return _to_lab(roi_align(rgb, proposals, size, aligned=True))


def _inside(proposals: torch.Tensor, boxes: torch.Tensor, size: int) -> torch.Tensor:
    """Return which cells of the proposals' grids have their centres in the boxes: (N, S, S)."""
    steps = (torch.arange(size, device=boxes.device) + 0.5) / size
    (x0, y0), (x1, y1) = proposals[:, :2].T, proposals[:, 2:].T
    x = x0[:, None] + steps * (x1 - x0)[:, None]
    y = y0[:, None] + steps * (y1 - y0)[:, None]
    columns = (x >= boxes[:, 0:1]) & (x < boxes[:, 2:3])
    rows = (y >= boxes[:, 1:2]) & (y < boxes[:, 3:4])
    inside: torch.Tensor = rows[:, :, None] & columns[:, None]
    return inside


def _dice(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    overlap: torch.Tensor = 2 * (one * other).sum(1)
    return overlap / (one.square() + other.square()).sum(1).clamp(min=1e-6)


def _neighbours(values: torch.Tensor) -> torch.Tensor:
    """Return the eight values around each: (N, C, H, W) -> (N, C, 8, H, W); edges repeat."""
    padded = F.pad(values, [DILATION] * 4, mode="replicate")
    height, width = values.shape[-2:]
    shifts = [
        padded[..., y : y + height, x : x + width]
        for y in (0, DILATION, 2 * DILATION)
        for x in (0, DILATION, 2 * DILATION)
        if (y, x) != (DILATION, DILATION)
    ]
    return torch.stack(shifts, dim=2)


def _to_lab(rgb: torch.Tensor) -> torch.Tensor:
    """Return CIELAB (D65) of sRGB from 0 to 255; the channels are the second axis."""
    share = (rgb / 255).clamp(0, 1)
    linear = torch.where(share > 0.04045, ((share + 0.055) / 1.055) ** 2.4, share / 12.92)
    matrix, white = (torch.tensor(one, device=rgb.device) for one in (_RGB_TO_XYZ, _WHITE))
    xyz = torch.einsum("ij,njhw->nihw", matrix, linear) / white[:, None, None]
    f = torch.where(xyz > 0.008856, xyz.clamp(min=1e-6) ** (1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = f.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)
