"""What a Mask R-CNN does with one image, step by step: the anchors, proposals, boxes and masks.

The model is a stock one of Detectron2, asked through the modules that it is made of.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from oiv5_d2.problems import Kind, Problem, Remedy
from oiv5_d2.training import compat  # noqa: F401  first: it makes Detectron2 importable

# isort: split
from detectron2.modeling.meta_arch import GeneralizedRCNN
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.modeling.proposal_generator import RPN
from detectron2.structures import Boxes, ImageList, Instances, pairwise_iou

Floats = NDArray[np.float32]
MATCHED = 1  # the label of an anchor that is trained to find an object
MOST = 100  # boxes of a step that are drawn: more hide the image
FOUND = 0.5  # IoU from which on a proposal is about an object that was found


class Candidates(NamedTuple):
    """Boxes on the way to detections, the best first.

    Attributes:
        boxes: (N, 4) xyxy in pixels of the image.
        about: (N,) index of the detection that each one is about; -1 for none.
        total: how many there are in all.
    """

    boxes: Floats
    about: NDArray[np.int64]
    total: int


class Inside(NamedTuple):
    """The steps of one image.

    Attributes:
        anchors: those that match a detection as the RPN would be trained to match them.
        refined: what the RPN makes of the anchors that it finds best.
        proposals: what it hands on, after NMS.
        small_masks: (N, S, S) what the mask head says of each detection, before it is resized to
            its box: 0 to 1; without a mask head of no detection.
        found: the detections, of the classes of the model: boxes, scores, masks.
        activations: by level, (h, w) mean of the absolute features of all channels, without the
            padding of the model's frame.
        strides: pixels of the model's frame between two features, by level.
    """

    anchors: Candidates
    refined: Candidates
    proposals: Candidates
    small_masks: Floats
    found: Instances
    activations: dict[str, Floats]
    strides: dict[str, int]


def look_inside(
    model: nn.Module, image: dict[str, Any], least: Sequence[float], most: int = MOST
) -> Inside:
    """Return what a model does with an image.

    Args:
        model: in evaluation mode.
        image: as Detectron2's models take it, with the height and width of the result.
        least: the score from which on a detection of each class counts, 0 to 1.
        most: boxes of a step that are returned; matched anchors are all returned.

    Raises:
        Problem: UNSUPPORTED, the model is no Mask R-CNN with an RPN.
    """
    if not isinstance(model, GeneralizedRCNN) or not isinstance(model.proposal_generator, RPN):
        detail = "only a Mask or Faster R-CNN with an RPN can be looked into"
        raise Problem(Kind.UNSUPPORTED, type(model).__name__, detail, remedy=Remedy.NONE)
    with torch.no_grad():
        frame = model.preprocess_image([image])
        features = model.backbone(frame.tensor)
        proposals, _ = model.proposal_generator(frame, features, None)
        results, _ = model.roi_heads(frame, features, proposals, None)
        chosen = _choose(results[0], least)
        scale = image["height"] / frame.image_sizes[0][0]
        # A copy, for what comes next resizes the boxes where they are.
        view = _View(chosen.pred_boxes.clone(), scale, most)
        anchors, refined = _first_steps(model.proposal_generator, frame, features, view)
        small_masks = _small_masks(chosen)
        found = detector_postprocess(chosen, image["height"], image["width"])
        strides = {name: one.stride for name, one in model.backbone.output_shape().items()}
    return Inside(
        anchors=anchors,
        refined=refined,
        proposals=view.take(proposals[0].proposal_boxes),
        small_masks=small_masks,
        found=found.to("cpu"),
        activations={name: _mean(one[0], strides[name], frame) for name, one in features.items()},
        strides=strides,
    )


def _choose(found: Instances, least: Sequence[float]) -> Instances:
    limits = found.scores.new_tensor(least)[found.pred_classes]
    return found[(found.scores >= limits) & found.pred_boxes.nonempty()]


def _small_masks(found: Instances) -> Floats:
    has_masks = found.has("pred_masks")
    masks = found.pred_masks[:, 0] if has_masks else torch.zeros(0, 1, 1)
    return np.asarray(masks.cpu().numpy(), dtype=np.float32)


class _View(NamedTuple):
    """How steps are seen: beside what was found, at the image's own size."""

    objects: Boxes  # in the model's frame
    scale: float
    most: int

    def take(self, boxes: Boxes) -> Candidates:
        """Return the first of some boxes, each with the object that it is about."""
        first = boxes[: self.most]
        overlap = pairwise_iou(self.objects, first)
        return self._build(first, *_best(overlap, FOUND), total=len(boxes))

    def matched(self, rpn: RPN, anchors: Boxes) -> Candidates:
        """Return the anchors that match an object as in training."""
        target, label = rpn.anchor_matcher(pairwise_iou(self.objects, anchors))
        chosen = torch.nonzero(label == MATCHED)[:, 0] if len(self.objects) else label[:0].long()
        about = target[chosen]
        return self._build(anchors[chosen], about, torch.ones_like(about) > 0, len(anchors))

    def _build(
        self, boxes: Boxes, about: torch.Tensor, is_about: torch.Tensor, total: int
    ) -> Candidates:
        about = torch.where(is_about, about, -1)
        pixels = (boxes.tensor * self.scale).cpu().numpy()
        return Candidates(pixels, about.cpu().numpy(), total)


def _first_steps(
    rpn: RPN, frame: ImageList, features: dict[str, torch.Tensor], view: _View
) -> tuple[Candidates, Candidates]:
    """Return the matched anchors, and the best anchors as the RPN moves them."""
    levels = [features[name] for name in rpn.in_features]
    grids = rpn.anchor_generator(levels)
    logits, deltas = rpn.rpn_head(levels)
    anchors = Boxes.cat(grids)
    scores = torch.cat([one[0].permute(1, 2, 0).flatten() for one in logits])
    width = anchors.tensor.shape[1]
    moves = torch.cat([_flat_deltas(one[0], width) for one in deltas])
    order = scores.argsort(descending=True)[: view.most]
    moved = Boxes(rpn.box2box_transform.apply_deltas(moves[order], anchors.tensor[order]))
    moved.clip(frame.image_sizes[0])
    refined = view.take(moved)._replace(total=len(anchors))
    return view.matched(rpn, anchors), refined


def _flat_deltas(deltas: torch.Tensor, width: int) -> torch.Tensor:
    """Return a level's deltas (A * 4, h, w) in the order of its anchors, (h * w * A, 4)."""
    grid = deltas.reshape(-1, width, *deltas.shape[1:])
    return grid.permute(2, 3, 0, 1).reshape(-1, width)


def _best(overlap: torch.Tensor, least: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return for each column the row of the largest overlap, and whether that is enough."""
    if not len(overlap):
        none = torch.zeros(overlap.shape[1], dtype=torch.int64, device=overlap.device)
        return none, none > 0
    values, rows = overlap.max(dim=0)
    return rows, values >= least


def _mean(features: torch.Tensor, stride: int, frame: ImageList) -> Floats:
    height, width = (math.ceil(side / stride) for side in frame.image_sizes[0])
    strength = features.abs().mean(dim=0)[:height, :width]
    return np.asarray(strength.cpu().numpy(), dtype=np.float32)
