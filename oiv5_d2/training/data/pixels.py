"""An image's pixels: read to the bit as Detectron2 reads them, and laid out as a model wants them."""

from typing import Any

import cv2
import numpy as np
import simplejpeg
import torch
from detectron2.data import detection_utils as utils
from numpy.typing import NDArray

_TURNED = (b"Exif\0\0", b":Orientation")  # what may say that an image is seen in another way
_PLAIN = "YCbCr"  # a JPEG's colours, as nearly all have them


def read_image(path: str, image_format: str) -> NDArray[Any]:
    """Return the pixels of an image file: (H, W, C).

    A JPEG is decoded into the wanted order of channels at once. What is unusual about a file, and
    every other format, is left to Detectron2.

    Args:
        path: of the file.
        image_format: as ``INPUT.FORMAT``.

    Raises:
        OSError: it cannot be read.
    """
    if image_format in ("BGR", "RGB"):
        with open(path, "rb") as file:
            data = file.read()
        if not any(sign in data for sign in _TURNED):
            try:
                if simplejpeg.decode_jpeg_header(data)[2] == _PLAIN:
                    pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, image_format)
                    return pixels
            except ValueError:
                pass  # no JPEG, or a damaged one
    found: NDArray[Any] = utils.read_image(path, format=image_format)
    return found


def to_planes(image: NDArray[Any]) -> torch.Tensor:
    """Return an image (H, W, C) as a tensor (C, H, W)."""
    if image.dtype != np.uint8 or image.ndim != 3:
        return torch.as_tensor(np.ascontiguousarray(image.transpose(2, 0, 1)))
    is_flipped = image.strides[1] < 0  # Detectron2 flips views
    pixels = image[:, ::-1] if is_flipped else image
    height, width, channels = image.shape
    planes = np.empty((channels, height, width), np.uint8)
    cv2.split(np.ascontiguousarray(pixels), list(planes))
    if is_flipped:
        for plane in planes:
            plane[:] = cv2.flip(plane, 1)
    return torch.from_numpy(planes)
