"""What a model costs: parameters, operations, time and memory, before it is trained.

Operations are multiply-adds of convolutions, linear layers and the like, counted by fvcore on one
image; what heads do depends on the number of proposals, which for random weights is the most that
the settings allow.
"""

import resource
import time
from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from oiv5_d2.training import compat  # noqa: F401  first: it makes Detectron2 importable

# isort: split
from detectron2.config import CfgNode
from detectron2.data.transforms import ResizeShortestEdge
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.analysis import FlopCountAnalysis
from detectron2.utils.events import EventStorage

PARTS = {  # of Detectron2's models: how people call them
    "backbone": "backbone and pyramid",
    "proposal_generator": "proposals (RPN)",
    "roi_heads.box": "box heads",
    "roi_heads.mask": "mask head",
}
NUM_OBJECTS = 6  # in an image of the training step, as Open Images has them
MEGA = 1e6


class Part(NamedTuple):
    """One part of a model.

    Attributes:
        name: for people.
        parameters: how many, trained or frozen.
        trained: how many of them a step changes.
        operations: multiply-adds of one image.
    """

    name: str
    parameters: int
    trained: int
    operations: float


class Speed(NamedTuple):
    """What something takes.

    Attributes:
        seconds: the median.
        images: at a time.
        megabytes: the peak: of the GPU's memory, or of the whole process on a CPU.
    """

    seconds: float
    images: int
    megabytes: float


def frame(cfg: CfgNode, size: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) at which the model sees an image of a size in a test."""
    resize = ResizeShortestEdge([cfg.INPUT.MIN_SIZE_TEST] * 2, cfg.INPUT.MAX_SIZE_TEST)
    transform = resize.get_transform(np.empty((*size, 3), np.uint8))
    return transform.new_h, transform.new_w


def count(model: nn.Module, size: tuple[int, int]) -> list[Part]:
    """Return parameters and operations of each part, and of all together at the end.

    Args:
        model: one of Detectron2's.
        size: (height, width) of the image as the model sees it.
    """
    flops = FlopCountAnalysis(model.eval(), [_image(size, _device(model))])
    flops.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    operations = {key.removeprefix("model."): value for key, value in flops.by_module().items()}
    parts = [
        Part(
            label,
            _numel(model, name, False),
            _numel(model, name, True),
            sum(value for key, value in operations.items() if _is_top(key, name)),
        )
        for name, label in PARTS.items()
    ]
    whole = Part("all", _numel(model, "", False), _numel(model, "", True), operations[""])
    return [*(one for one in parts if one.parameters), whole]


def time_inference(model: nn.Module, size: tuple[int, int], rounds: int) -> Speed:
    """Return what finding the objects of one image takes."""
    model.eval()
    image = _image(size, _device(model))

    def work() -> None:
        with torch.no_grad():
            model([image])

    return _measure(work, rounds, 1, _device(model))


def time_gradients(model: nn.Module, cfg: CfgNode, size: tuple[int, int], rounds: int) -> Speed:
    """Return what the gradients of ``SOLVER.IMS_PER_BATCH`` images in fp32 take.

    Nearly all of a training step is that. The update is left out: with random weights one at the
    full rate may end in numbers that are none.
    """
    model.train()
    batch = cfg.SOLVER.IMS_PER_BATCH
    images = [_image(size, _device(model), cfg) for _ in range(batch)]

    def work() -> None:
        with EventStorage():
            losses = sum(model(images).values())
        model.zero_grad()
        losses.backward()

    return _measure(work, rounds, batch, _device(model))


def _measure(work: Callable[[], None], rounds: int, images: int, device: str) -> Speed:
    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(rounds + 1):  # the first is longer
        begin = time.perf_counter()
        work()
        if on_gpu:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    peak = (
        torch.cuda.max_memory_allocated()
        if on_gpu
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    return Speed(median(times[1:] or times), images, peak / MEGA)


def _device(model: nn.Module) -> str:
    return str(next(model.parameters()).device)


def _image(size: tuple[int, int], device: str, cfg: CfgNode | None = None) -> dict[str, Any]:
    """Return an image of noise; for training with some objects of every size."""
    height, width = size
    image = torch.randint(0, 255, (3, height, width), dtype=torch.uint8, device=device)
    found: dict[str, Any] = {"image": image, "height": height, "width": width}
    if cfg is not None:
        found["instances"] = _objects(size, cfg).to(device)
    return found


def _objects(size: tuple[int, int], cfg: CfgNode) -> Instances:
    height, width = size
    sides = torch.linspace(0.05, 0.6, NUM_OBJECTS)
    corners = torch.stack([sides * width / 4, sides * height / 4], dim=1)
    far = corners + torch.stack([sides * width, sides * height], dim=1)
    objects = Instances(size)
    objects.gt_boxes = Boxes(torch.cat([corners, far], dim=1))
    objects.gt_classes = torch.arange(NUM_OBJECTS) % cfg.MODEL.ROI_HEADS.NUM_CLASSES
    if cfg.MODEL.MASK_ON:
        masks = torch.zeros((NUM_OBJECTS, height, width), dtype=torch.bool)
        for mask, (x0, y0, x1, y1) in zip(masks, objects.gt_boxes.tensor.int(), strict=True):
            mask[y0:y1, x0:x1] = True
        objects.gt_masks = BitMasks(masks)
    return objects


def _numel(model: nn.Module, part: str, trained: bool) -> int:
    return sum(
        parameter.numel()
        for name, parameter in model.named_parameters()
        if name.startswith(part) and (parameter.requires_grad or not trained)
    )


def _is_top(module: str, part: str) -> bool:
    """Return True for the modules whose operations add up to those of a part."""
    if "." not in part:
        return module == part
    return module.startswith(part) and module.count(".") == part.count(".")
