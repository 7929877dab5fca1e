"""How images are augmented: the steps of ``augment`` in the configs, by name.

A new one is a function or class here (or in a file of its own), a line in its table, and a file of
``configs/augment`` that names it with its settings. One that may cut objects off says so by its
attribute ``cuts_objects``.
"""

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any, NamedTuple

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import transforms as T
from detectron2.data.detection_utils import build_augmentation
from fvcore.transforms.transform import CropTransform, PadTransform
from numpy.typing import NDArray

from oiv5_d2.keys import check_known
from oiv5_d2.problems import wrong_setting
from oiv5_d2.training.data.copy_paste import CopyPaste, Mix
from oiv5_d2.training.data.pixels import Resize, resize_exactly, resize_fast

FAST_RESIZE = "fast_resize"  # a step

Augment = Mapping[str, Mapping[str, Any]]  # step -> its settings
Image = NDArray[np.uint8]  # (height, width, 3)


class Pipeline(NamedTuple):
    """What is done to an image, in this order.

    Attributes:
        steps: Detectron2's augmentations, of one image.
        cuts_objects: a step may cut objects off, so that their boxes must be drawn anew.
        mixes: what takes more than one image.
        resize: how pixels are resized.
    """

    steps: list[T.Augmentation]
    cuts_objects: bool
    mixes: list[Mix]
    resize: Resize


class Crop(T.RandomCrop):  # type: ignore[misc]
    """Detectron2's random crop."""

    cuts_objects = True


class Window(T.Augmentation):  # type: ignore[misc]
    """A square of an image, at random where the image is larger, padded where it is smaller.

    Detectron2's ``FixedSizeCrop`` draws one number for both axes: it never shows the upper right.

    Args:
        size: side of the square in pixels.
        pad_value: of the pixels to the right and below, 0 to 255.
    """

    cuts_objects = True

    def __init__(self, size: int, pad_value: int) -> None:
        super().__init__()
        self.size, self.pad_value = size, pad_value

    def get_transform(self, image: Image) -> T.TransformList:
        """Draw the window."""
        height, width = image.shape[:2]
        y, x = (np.random.randint(max(side - self.size, 0) + 1) for side in (height, width))
        shown = min(width, self.size), min(height, self.size)
        right, below = self.size - shown[0], self.size - shown[1]
        crop = CropTransform(x, y, *shown, width, height)
        return T.TransformList([crop, PadTransform(0, 0, right, below, *shown, self.pad_value)])


class Square(T.Augmentation):  # type: ignore[misc]
    """Matterport's Mask R-CNN's resize, mode ``square``: nothing is cut, borders fill the square.

    Args:
        min_size: smaller images are enlarged until their shortest side has so many pixels.
        max_size: side of the square, and the most that the longest side may have.
        pad_value: of the border.
    """

    def __init__(self, min_size: int, max_size: int, pad_value: int) -> None:
        super().__init__()
        self.min_size, self.max_size, self.pad_value = min_size, max_size, pad_value

    def get_transform(self, image: Image) -> T.TransformList:
        """Return the resize and the border; nothing is drawn."""
        height, width = image.shape[:2]
        scale = max(1.0, self.min_size / min(height, width))
        if round(max(height, width) * scale) > self.max_size:
            scale = self.max_size / max(height, width)
        h, w = round(height * scale), round(width * scale)
        top, left = (self.max_size - h) // 2, (self.max_size - w) // 2
        below, right = self.max_size - h - top, self.max_size - w - left
        pad = PadTransform(left, top, right, below, w, h, self.pad_value)
        return T.TransformList([T.ResizeTransform(height, width, h, w), pad])


def _large_scale_jitter(cfg: CfgNode, size: int, scale: Sequence[float]) -> list[T.Augmentation]:
    low, high = scale
    if not (0 < low <= high and size > 0):
        raise ValueError("scale is [lowest, highest] above 0, size above 0")
    # The mean colour: the network sees 0 there, as in the border that Detectron2 gives a batch.
    mean = round(float(np.mean(cfg.MODEL.PIXEL_MEAN)))
    return [T.ResizeScale(low, high, size, size), Window(size, mean)]


