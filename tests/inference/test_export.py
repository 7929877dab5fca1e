"""Exported models, run by onnxruntime and by PyTorch without Detectron2."""

import json

import numpy as np
import pytest
from tiny_runs import tiny_cfg, tiny_weights

from oiv5_d2.inference import export
from oiv5_d2.inference.parity import compare
from oiv5_d2.inference.predictor import Predictor

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
    sizes = [image.shape[:2] for image in images]
    truth = {
        "images": [{"id": i, "height": h, "width": w} for i, (h, w) in enumerate(sizes)],
        "categories": [{"id": i, "name": name} for i, name in enumerate(CLASSES)],
        "annotations": [],
    }
    found = compare(*predictors, images, truth)
    assert found.num_found > 0 and found.holds
    assert found.score < 1e-4 and found.pixels < 1e-2


def test_another_model_is_told_apart(cfg, model, images, tmp_path):
    other = build_model(cfg).eval()
    other.load_state_dict(tiny_weights(seed=1))
    predictors = [Predictor(cfg, one, CLASSES, {}) for one in (model, other)]
    truth = {
        "images": [{"id": i, "height": i.bit_length() + 1, "width": 9} for i in range(3)],
        "categories": [{"id": i, "name": name} for i, name in enumerate(CLASSES)],
        "annotations": [],
    }
    for one, image in zip(truth["images"], images, strict=True):
        one["height"], one["width"] = image.shape[:2]
    assert not compare(*predictors, images, truth).holds


def test_weights_are_numbers_with_their_card(model, tmp_path):
    safetensors = pytest.importorskip("safetensors")
    export.write_weights(model, tmp_path / "model.safetensors", {"classes": CLASSES})
    with safetensors.safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["card"]) == {"classes": CLASSES}
        state = model.state_dict()
        assert set(file.keys()) == set(state)
        for name in state:
            assert (file.get_tensor(name) == state[name]).all()
