"""A trained model as a function of an image.

from oiv5_d2.inference.predictor import Predictor
predict = Predictor.from_run("outputs/quickstart")
for one in predict(image): print(one.class_name, one.score, one.box, one.mask.shape)
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as run_lengths

from oiv5_d2.evaluation.masks import Rle, encode
from oiv5_d2.inference.slices import Slices, Window, cut, is_whole, shift, windows_of
from oiv5_d2.runs.layout import FINAL_WEIGHTS, find_run, read_record
from oiv5_d2.runs.matches import MIN_SCORE
from oiv5_d2.training.models import NO_CHANGES, load_cfg, load_model
from oiv5_d2.training.tta import with_augmentation

# isort: split
from detectron2.config import CfgNode
from detectron2.data import transforms as T
from detectron2.layers import batched_nms
from detectron2.structures import Instances

RgbImage = NDArray[np.uint8]  # (H, W, 3)
Box = tuple[float, float, float, float]  # xyxy_abs, in pixels of the image
Model = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]

NO_SLICES = Slices(0)


class Detection(NamedTuple):
    """One object that was found.

    Attributes:
        class_name: as the run calls it.
        score: 0 to 1.
        box: xyxy_abs in pixels of the image.
        rle: the mask as COCO's compressed run lengths of the image's size; None without masks.
    """

    class_name: str
    score: float
    box: Box
    rle: Rle | None = None

    @property
    def mask(self) -> NDArray[np.bool_] | None:
        """The mask, (H, W); None of a model without masks."""
        return None if self.rle is None else run_lengths.decode(self.rle).astype(np.bool_)


class Predictor:
    """Finds objects in images, those of the highest score first."""

    def __init__(
        self,
        cfg: CfgNode,
        model: Model,
        classes: Sequence[str],
        thresholds: Mapping[str, float],
        slices: Slices = NO_SLICES,
    ) -> None:
        """Take a model.

        Args:
            cfg: of `training.models.load_cfg`: how the model wants its images.
            model: from Detectron2's inputs to its outputs.
            classes: their names, in the model's order.
            thresholds: the least score by class; a class without one has the model's own.
            slices: how large images are cut, so that small objects are seen larger.
        """
        self._model, self._cfg, self._slices = model, cfg, slices
        self.classes, self._thresholds = list(classes), dict(thresholds)

    @classmethod
    def from_run(
        cls,
        run: Path | str,
        weights: str = FINAL_WEIGHTS,
        device: str | None = None,
        thresholds: float | Mapping[str, float] = MIN_SCORE,
        slices: Slices = NO_SLICES,
        changes: Mapping[str, Any] = NO_CHANGES,
    ) -> "Predictor":
        """Return the predictor of a run.

        Args:
            run: the run's folder, or one of runs: then the newest finished one.
            weights: a checkpoint's name in the run's folder.
            device: ``cpu``, ``cuda``; None for the run's own.
            thresholds: the least score, 0 to 1, of all classes or by class.
            slices: how large images are cut.
            changes: other values of Detectron2's keys, such as ``TEST.AUG.ENABLED``.

        Raises:
            Problem: those of `find_run`, `load_cfg` and `load_model`.
        """
        run_dir = find_run(Path(run))
        cfg = load_cfg(run_dir, run_dir / weights, device, changes)
        classes = read_record(run_dir)["classes"]
        if not isinstance(thresholds, Mapping):
            thresholds = dict.fromkeys(classes, thresholds)
        model = with_augmentation(cfg, load_model(cfg).eval())
        return cls(cfg, model, classes, thresholds, slices)

    def __call__(self, image: RgbImage) -> list[Detection]:
        """Return what is found in one image, (H, W, 3) uint8 RGB."""
        return self.predict([image])[0]

    def predict(self, images: Sequence[RgbImage]) -> list[list[Detection]]:
        """Return what is found in each of some images, (H, W, 3) uint8 RGB; one pass of the model.

        Images that are cut are seen one by one, whole and in pieces.
        """
        if self._slices.side:
            return [self._choose(self._in_slices(image)) for image in images]
        return [self._choose(self.to_detections(one)) for one in self._infer(images)]

    def _infer(self, images: Sequence[RgbImage]) -> list[Instances]:
        with torch.no_grad():
            outputs = self._model([self.to_input(image) for image in images])
        return [one["instances"].to("cpu") for one in outputs]

    def to_input(self, image: RgbImage) -> dict[str, Any]:
        """Return an image, (H, W, 3) uint8 RGB, as Detectron2's models take it."""
        height, width = image.shape[:2]
        return {"image": to_tensor(self._cfg, image), "height": height, "width": width}

    def _in_slices(self, image: RgbImage) -> list[Detection]:
        """Return what is found in the image and in its pieces, what is found twice once."""
        size = image.shape[:2]
        found: list[tuple[Window, Detection]] = []
        for window in windows_of(size, self._slices):
            (instances,) = self._infer([cut(image, window)])
            pieces = self.to_detections(instances)
            found += [(window, one) for one in pieces if is_whole(one.box, window, size)]
        if not found:
            return []
        moved = [_moved_box(one.box, window) for window, one in found]
        kept = batched_nms(
            torch.tensor(moved),
            torch.tensor([one.score for _, one in found]),
            torch.tensor([self.classes.index(one.class_name) for _, one in found]),
            self._cfg.MODEL.ROI_HEADS.NMS_THRESH_TEST,
        )
        return [_moved(found[i][0], found[i][1], moved[i], size) for i in kept.tolist()]

    def to_detections(self, found: Instances) -> list[Detection]:
        """Return what a model found, in its order, whatever its score."""
        outlines: list[Rle | None] = [None] * len(found)
        if found.has("pred_masks"):
            outlines = [*encode(found.pred_masks.numpy())]
        rows = zip(
            found.pred_classes.tolist(),
            found.scores.tolist(),
            found.pred_boxes.tensor.tolist(),
            outlines,
            strict=True,
        )
        return [Detection(self.classes[i], score, tuple(box), rle) for i, score, box, rle in rows]

    def _choose(self, found: Sequence[Detection]) -> list[Detection]:
        """Return what is above its class's threshold, the highest score first."""
        kept = [one for one in found if one.score >= self._thresholds.get(one.class_name, 0.0)]
        return sorted(kept, key=lambda one: -one.score)


def to_tensor(cfg: CfgNode, image: RgbImage) -> torch.Tensor:
    """Return an image at the size and in the channels that a model wants: (3, H, W), uint8."""
    resize = T.ResizeShortestEdge([cfg.INPUT.MIN_SIZE_TEST] * 2, cfg.INPUT.MAX_SIZE_TEST)
    pixels = resize.get_transform(image).apply_image(image)
    if cfg.INPUT.FORMAT == "BGR":
        pixels = pixels[:, :, ::-1]
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def _moved_box(box: Box, window: Window) -> Box:
    x, y = window[:2]
    return box[0] + x, box[1] + y, box[2] + x, box[3] + y


def _moved(window: Window, one: Detection, box: Box, size: tuple[int, int]) -> Detection:
    """Return a detection of a piece as one of the whole image."""
    mask = one.mask
    if mask is None:
        return one._replace(box=box)
    (rle,) = encode(shift(mask, window, size)[None])
    return one._replace(box=box, rle=rle)
