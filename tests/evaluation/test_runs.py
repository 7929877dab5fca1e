import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from raising import refused
from tiny_runs import tiny_weights, write_run

from oiv5_d2.evaluation.runs import evaluate_run
from oiv5_d2.files import sha256
from oiv5_d2.problems import Kind, Remedy
from oiv5_d2.runs.layout import (
    data_choice,
    find_part,
    output_dir_of,
    read_evaluations,
    read_predictions,
)
from oiv5_d2.training.models import load_cfg

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")


@pytest.fixture(scope="module")
def weights():
    return tiny_weights()


@pytest.fixture
def run(street_folder, weights, tmp_path):
    """A finished run on the part `train`, and its data folder."""
    json_path = street_folder / "coco" / "train.json"
    files = {"json": str(json_path), "images": str(street_folder / "images")}
    data = {"street_train": files | {"sha256": sha256(json_path)}}
    run_dir = tmp_path / "outputs" / "street" / "now"
    write_run(run_dir, weights, ["Person", "Car", "Traffic light"], data)
    return SimpleNamespace(dir=run_dir, weights=run_dir / "model_final.pth", data=street_folder)


@pytest.mark.usefixtures("clean_catalog")
def test_a_finished_run_is_evaluated_on_another_part(run):
    output_dir = output_dir_of(run.dir, "street_validation", run.weights)
    results = evaluate_run(run.dir, "validation", run.weights, None, output_dir)
    assert results.dataset == "street_validation" and {"bbox", "segm"} < set(results.tasks)
    np.testing.assert_equal(read_evaluations(run.dir), [results])
    assert isinstance(read_predictions(run.dir, "street_validation"), list)


@pytest.mark.usefixtures("clean_catalog")
def test_evaluating_twice_gives_the_same_bytes(run, tmp_path):
    files = []
    for name in ("one", "two"):
        evaluate_run(run.dir, "train", run.weights, "cpu", tmp_path / name)
        files.append({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()})
    assert files[0] == files[1]
    assert set(files[0]) == {"results.json", "coco_instances_results.json", "label_errors.csv"}


@pytest.mark.usefixtures("clean_catalog")
def test_weights_of_another_model_are_refused(run, weights, tmp_path):
    other = {k: v for k, v in weights.items() if not k.startswith("roi_heads")}
    torch.save({"model": other}, tmp_path / "other.pth")
    with refused(Kind.MISMATCH, key="weights", about="other.pth"):
        evaluate_run(run.dir, "train", tmp_path / "other.pth", None, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("clean_catalog")
def test_data_that_changed_since_the_run_is_told(run, caplog, tmp_path):
    path = run.data / "coco" / "train.json"
    path.write_text(path.read_text() + "\n")
    evaluate_run(run.dir, "train", run.weights, None, tmp_path / "out")
    assert "has changed since the run" in caplog.text


def test_a_part_that_is_not_prepared_is_named(run):
    with refused(Kind.ABSENT, remedy=Remedy.CHANGE_SETTING, about="test.json"):
        find_part(run.dir, "test")
    assert data_choice(run.dir) == ("street", [])


def test_a_run_knows_its_choice_of_data(run):
    (run.dir / ".hydra").mkdir()
    (run.dir / ".hydra" / "overrides.yaml").write_text("[data.name=street, d2.SEED=2]")
    (run.dir / ".hydra" / "hydra.yaml").write_text("{hydra: {runtime: {choices: {data: folder}}}}")
    assert data_choice(run.dir) == ("folder", ["data.name=street", "d2.SEED=2"])


def test_weights_that_are_absent_are_named(run):
    with refused(Kind.ABSENT, key="weights", about="model_7.pth"):
        load_cfg(run.dir, run.dir / "model_7.pth", None)


def test_without_a_gpu_a_run_of_a_gpu_is_evaluated_on_the_cpu(run, caplog, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    text = (run.dir / "config.yaml").read_text().replace("DEVICE: cpu", "DEVICE: cuda")
    (run.dir / "config.yaml").write_text(text)
    assert load_cfg(run.dir, run.weights, None).MODEL.DEVICE == "cpu"
    assert "CPU" in caplog.text


def test_missing_detections_ask_for_an_evaluation(run):
    with refused(Kind.ABSENT, remedy=Remedy.EVALUATE):
        read_predictions(run.dir, "street_train")


@pytest.mark.slow
@pytest.mark.usefixtures("clean_catalog")
def test_augmentation_at_test_time_changes_what_is_found_and_says_so(run, tmp_path):
    changes = {"TEST.AUG.ENABLED": True, "TEST.AUG.MIN_SIZES": [64, 96], "TEST.AUG.MAX_SIZE": 200}
    found = {}
    for name, asked in (("plain", {}), ("augmented", changes)):
        results = evaluate_run(run.dir, "validation", run.weights, "cpu", tmp_path / name, asked)
        found[name] = json.loads((tmp_path / name / "coco_instances_results.json").read_text())
    assert found["plain"] != found["augmented"]
    assert all("segmentation" in one for one in found["augmented"])
    assert "evaluated with d2.TEST.AUG.ENABLED=True" in results.remarks


@pytest.mark.parametrize("key", ["SOLVER.BASE_LR", "TEST.EVAL_PERIOD", "MODEL.BACKBONE.FREEZE_AT"])
def test_a_setting_without_effect_on_an_evaluation_is_refused(run, key):
    with refused(Kind.SETTING, key=f"d2.{key}"):
        load_cfg(run.dir, run.weights, None, {key: 1})


def test_another_threshold_is_taken_and_its_results_stand_beside_the_plain_ones(run):
    changes = {"MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.5}
    cfg = load_cfg(run.dir, run.weights, None, changes)
    assert cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST == 0.5
    plain, other = (output_dir_of(run.dir, "a", run.weights, c) for c in ([], ["X_TEST=0.5"]))
    assert plain != other and "X_TEST-0.5" in other.parent.name
    with refused(Kind.SETTING, key="d2.MODEL.ROI_HEADS.SCORE_THRESH_TEST"):
        load_cfg(run.dir, run.weights, None, {"MODEL.ROI_HEADS.SCORE_THRESH_TEST": "high"})
