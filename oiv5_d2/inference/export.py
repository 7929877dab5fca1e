"""A trained model as a file for other programs: ONNX, TorchScript, or its weights alone.

An exported model takes one image, (3, H, W) uint8, in the channel order and at the size that its
card says, and returns boxes (N, 4) xyxy_abs in pixels of that image, classes (N,) counted from 0,
masks (N, 1, 28, 28) from 0 to 1 in each box's own frame, scores (N,) and the image's size (2,).
"""

import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from oiv5_d2.files import whole_file
from oiv5_d2.problems import Kind, Problem, Remedy
from oiv5_d2.training import compat  # noqa: F401  first: it makes Detectron2 importable

# isort: split
from detectron2.config import CfgNode
from detectron2.export import TracingAdapter
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, Instances

ONNX, TORCHSCRIPT, WEIGHTS = "onnx", "torchscript", "weights"
FILES = {ONNX: "model.onnx", TORCHSCRIPT: "model.pt", WEIGHTS: "model.safetensors"}
OPSET = 17  # the first one with what a Mask R-CNN needs as Detectron2 computes it
TRACED_SIZE = (150, 213)  # (height, width): no multiples of 32, so that padding is traced, too

Run = Callable[[torch.Tensor], Sequence[torch.Tensor]]  # what an exported model does


def write_onnx(model: torch.nn.Module, path: Path) -> None:
    """Write a model that onnxruntime runs, for images of any size."""
    traced, image = _adapt(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing: shapes that do not change here
        # Not the newer exporter: it fails on boxes whose number depends on the image.
        torch.onnx.export(
            traced,
            (image,),
            str(path),
            opset_version=OPSET,
            dynamo=False,
            input_names=["image"],
            output_names=["boxes", "classes", "masks", "scores", "size"],
            dynamic_axes={"image": {1: "height", 2: "width"}},
        )


def write_torchscript(model: torch.nn.Module, path: Path) -> None:
    """Write a model that PyTorch runs without Detectron2 and without Python."""
    traced, image = _adapt(model)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        jit: Any = torch.jit  # without types
        jit.save(jit.trace(traced, (image,), check_trace=False), str(path))


def write_weights(model: torch.nn.Module, path: Path, card: dict[str, Any]) -> None:
    """Write weights as safetensors: numbers alone, which nothing can execute.

    Args:
        model: its parameters and buffers are written, under Detectron2's names.
        path: the file.
        card: goes into the file's header.
    """
    from safetensors.torch import save_file  # of the optional group `export`

    tensors = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
    with whole_file(path) as temporary:
        save_file(tensors, str(temporary), metadata={"card": json.dumps(card, sort_keys=True)})


class Exported:
    """An exported model in the place of Detectron2's: the same inputs, the same outputs."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __call__(self, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the detections in each image, in the frame of its ``height`` and ``width``."""
        return [self._one(**{k: one[k] for k in ("image", "height", "width")}) for one in inputs]

    def _one(self, image: torch.Tensor, height: int, width: int) -> dict[str, Any]:
        boxes, classes, masks, scores, _ = self._run(image)
        found = Instances((image.shape[1], image.shape[2]))
        found.pred_boxes, found.scores = Boxes(boxes), scores
        found.pred_classes, found.pred_masks = classes, masks
        return {"instances": detector_postprocess(found, height, width)}


def open_onnx(path: Path) -> Exported:
    """Return a file of `write_onnx`, run by onnxruntime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    return Exported(
        lambda image: [torch.from_numpy(one) for one in session.run(None, {"image": image.numpy()})]
    )


def open_torchscript(path: Path) -> Exported:
    """Return a file of `write_torchscript`."""
    jit: Any = torch.jit
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what comes after TorchScript
        return Exported(jit.load(str(path)))


def check_exportable(cfg: CfgNode) -> None:
    """Refuse a model that has other outputs than an exported one.

    Raises:
        Problem: MISMATCH, a model without masks.
    """
    if not cfg.MODEL.MASK_ON:
        detail = "a model of boxes only: to=weights writes it"
        raise Problem(Kind.MISMATCH, cfg.OUTPUT_DIR, detail, key="to", remedy=Remedy.CHANGE_SETTING)


def _adapt(model: torch.nn.Module) -> tuple[torch.nn.Module, torch.Tensor]:
    """Return the model as a function of tensors, and an image to trace it with."""
    device = next(model.parameters()).device
    image = torch.zeros((3, *TRACED_SIZE), dtype=torch.uint8, device=device)
    adapter = TracingAdapter(model, [{"image": image}], _infer)
    return adapter.eval(), image  # or the exporter leaves the model in training mode


def _infer(model: Any, inputs: list[dict[str, torch.Tensor]]) -> list[dict[str, Instances]]:
    return [{"instances": model.inference(inputs, do_postprocess=False)[0]}]
