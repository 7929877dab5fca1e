"""Masks that people did not draw, filled in by a model inside the boxes that they drew.

Self-training: a run's own model fills in the masks, the next run learns from them. They are marked
``pseudo`` in a COCO file of their own, which no evaluation takes.
"""

import zipfile
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from oiv5_d2.conversion import coco_file, masks
from oiv5_d2.conversion.image_store import Place
from oiv5_d2.conversion.packing import share_pack
from oiv5_d2.conversion.records import REAL_OBJECTS
from oiv5_d2.problems import Kind, Problem, Remedy
from oiv5_d2.runs.prepared import PSEUDO, Prepared, check_files
from oiv5_d2.training.data.pixels import decode
from oiv5_d2.training.models import load_model

# isort: split
from detectron2.config import CfgNode
from detectron2.data.transforms import ResizeShortestEdge
from detectron2.layers import paste_masks_in_image
from detectron2.structures import Boxes, Instances

# (H, W, 3) uint8 RGB, (N, 4) XYXY in its pixels, (N,) class indices -> (N, H, W), 0 to 1
Masker = Callable[[NDArray[np.uint8], torch.Tensor, torch.Tensor], torch.Tensor]


class Filled(NamedTuple):
    """How many objects without a mask there were, and how many got one."""

    num_boxes: int
    num_masks: int


def fill(dataset: Prepared, masker: Masker, min_score: float, path: Path) -> Filled:
    """Write a data set's COCO file again, with a masker's masks for real objects that have none.

    Such an object becomes a training target with ``pseudo``: true and ``score``, the mean
    probability of its mask's pixels. It keeps the box that a person drew.

    Args:
        dataset: with a COCO file as `oiv5_d2.conversion` writes it.
        masker: makes the masks.
        min_score: objects whose score is lower stay without a mask, 0 to 1.
        path: of the new file.

    Raises:
        Problem: DAMAGED, an image, as `check_files` raises it.
    """
    head = coco_file.read_head(dataset.json_path)
    classes = {one["id"]: index for index, one in enumerate(head["categories"])}
    images = {one["id"]: one for one in coco_file.read_records(dataset.json_path, "images")}
    check_files(dataset, images.values())
    found: list[dict[str, Any]] = []
    source = dataset.images
    annotations = coco_file.read_records(dataset.json_path, "annotations")
    for image_id, some in groupby(annotations, lambda one: one["image_id"]):
        place = Place(source, images[image_id]["file_name"])
        found += _fill_image(list(some), place, classes, masker, min_score)
    head["info"][PSEUDO] = {"min_score": min_score, "of": dataset.json_path.name}
    coco_file.write(path, head, map(coco_file.dumps, images.values()), map(coco_file.dumps, found))
    if source.pack is not None and path.parent.samefile(dataset.json_path.parent):
        share_pack(dataset.json_path, path)
    num_boxes = sum(one["ignore_reason"] in REAL_OBJECTS for one in found)
    num_masks = sum(one.get(PSEUDO, False) for one in found)
    return Filled(num_boxes + num_masks, num_masks)


def masker_of_run(cfg: CfgNode) -> Masker:
    """Return the mask head of a run's model, which is given the boxes and classes.

    Args:
        cfg: of the run, as `oiv5_d2.training.models.load_cfg` returns it.
    """
    model: Any = load_model(cfg).eval()
    resize = ResizeShortestEdge([cfg.INPUT.MIN_SIZE_TEST] * 2, cfg.INPUT.MAX_SIZE_TEST)

    @torch.no_grad()
    def predict(image: NDArray[np.uint8], boxes: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        pixels = image[:, :, ::-1] if cfg.INPUT.FORMAT == "BGR" else image
        transform = resize.get_transform(pixels)
        moved = np.ascontiguousarray(transform.apply_image(pixels).transpose(2, 0, 1))
        known = Instances(moved.shape[1:], pred_boxes=Boxes(transform.apply_box(boxes.numpy())))
        known.pred_classes = ids
        inputs = [{"image": torch.as_tensor(moved)}]
        (found,) = model.inference(inputs, [known], do_postprocess=False)
        masks_in_boxes = found.pred_masks[:, 0].cpu()
        pasted: torch.Tensor = paste_masks_in_image(masks_in_boxes, boxes, image.shape[:2], -1)
        return pasted / 255  # bytes, as a threshold below 0 asks for

    return predict


def masker_of_file(path: Path) -> Masker:
    """Return a model that was saved by `torch.export`, such as a promptable segmenter.

    It is called with the image, (3, H, W) uint8 RGB, and boxes, (N, 4) float XYXY in pixels, and
    returns probabilities (N, H, W).

    Raises:
        Problem: ABSENT, or DAMAGED: not such a file.
    """
    if not zipfile.is_zipfile(path):
        kind = Kind.DAMAGED if path.is_file() else Kind.ABSENT
        detail = "not a model as torch.export.save writes it"
        raise Problem(kind, path, detail, key="masker", remedy=Remedy.CHANGE_SETTING)
    model = torch.export.load(path).module()

    @torch.no_grad()
    def predict(image: NDArray[np.uint8], boxes: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = model(torch.as_tensor(image).permute(2, 0, 1), boxes)
        return found

    return predict


def _fill_image(
    annotations: list[dict[str, Any]],
    place: Place,
    classes: dict[int, int],
    masker: Masker,
    min_score: float,
) -> Iterator[dict[str, Any]]:
    boxed = [one for one in annotations if one["ignore_reason"] in REAL_OBJECTS]
    if not boxed:
        yield from annotations
        return
    corners = torch.tensor([one["bbox"] for one in boxed])
    corners[:, 2:] += corners[:, :2]
    ids = torch.tensor([classes[one["category_id"]] for one in boxed])
    found = masker(decode(place.read(), "RGB"), corners, ids).numpy()
    filled = {
        one["id"]: _with_mask(one, probabilities, min_score)
        for one, probabilities in zip(boxed, found, strict=True)
    }
    for one in annotations:
        yield filled.get(one["id"], one)


def _with_mask(
    annotation: dict[str, Any], probabilities: NDArray[np.float32], min_score: float
) -> dict[str, Any]:
    mask = probabilities >= 0.5
    score = float(probabilities[mask].mean()) if mask.any() else 0.0
    if not mask.any() or score < min_score:
        return annotation
    about = {"iscrowd": 0, "ignore_reason": "", PSEUDO: True, "score": round(score, 4)}
    return {**annotation, "segmentation": masks.encode(mask), "area": int(mask.sum()), **about}