def _square(_: CfgNode, min_size: int, max_size: int, pad_value: int) -> list[T.Augmentation]:
    if not (0 < min_size <= max_size and 0 <= pad_value <= 255):
        raise ValueError("min_size is above 0 and at most max_size, pad_value 0 to 255")
    return [Square(min_size, max_size, pad_value)]


def _colour(_: CfgNode, brightness: float, contrast: float) -> list[T.Augmentation]:
    if not (0 <= brightness < 1 and 0 <= contrast < 1):
        raise ValueError("both are at least 0 and below 1")
    return [
        T.RandomBrightness(1 - brightness, 1 + brightness),
        T.RandomContrast(1 - contrast, 1 + contrast),
    ]


def _fast_resize(_: CfgNode) -> list[T.Augmentation]:
    return []  # no step more: those that resize do it in another way


Step = Callable[..., list[T.Augmentation]]  # of (cfg, **settings)
SIZES: dict[str, Step] = {"large_scale_jitter": _large_scale_jitter, "square": _square}
LOOKS: dict[str, Step] = {"colour": _colour, FAST_RESIZE: _fast_resize}
MIXES: dict[str, Callable[..., Mix]] = {"copy_paste": CopyPaste}  # of (**settings)


def build_pipeline(cfg: CfgNode, augment: Augment) -> Pipeline:
    """Return the steps that ``augment`` names; where it names no size, ``cfg.INPUT``'s.

    A step of `SIZES` takes the place of Detectron2's crop and sizes. The flip is always
    ``INPUT.RANDOM_FLIP``.

    Raises:
        Problem: SETTING, an unknown step or setting, a value out of range, two steps for the size,
            a crop that would have no effect, or masks needed by a model that has none.
    """
    known = [f"augment.{name}" for name in (*SIZES, *LOOKS, *MIXES)]
    check_known((f"augment.{name}" for name in augment), known)
    steps = build_augmentation(cfg, is_train=True)
    if size := _size_step(cfg, augment):
        steps[:1] = _build(SIZES[size], size, augment[size], cfg)
    elif cfg.INPUT.CROP.ENABLED:
        steps.insert(0, Crop(cfg.INPUT.CROP.TYPE, cfg.INPUT.CROP.SIZE))
    for name in filter(LOOKS.__contains__, augment):
        steps += _build(LOOKS[name], name, augment[name], cfg)
    cuts_objects = any(getattr(one, "cuts_objects", False) for one in steps)
    mixes = [_build(MIXES[n], n, augment[n]) for n in filter(MIXES.__contains__, augment)]
    if mixes and not cfg.MODEL.MASK_ON:
        raise wrong_setting("d2.MODEL.MASK_ON", False, "objects are pasted by their masks")
    resize = resize_fast if FAST_RESIZE in augment else resize_exactly
    return Pipeline(steps, cuts_objects, mixes, resize)


def _size_step(cfg: CfgNode, augment: Augment) -> str | None:
    names = [name for name in augment if name in SIZES]
    if len(names) > 1:
        raise wrong_setting(
            "augment", ",".join(names), "each of these decides the size: choose one"
        )
    if names and cfg.INPUT.CROP.ENABLED:
        raise wrong_setting("d2.INPUT.CROP.ENABLED", True, f"no effect beside augment={names[0]}")
    return names[0] if names else None


def _build(step: Callable[..., Any], name: str, settings: Mapping[str, Any], *first: Any) -> Any:
    """Call a step's function with its settings; name the setting that it does not take."""
    wanted = [f"augment.{name}.{key}" for key in list(signature(step).parameters)[len(first) :]]
    given = [f"augment.{name}.{key}" for key in settings]
    check_known(given, wanted)
    for key in wanted:
        if key not in given:
            raise wrong_setting(key, "", "not set")
    try:
        return step(*first, **settings)
    except (TypeError, ValueError) as error:
        raise wrong_setting(f"augment.{name}", dict(settings), str(error)) from error
