"""An image's pixels: Detectron2's to the bit, without the copies between its steps."""

import io
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import simplejpeg
import torch
from detectron2.data import detection_utils as utils
from detectron2.data import transforms as T
from fvcore.transforms.transform import HFlipTransform, Transform, TransformList
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

_TURNED = (b"Exif\0\0", b":Orientation")  # what may say that an image is seen in another way
_PLAIN = "YCbCr"  # a JPEG's colours, as nearly all have them

Quads = NDArray[np.uint8]  # (H, W, 4): three channels and a byte that means nothing
Resize = Callable[[Quads, T.ResizeTransform], Quads]


def resize_exactly(quads: Quads, step: T.ResizeTransform) -> Quads:
    """Return what Pillow makes of an image, to and fro without a copy."""
    height, width = quads.shape[:2]
    pixels = pa.Array.from_buffers(pa.uint32(), height * width, [None, pa.py_buffer(quads)])
    image = Image.fromarrow(pixels, "RGB", (width, height))
    resized = image.resize((step.new_w, step.new_h), step.interp)
    values = pa.array(resized).values.to_numpy()
    return np.asarray(values.reshape(step.new_h, step.new_w, 4))


def resize_fast(quads: Quads, step: T.ResizeTransform) -> Quads:
    """Return what PyTorch makes of it, with weights of 16 bits where Pillow has 32.

    The method is the same. It takes 40 % of the time, and about one value in a hundred, or fewer,
    is higher or lower by 1.
    """
    if step.interp != Image.Resampling.BILINEAR:
        return resize_exactly(quads, step)
    height, width = quads.shape[:2]
    strides = (height * width * 4, 1, width * 4, 4)  # of a batch of one, its channels last
    pixels = torch.from_numpy(quads).as_strided((1, 4, height, width), strides)
    size = step.new_h, step.new_w
    resized = functional.interpolate(pixels, size, mode="bilinear", antialias=True)
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())


def decode_frame(data: bytes, image_format: str, resize: Resize = resize_exactly) -> "Frame":
    """Return the pixels of an image file.

    A JPEG is decoded into the wanted order of channels at once. What is unusual about a file, and
    every other format, is left to Detectron2.

    Args:
        data: the file's bytes.
        image_format: as ``INPUT.FORMAT``.
        resize: how it will be resized.

    Raises:
        OSError: it is no image, or a damaged one.
    """
    if image_format in ("BGR", "RGB") and not any(sign in data for sign in _TURNED):
        try:
            if simplejpeg.decode_jpeg_header(data)[2] == _PLAIN:
                quads = simplejpeg.decode_jpeg(data, f"{image_format}X")
                return Frame(quads[..., :3], quads, resize)
        except ValueError:
            pass  # no JPEG, or a damaged one
    return Frame(decode(data, image_format))


def decode(data: bytes, image_format: str) -> NDArray[Any]:
    """Return the pixels of an image file as Detectron2's ``read_image`` does; its errors too."""
    with Image.open(io.BytesIO(data)) as image:
        turned = utils._apply_exif_orientation(image)
        return np.asarray(utils.convert_PIL_to_numpy(turned, image_format))


class Frame(T.AugInput):  # type: ignore[misc]
    """An image on its way through augmentations.

    Pillow keeps four bytes a pixel, so as long as these are at hand it resizes without a copy.
    Every step sees and returns (H, W, 3) all the same.

    Args:
        image: (H, W, C).
        quads: of which ``image`` is a view, or None.
        resize: how these are resized.
    """

    def __init__(
        self, image: NDArray[Any], quads: Quads | None = None, resize: Resize = resize_exactly
    ) -> None:
        super().__init__(image)
        self.image: NDArray[Any] = image
        self._quads, self._view, self._resize = quads, image, resize

    def transform(self, transform: Transform) -> None:
        """Let the image go through one step, or through several in turn."""
        steps = transform.transforms if isinstance(transform, TransformList) else [transform]
        for step in steps:
            quads = self._find_quads()
            if quads is not None and type(step) is T.ResizeTransform:
                self._keep(self._resize(quads, step))
            elif quads is not None and type(step) is HFlipTransform:
                self._keep(cv2.flip(quads, 1))
            else:
                self.image = step.apply_image(self.image)

    def to_planes(self) -> torch.Tensor:
        """Return the image as a model wants it, (C, H, W)."""
        quads = self._find_quads()
        if quads is None:
            return torch.as_tensor(np.ascontiguousarray(self.image.transpose(2, 0, 1)))
        height, width = quads.shape[:2]
        planes = np.empty((3, height, width), np.uint8)
        cv2.split(quads, [*planes, np.empty((height, width), np.uint8)])
        return torch.from_numpy(planes)

    def _find_quads(self) -> Quads | None:
        """Return the image's four bytes a pixel, unless a step has made another image of it."""
        return self._quads if self.image is self._view else None

    def _keep(self, quads: Any) -> None:
        self._quads = quads
        self.image = self._view = quads[..., :3]
