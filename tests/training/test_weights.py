import logging
import pickle
from pathlib import Path

import pytest
import torch
from raising import refused

from oiv5_d2.problems import Kind, Remedy
from oiv5_d2.training.config import to_cfg
from oiv5_d2.training.weights import load_pretrained

from detectron2.modeling import build_model  # isort: skip


@pytest.fixture
def model_of(composed):
    def build(num_classes):
        run = composed("d2.MODEL.DEVICE=cpu")
        run.data.classes = [f"class {i}" for i in range(num_classes)]
        return build_model(to_cfg(run, "x"))

    return build


def test_the_head_starts_anew_and_the_rest_is_loaded(model_of, tmp_path, caplog):
    torch.manual_seed(0)
    eighty, four = model_of(80), model_of(4)
    torch.save({"model": eighty.state_dict()}, tmp_path / "coco.pth")
    with caplog.at_level(logging.INFO):
        fresh = load_pretrained(four, str(tmp_path / "coco.pth"))
    assert {name.rsplit(".", 1)[0] for name in fresh} == {
        "roi_heads.box_predictor.cls_score",
        "roi_heads.box_predictor.bbox_pred",
        "roi_heads.mask_head.predictor",
    }
    assert "Random at the start: roi_heads.box_predictor.bbox_pred.bias" in caplog.text
    stem = "backbone.bottom_up.stem.conv1.weight"
    torch.testing.assert_close(four.state_dict()[stem], eighty.state_dict()[stem])


def test_no_weights_is_said(caplog):
    with caplog.at_level(logging.INFO):
        assert load_pretrained(torch.nn.Linear(2, 2), "") == []
    assert "starts from random ones" in caplog.text


@pytest.mark.parametrize("name", ["garbage.pth", "garbage.pkl", "garbage.pyth", "cut.pth"])
def test_unreadable_weights_are_refused_by_name(tmp_path, name):
    model = torch.nn.Linear(200, 200)
    if name.startswith("garbage"):
        (tmp_path / name).write_bytes(b"<html>not found</html>")
    if name.startswith("cut"):
        torch.save({"model": model.state_dict()}, tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with refused(Kind.DAMAGED, key="d2.MODEL.WEIGHTS", about=name):
        load_pretrained(model, str(tmp_path / name))


def test_weights_that_do_not_exist_are_refused(tmp_path):
    with refused(Kind.ABSENT, key="d2.MODEL.WEIGHTS", about="no_such.pth"):
        load_pretrained(torch.nn.Linear(2, 2), str(tmp_path / "no_such.pth"))


def test_weights_that_cannot_be_downloaded_are_refused():
    with refused(Kind.UNREACHABLE, key="d2.MODEL.WEIGHTS", remedy=Remedy.CHECK_ADDRESS):
        load_pretrained(torch.nn.Linear(2, 2), "http://127.0.0.1:9/model.pkl")


@pytest.mark.parametrize("name", ["poisoned.pkl", "poisoned.pth", "poisoned.pyth"])
def test_weights_that_hold_more_are_refused_with_the_cure(tmp_path, name):
    torch.save({"model": {}, "model_state": {}, "args": Path("x")}, tmp_path / name)
    (tmp_path / "poisoned.pkl").write_bytes(pickle.dumps({"model": {}, "args": Path("x")}))
    key, remedy = "d2.MODEL.WEIGHTS", Remedy.SAVE_WEIGHTS
    with refused(Kind.UNSUPPORTED, key=key, remedy=remedy, about="pathlib.PosixPath"):
        load_pretrained(torch.nn.Linear(2, 2), str(tmp_path / name))


def test_weights_of_another_architecture_are_refused(model_of, tmp_path):
    torch.save({"model": torch.nn.Linear(2, 2).state_dict()}, tmp_path / "other.pth")
    with refused(Kind.MISMATCH, key="d2.MODEL.WEIGHTS", about="other.pth"):
        load_pretrained(model_of(4), str(tmp_path / "other.pth"))


def test_a_path_of_the_model_zoo_is_a_file_of_its_cache(model_of, tmp_path, monkeypatch):
    # Detectron2 turns detectron2:// into a URL and reads the file from its cache if it is there.
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path))
    cached = tmp_path / "detectron2" / "ours" / "model.pkl"
    cached.parent.mkdir(parents=True)
    model = model_of(4)
    arrays = {name: value.numpy() for name, value in model.state_dict().items()}
    cached.write_bytes(pickle.dumps({"model": arrays, "__author__": "test"}))
    assert load_pretrained(model_of(4), "detectron2://ours/model.pkl") == []
