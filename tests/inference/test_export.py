"""Exported models, run by onnxruntime and by PyTorch without Detectron2."""

import json

import numpy as np
import pytest
from tiny_runs import tiny_cfg, tiny_weights

from oiv5_d2.inference import card, export, parity, precision
from oiv5_d2.inference.parity import compare
from oiv5_d2.inference.predictor import Predictor, to_tensor
from oiv5_d2.problems import Kind, Problem
from oiv5_d2.training.weights import load_pretrained

from detectron2.modeling import build_model  # isort: skip

CLASSES = ["Person", "Car", "Traffic light"]


@pytest.fixture(scope="module")
def cfg():
    cfg = tiny_cfg()
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.0
    return cfg


@pytest.fixture(scope="module")
def model(cfg):
    model = build_model(cfg).eval()
    model.load_state_dict(tiny_weights())
    return model


@pytest.fixture
def images():
    """Of other sizes than the one that is traced."""
    rng = np.random.default_rng(0)
    sizes = [(64, 96), (96, 64), (70, 150)]
    return [rng.integers(0, 255, (*size, 3), dtype=np.uint8) for size in sizes]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("write", "read"),
    [
        (export.write_onnx, export.open_onnx),
        (export.write_torchscript, export.open_torchscript),
    ],
)
def test_an_exported_model_finds_the_same(cfg, model, images, tmp_path, write, read):
    pytest.importorskip("onnxruntime")
    write(model, path := tmp_path / "model.pt")
    assert not model.training
    predictors = [Predictor(cfg, one, CLASSES, {}) for one in (model, read(path))]
    found = compare(*predictors, images, truth_of(images))
    assert found.num_found > 0 and found.holds
    assert found.score < 1e-4 and found.pixels < 1e-2


def truth_of(images):
    sizes = [image.shape[:2] for image in images]
    return {
        "images": [{"id": i, "height": h, "width": w} for i, (h, w) in enumerate(sizes)],
        "categories": [{"id": i, "name": name} for i, name in enumerate(CLASSES)],
        "annotations": [],
    }


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "most_share", "numbers"), [("fp16", 0.6, "FLOAT16"), ("int8", 0.45, "INT8")]
)
def test_smaller_numbers_find_the_same_objects(
    cfg, model, images, tmp_path, name, most_share, numbers
):
    onnx = pytest.importorskip("onnx")
    full, path = tmp_path / "full.onnx", tmp_path / "small.onnx"
    export.write_onnx(model, full)
    if name == precision.FP16:
        precision.to_fp16(full, path)
    else:
        precision.to_int8(full, path, (to_tensor(cfg, one).numpy() for one in images))
    onnx.checker.check_model(str(path))
    weights = onnx.load(path).graph.initializer
    kinds = {onnx.TensorProto.DataType.Name(one.data_type) for one in weights if len(one.dims) > 2}
    assert numbers in kinds
    assert path.stat().st_size < most_share * full.stat().st_size
    whole, small = (Predictor(cfg, export.open_onnx(one), CLASSES, {}) for one in (full, path))
    best = [[found[0] for found in map(one, images)] for one in (whole, small)]
    for one, other in zip(*best, strict=True):
        assert abs(one.score - other.score) < 0.02


def test_what_smaller_numbers_may_cost_is_a_limit():
    nothing = dict(num_images=1, num_found=9, score=0.0, pixels=0.0, iou=1.0, milliseconds=(1, 1))
    found = parity.Parity(num_alone=9, ap=(50.0, 48.9), **nothing)
    parity.refuse(found, "precision=int8", 1.2)
    with pytest.raises(Problem) as error:
        parity.refuse(found, "precision=int8", 1.0)
    assert error.value.kind == Kind.MISMATCH and "max_loss" in error.value.key
    with pytest.raises(Problem):
        parity.refuse(found, "to=onnx", None)


def test_a_card_keeps_earlier_formats_of_the_same_weights(tmp_path):
    formats = {"model.onnx": {"part": "test"}}
    text = json.dumps({"weights_sha256": "a", "formats": formats})
    (tmp_path / card.CARD_JSON).write_text(text)
    assert card.read_formats(tmp_path, "a") == formats
    assert card.read_formats(tmp_path, "b") == card.read_formats(tmp_path / "c", "a") == {}


def test_another_model_is_told_apart(cfg, model, images, tmp_path):
    other = build_model(cfg).eval()
    other.load_state_dict(tiny_weights(seed=1))
    predictors = [Predictor(cfg, one, CLASSES, {}) for one in (model, other)]
    assert not compare(*predictors, images, truth_of(images)).holds


def test_weights_are_numbers_with_their_card(model, tmp_path):
    safetensors = pytest.importorskip("safetensors")
    export.write_weights(model, tmp_path / "model.safetensors", {"classes": CLASSES})
    with safetensors.safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["card"]) == {"classes": CLASSES}
        state = model.state_dict()
        assert set(file.keys()) == set(state)
        for name in state:
            assert (file.get_tensor(name) == state[name]).all()


def test_another_training_starts_from_exported_weights(cfg, model, tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / "model.safetensors"
    export.write_weights(model, path, {"classes": CLASSES})
    other = build_model(cfg)
    assert load_pretrained(other, str(path), CLASSES) == []
    state = model.state_dict()
    assert all((values == state[name]).all() for name, values in other.state_dict().items())
    fresh = build_model(cfg)
    load_pretrained(fresh, str(path), ["Car", "Person", "Bus"])
    rows = "roi_heads.box_predictor.cls_score.weight"
    assert (fresh.state_dict()[rows][:2] == state[rows][[1, 0]]).all()
