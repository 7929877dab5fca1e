"""An exported ONNX model with smaller numbers: half precision, or integers of 8 bits.

Only the network's layers change. Anchors, boxes, NMS and ROIAlign stay in 32 bits: numbers of 16
bits have steps of half a pixel from 1,024 on, and in NMS a rounding decides.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

FP32, FP16, INT8 = "fp32", "fp16", "int8"
PRECISIONS = (FP32, FP16, INT8)

NETWORK = (  # how the names of its nodes begin
    "/backbone/",
    "/proposal_generator/rpn_head/",
    "/roi_heads/box_head",
    "/roi_heads/box_predictor",
    "/roi_heads/mask_head",
)
WEIGHTED = ("Conv", "ConvTranspose", "Gemm")
LAYERS = (*WEIGHTED, "Relu", "MaxPool")
# The last layer of each head stays: its output is a score, a box or a mask.
LAST = ("objectness_logits", "anchor_deltas", "box_predictor", "mask_head/predictor")

Image = NDArray[np.uint8]  # (3, H, W), as the exported model takes it


def to_fp16(source: Path, path: Path) -> None:
    """Write an ONNX model whose network computes in half precision.

    Args:
        source: of `export.write_onnx`.
        path: the file.
    """
    import onnx

    model = onnx.load(source)
    weights = {one.name: one for one in model.graph.initializer}
    halves: dict[str, str] = {}  # by the name of the same tensor in 32 bits
    nodes = [one for node in model.graph.node for one in _halved(node, halves, weights)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    made = [onnx.numpy_helper.from_array(_half(weights[name]), halves[name])
            for name in halves.keys() & weights.keys()]  # fmt: skip
    kept = [one for one in model.graph.initializer if one.name in set(_inputs(model.graph))]
    del model.graph.initializer[:]
    model.graph.initializer.extend([*kept, *sorted(made, key=lambda one: one.name)])
    onnx.save(model, path)


def to_int8(source: Path, path: Path, images: Iterable[Image]) -> None:
    """Write an ONNX model whose network computes in integers of 8 bits.

    Quantization after training (Jacob et al. 2018): weights by channel, activations by the range
    that they have on some images.

    Args:
        source: of `export.write_onnx`.
        path: the file.
        images: to measure the ranges on; of the training data.
    """
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(quantization.CalibrationDataReader):  # type: ignore[misc]
        """The images as onnxruntime asks for them."""

        rest = iter(images)

        def get_next(self) -> dict[str, Image] | None:
            image = next(self.rest, None)
            return None if image is None else {"image": image}

    kept = [one.name for one in onnx.load(source).graph.node
            if not _is_layer(one, WEIGHTED) or any(part in one.name for part in LAST)]  # fmt: skip
    with TemporaryDirectory() as folder:
        ready = Path(folder) / source.name  # shapes of tensors, without which it only warns
        quant_pre_process(source, ready, skip_optimization=True, skip_symbolic_shape=True)
        quantization.quantize_static(
            ready,
            path,
            Images(),
            op_types_to_quantize=list(WEIGHTED),
            nodes_to_exclude=kept,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )


def _halved(node: Any, halves: dict[str, str], weights: dict[str, Any]) -> Iterator[Any]:
    """Yield a node, one of the network in half precision, between the casts that it needs."""
    from onnx import TensorProto, helper

    is_sum = _is_layer(node, ("Add",)) and halves.keys() & {*node.input}  # of features, not sizes
    if not (is_sum or _is_layer(node, LAYERS)):
        yield node
        return
    for place, name in enumerate(node.input):
        if name not in halves:
            halves[name] = f"{name}_half"
            if name not in weights:
                yield helper.make_node("Cast", [name], [halves[name]], to=TensorProto.FLOAT16)
        node.input[place] = halves[name]
    (name,) = node.output
    node.output[0] = halves[name] = f"{name}_half"
    yield node
    yield helper.make_node("Cast", [halves[name]], [name], to=TensorProto.FLOAT)


def _half(weight: Any) -> NDArray[np.float16]:
    from onnx import numpy_helper

    return numpy_helper.to_array(weight).astype(np.float16)


def _inputs(graph: Any) -> Iterator[str]:
    """Yield the names of all tensors that a graph's nodes read, those of inner graphs too."""
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _inputs(attribute.g)


def _is_layer(node: Any, kinds: tuple[str, ...]) -> bool:
    return node.op_type in kinds and node.name.startswith(NETWORK)
