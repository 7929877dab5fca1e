import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from raising import refused

from oiv5_d2.evaluation.runs import evaluate_run
from oiv5_d2.files import read_json
from oiv5_d2.problems import Kind, Remedy
from oiv5_d2.runs.layout import claim, find_dataset, find_part, hydra_file

LOSSES = ("loss_cls", "loss_box_reg", "loss_mask", "loss_rpn_cls", "loss_rpn_loc")


def read_record(run_dir):
    return json.loads((run_dir / "run.json").read_text())


def read_metrics(run_dir):
    lines = (Path(run_dir) / "metrics.json").read_text().splitlines()
    return [json.loads(line) for line in lines]


def files_of(run_dir):
    return {path: path.stat().st_mtime_ns for path in run_dir.rglob("*") if path.is_file()}


def same(first, second):
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


def test_a_run_leaves_all_that_its_record_needs(start, tmp_path):
    metric = start("d2.SOLVER.MAX_ITER=2")
    run_dir = tmp_path / "run"
    record = read_record(run_dir)
    assert record["results"]["segm"]["AP"] == pytest.approx(metric, nan_ok=True)
    assert record["name"] == "blocks"
    assert record["seed"] == 1
    assert record["iterations"] == 2
    assert record["data"]["blocks_train"]["num_instances"] == 16
    assert record["packages"]["detectron2"] == "0.6"
    assert record["hardware"]["cores"] >= 1
    assert (run_dir / "config.yaml").is_file()
    assert list(run_dir.glob("events.out.tfevents.*"))
    logged = {key for line in read_metrics(run_dir) for key in line}
    assert {*LOSSES, "total_loss", "lr", "segm/AP"} <= logged
    # One file, three names.
    names = ("model_0000001.pth", "model_final.pth", "model_best.pth")
    assert len({(run_dir / name).stat().st_ino for name in names}) == 1


def test_a_resumed_run_is_the_run_that_was_not_stopped(start, weights, tmp_path):
    start("d2.SOLVER.MAX_ITER=6", name="whole")
    start("d2.SOLVER.MAX_ITER=6", "d2.SOLVER.CHECKPOINT_PERIOD=2", name="cut")
    for name in ("model_0000005.pth", "model_final.pth", "model_best.pth", "last_checkpoint"):
        (tmp_path / "cut" / name).unlink()
    seconds = read_record(tmp_path / "cut")["seconds"]
    start("d2.SOLVER.MAX_ITER=6", resume=True, name="cut")
    final = [weights(tmp_path / name / "model_final.pth") for name in ("whole", "cut")]
    assert same(*final)
    record = read_record(tmp_path / "cut")
    assert record["iterations"] == 6 and len(record["commands"]) == 2
    # What came after the checkpoint of step 4 is done again, so its time counts once.
    assert record["seconds"] > seconds / 3


def test_length_and_rate_may_change_on_the_way_and_are_recorded(start, tmp_path):
    start("d2.SOLVER.MAX_ITER=2")
    start("d2.SOLVER.MAX_ITER=4", "d2.SOLVER.BASE_LR=0.5", "trainer.ema=0.9", resume=True)
    record = read_record(tmp_path / "run")
    assert record["iterations"] == 4
    (changes,) = record["changes"]
    assert changes == {
        "step": 2,
        "d2.SOLVER.MAX_ITER": ["2", "4"],
        "d2.SOLVER.BASE_LR": ["0.08", "0.5"],
        "trainer.ema": ["0.0", "0.9"],
    }
    # A cosine of four steps, at the third.
    (rate,) = [row["lr"] for row in read_metrics(tmp_path / "run")][-1:]
    assert rate == pytest.approx(0.5 * (1 + np.cos(np.pi * 3 / 4)) / 2)


@pytest.mark.parametrize("max_iter", [2, 1])
def test_a_finished_run_has_nothing_to_do(start, tmp_path, caplog, max_iter):
    caplog.set_level(logging.INFO)
    metric = start("d2.SOLVER.MAX_ITER=2")
    before = files_of(tmp_path / "run")
    again = start(f"d2.SOLVER.MAX_ITER={max_iter}", resume=True)
    assert again == pytest.approx(metric, nan_ok=True)
    assert files_of(tmp_path / "run") == before
    assert "MAX_ITER" in caplog.text


def test_an_evaluation_that_was_cut_off_is_made_up_for(start, tmp_path):
    start("d2.SOLVER.MAX_ITER=2", "d2.DATASETS.TEST=[]")
    record = read_record(tmp_path / "run")
    del record["seconds"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    start("d2.SOLVER.MAX_ITER=2", resume=True)
    record = read_record(tmp_path / "run")
    assert record["iterations"] == 2 and "AP" in record["results"]["segm"]


@pytest.mark.parametrize(
    ("word", "keys"),
    [
        ("d2.MODEL.ROI_BOX_HEAD.FC_DIM=8", "d2.MODEL.ROI_BOX_HEAD.FC_DIM=16"),
        ("d2.SEED=2", "d2.SEED=1"),
        ("d2.INPUT.RANDOM_FLIP=none", "d2.INPUT.RANDOM_FLIP=horizontal"),
        ("trainer.data_share=0.5", "trainer.data_share=1.0"),
        ("trainer.precision=bf16", "trainer.precision=fp32"),
        ("augment=copy_paste", "augment=default"),
        ("d2.DATASETS.TRAIN=[blocks_test]", None),
    ],
)
def test_another_run_is_not_resumed(start, tmp_path, word, keys):
    notes = {"overrides": "- name=x\n"}
    start("d2.SOLVER.MAX_ITER=1", "d2.DATASETS.TEST=[]", notes=notes)
    before = files_of(tmp_path / "run")
    assert list(hydra_file(tmp_path / "run", "overrides")) == ["name=x"]
    with refused(Kind.MISMATCH, key=keys, about=word.partition("=")[0]):
        start("d2.SOLVER.MAX_ITER=2", "d2.DATASETS.TEST=[]", word, resume=True, notes=notes)
    assert files_of(tmp_path / "run") == before


def test_two_runs_never_share_a_folder(start, tmp_path):
    with claim(tmp_path / "run"), refused(Kind.BUSY, key="run_dir"):
        start("d2.SOLVER.MAX_ITER=1")
    (tmp_path / "run" / "run.json").write_text("{}")
    with refused(Kind.SETTING, key="run_dir resume=true"):
        start("d2.SOLVER.MAX_ITER=1")


def test_there_must_be_something_to_resume(start):
    with refused(Kind.ABSENT, key="run_dir resume", about="run.json"):
        start(resume=True)


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_again(start, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text('{"seed": 1}')
    start("d2.SOLVER.MAX_ITER=1", "d2.DATASETS.TEST=[]", resume=True)
    assert read_record(tmp_path / "run")["iterations"] == 1


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["metric=segm/mAP"], "metric"),
        (["metric=ema/segm/AP"], "metric"),
        (["trainer.ema=1.0"], "trainer.ema"),
        (["trainer.average_last=1"], "trainer.average_last"),
        (["trainer.min_gain=-1.0"], "trainer.min_gain"),
        (["trainer.class_weights={Lorry: 2.0}"], "trainer.class_weights"),
        (
            ["launch=cpu2", "d2.MODEL.RESNETS.NORM=SyncBN"],
            "d2.MODEL.RESNETS.NORM=naiveSyncBN",
        ),
        (["metric=validation/total_loss"], "metric"),
        (
            ["trainer.early_stop=2", "d2.TEST.EVAL_PERIOD=0"],
            "trainer.evaluate_every d2.TEST.EVAL_PERIOD d2.DATASETS.TEST trainer.early_stop=0",
        ),
        (["d2.DATALOADER.SAMPLER_TRAIN=Sampler"], "d2.DATALOADER.SAMPLER_TRAIN"),
        (["trainer.on_divergence=pray"], "trainer.on_divergence"),
        (["trainer.precision=fp8"], "trainer.precision"),
        (["trainer.accumulate=0"], "trainer.accumulate"),
        (["trainer.accumulate=3"], "trainer.accumulate"),
        (["trainer.accumulate=auto"], "trainer.accumulate"),
        (["trainer.epochs=1", "trainer.hours=1"], "trainer.hours=0 trainer.epochs=0"),
        (["launch=cpu2", "trainer.accumulate=2"], "trainer.accumulate"),
        (["trainer.precision=fp16"], "trainer.precision=bf16 trainer.precision=fp32"),
        (["launch=cpu2", "d2.SOLVER.IMS_PER_BATCH=3"], "d2.SOLVER.IMS_PER_BATCH launch"),
    ],
)
def test_what_cannot_train_is_refused_before_anything_is_written(start, tmp_path, words, key):
    with refused(Kind.SETTING, key=key):
        start(*words)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "words",
    [["d2.DATASETS.TEST=[blocks_validation,blocks_test]"], ["d2.MODEL.MASK_ON=false"]],
)
def test_two_test_sets_and_boxes_only_end_with_a_metric(start, tmp_path, words):
    more = ("trainer.ema=0.5", "trainer.validation_loss=true", "trainer.test=blocks_test")
    assert np.isfinite(start("d2.SOLVER.MAX_ITER=1", *more, *words))
    assert np.isfinite(read_record(tmp_path / "run")["results"]["test"]["bbox"]["AP"])


def test_a_run_learns_from_data_sets_of_two_families(start, prepared_dir, tmp_path):
    data_dir, other = tmp_path / "data" / "blocks", tmp_path / "data" / "also"
    for folder in (data_dir, other):
        shutil.copytree(prepared_dir, folder)
    names = "d2.DATASETS.TRAIN=[blocks_train,also_train]"
    start(names, "trainer.epochs=1", data_dir=data_dir)
    record = read_record(tmp_path / "run")
    assert record["iterations"] == 4  # of 2 images, of 4 and 4
    assert {*record["data"]} == {"blocks_train", "also_train", "blocks_validation"}
    assert find_dataset(tmp_path / "run", "also_train").images_dir == other / "images"
    assert find_part(tmp_path / "run", "train").images_dir == data_dir / "images"


def test_without_a_test_set_the_metric_is_nan(start):
    more = ("trainer.ema=0.5", "trainer.validation_loss=true", "trainer.average_last=2")
    assert np.isnan(start("d2.SOLVER.MAX_ITER=1", "d2.DATASETS.TEST=[]", *more))


def test_a_random_seed_is_recorded_and_kept(start, tmp_path):
    start("d2.SOLVER.MAX_ITER=1", "d2.SEED=-1", "d2.DATASETS.TEST=[]")
    seed = read_record(tmp_path / "run")["seed"]
    assert seed >= 0
    start("d2.SOLVER.MAX_ITER=2", "d2.SEED=-1", "d2.DATASETS.TEST=[]", resume=True)
    assert read_record(tmp_path / "run")["seed"] == seed


@pytest.mark.slow
def test_the_moving_average_is_evaluated_and_resumed_beside_the_weights(start, weights, tmp_path):
    words = ("trainer.ema=0.9", "metric=ema/bbox/AP50", "d2.SOLVER.MAX_ITER=6")
    start(*words, name="whole")
    start(*words, "d2.SOLVER.CHECKPOINT_PERIOD=2", name="cut")
    for name in ("model_0000005.pth", "model_final.pth", "model_ema.pth"):
        (tmp_path / "cut" / name).unlink()
    metric = start(*words, resume=True, name="cut")
    for name in ("model_final.pth", "model_ema.pth"):
        assert same(*(weights(tmp_path / run / name) for run in ("whole", "cut")))
    run_dir = tmp_path / "cut"
    plain, average = (weights(run_dir / f"model_{name}.pth") for name in ("final", "ema"))
    assert plain.keys() == average.keys() and not same(plain, average)
    assert same(weights(run_dir / "model_best.pth"), average)
    results = read_record(run_dir)["results"]
    assert results["ema"]["bbox"]["AP50"] == metric
    assert "ema/segm/AP" in {key for line in read_metrics(run_dir) for key in line}
    again = evaluate_run(run_dir, "validation", run_dir / "model_ema.pth", None, tmp_path / "out")
    for task, metrics in again.tasks.items():
        assert results["ema"][task] == pytest.approx(metrics, abs=1e-6, nan_ok=True)


@pytest.mark.slow
def test_the_last_checkpoints_are_averaged_whatever_stops_came_between(start, weights, tmp_path):
    words = (
        "trainer.average_last=3",
        "d2.SOLVER.CHECKPOINT_PERIOD=2",
        "trainer.keep_checkpoints=1",
    )
    start(*words, "d2.SOLVER.MAX_ITER=3")
    run_dir = tmp_path / "run"
    start(*words, "d2.SOLVER.MAX_ITER=6", resume=True)
    assert sorted(path.name for path in run_dir.glob("model_0*.pth")) == [
        f"model_{step:07d}.pth" for step in (1, 3, 5)
    ]
    averaged = weights(run_dir / "model_averaged.pth")
    name = "backbone.bottom_up.stem.conv1.norm.running_var"
    files = [weights(path)[name] for path in run_dir.glob("model_0*.pth")]
    torch.testing.assert_close(averaged[name], sum(files) / 3)
    results = read_record(run_dir)["results"]
    again = evaluate_run(
        run_dir, "validation", run_dir / "model_averaged.pth", None, tmp_path / "out"
    )
    for task, metrics in again.tasks.items():
        assert results["averaged"][task] == pytest.approx(metrics, abs=1e-6, nan_ok=True)


def test_what_is_measured_beside_the_steps_leaves_the_weights_as_they_are(start, weights, tmp_path):
    words = ("d2.SOLVER.MAX_ITER=3", "d2.TEST.EVAL_PERIOD=2")
    more = ("trainer.ema=0.9", "trainer.validation_loss=true", "trainer.test=blocks_test")
    start(*words, name="without")
    start(*words, *more, name="with")
    assert same(*(weights(tmp_path / name / "model_final.pth") for name in ("without", "with")))


def test_the_validation_loss_can_choose_the_best_checkpoint_and_end_a_run(start, tmp_path):
    # The gain that is asked for is out of reach: the second evaluation is the last one.
    words = ("trainer.early_stop=1", "trainer.min_gain=100.0", "trainer.validation_loss=true")
    metric = start(
        "d2.SOLVER.MAX_ITER=40",
        "d2.TEST.EVAL_PERIOD=0",
        "trainer.evaluate_every=1",  # of 4 images, 2 in a step
        "metric=validation/total_loss",
        "trainer.ema=0.9",
        "trainer.average_last=2",
        "trainer.test=blocks_test",
        *words,
    )
    run_dir = tmp_path / "run"
    record = read_record(run_dir)
    assert record["iterations"] == 4
    assert {*LOSSES, "total_loss"} == {*record["results"]["validation"]}
    assert record["results"]["validation"]["total_loss"] == metric
    final = torch.load(run_dir / "model_final.pth", weights_only=True)
    history = final["trainer"]["hooks"]["Evaluate"]["history"]
    assert list(history) == [1, 3] and history[3] == metric
    best = min(history, key=history.get)
    assert "validation/total_loss" in {key for row in read_metrics(run_dir) for key in row}
    files = {name: (run_dir / f"model_{name}.pth").stat().st_ino for name in ("best", "final")}
    assert files["best"] == (run_dir / f"model_{best:07d}.pth").stat().st_ino
    assert files["final"] == (run_dir / "model_0000003.pth").stat().st_ino
    assert (run_dir / "model_ema.pth").is_file() and (run_dir / "model_averaged.pth").is_file()
    assert {"ema", "averaged", "test"} <= record["results"].keys()


def test_the_best_weights_are_evaluated_on_the_test_set_at_the_end(start, tmp_path):
    start("d2.SOLVER.MAX_ITER=3", "d2.TEST.EVAL_PERIOD=1", "trainer.test=blocks_test")
    run_dir = tmp_path / "run"
    found = read_record(run_dir)["results"]["test"]
    again = evaluate_run(run_dir, "test", run_dir / "model_best.pth", None, tmp_path / "out")
    for task, metrics in again.tasks.items():
        assert found[task] == pytest.approx(metrics, abs=1e-6, nan_ok=True)


def test_a_run_killed_while_it_tests_has_all_results_when_it_is_resumed(start, tmp_path):
    words = ("d2.SOLVER.MAX_ITER=2", "trainer.test=blocks_test", "trainer.average_last=2")
    start(*words)
    record = read_record(tmp_path / "run")
    expected = record.pop("results")
    del record["seconds"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    start(*words, resume=True)
    np.testing.assert_equal(read_record(tmp_path / "run")["results"], expected)


def test_class_weights_change_the_loss_and_stay_when_a_run_is_resumed(start, tmp_path):
    words = ("d2.SOLVER.MAX_ITER=1", "d2.DATASETS.TEST=[]")
    for name, weights in (("stock", "null"), ("even", "balanced"), ("car", "{Car: 9.0}")):
        start(*words, f"trainer.class_weights={weights}", name=name)
    losses = {
        name: read_metrics(tmp_path / name)[0]["loss_cls"] for name in ("stock", "even", "car")
    }
    assert losses["even"] == pytest.approx(losses["stock"])  # all classes have four objects
    assert losses["car"] > 1.1 * losses["stock"]
    with refused(Kind.MISMATCH, about="trainer.class_weights"):
        start("d2.SOLVER.MAX_ITER=2", "d2.DATASETS.TEST=[]", resume=True, name="car")


def test_class_weights_that_a_loss_would_leave_out_are_refused(start):
    words = ("annotation=partial", "annotation.loss=sigmoid", "trainer.class_weights=balanced")
    with refused(Kind.SETTING, key="annotation.loss=softmax trainer.class_weights=null"):
        start(*words)


@pytest.mark.slow
def test_two_processes_share_batch_norm_on_cpus(start, tmp_path):
    start("launch=cpu2", "d2.MODEL.RESNETS.NORM=naiveSyncBN", "d2.SOLVER.MAX_ITER=2")
    assert read_record(tmp_path / "run")["iterations"] == 2


@pytest.mark.slow
def test_two_processes_accumulate_the_gradients_of_the_whole_batch(start, tmp_path):
    words = ("launch=cpu2", "d2.SOLVER.IMS_PER_BATCH=6", "d2.SOLVER.MAX_ITER=1")
    norms = ("d2.MODEL.RESNETS.NORM=''", "d2.MODEL.FPN.NORM=''", "d2.MODEL.ROI_MASK_HEAD.NORM=''")
    found = {}
    for parts in (1, 3):
        more = ("d2.DATASETS.TEST=[]", f"trainer.accumulate={parts}")
        start(*words, *norms, *more, name=f"{parts}")
        content = torch.load(tmp_path / f"{parts}" / "model_final.pth", weights_only=True)
        states = content["trainer"]["_trainer"]["optimizer"]["state"].values()
        found[parts] = torch.cat([state["momentum_buffer"].flatten() for state in states])
    assert (found[3] - found[1]).norm() < 1e-5 * found[1].norm()


@pytest.mark.slow
def test_two_processes_evaluate_what_they_save(start, tmp_path):
    # Their batch norm's running means differ until the main one's are sent to the other.
    words = ("trainer.ema=0.9", "trainer.accumulate=2", "d2.SOLVER.IMS_PER_BATCH=4")
    start("d2.SOLVER.MAX_ITER=60", *words, "launch=cpu2")
    run_dir = tmp_path / "run"
    record = read_record(run_dir)
    assert record["iterations"] == 60
    for name, results in (("ema", record["results"]["ema"]), ("final", record["results"])):
        path = run_dir / f"model_{name}.pth"
        again = evaluate_run(run_dir, "validation", path, None, tmp_path / "out")
        for task, metrics in again.tasks.items():
            assert results[task] == pytest.approx(metrics, abs=1e-6, nan_ok=True)
    detections = [
        read_json(folder / "coco_instances_results.json", Remedy.EVALUATE)
        for folder in (run_dir / "evaluation" / "blocks_validation", tmp_path / "out")
    ]
    scores = [sorted(one["score"] for one in found) for found in detections]
    assert len(scores[0]) > 0
    np.testing.assert_allclose(*scores, atol=1e-5)


def test_a_run_that_diverges_goes_back_with_a_lower_rate_three_times(start, tmp_path, caplog):
    words = ("d2.SOLVER.BASE_LR=1.0e+12", "d2.SOLVER.CLIP_GRADIENTS.ENABLED=false")
    with refused(Kind.DIVERGED, key="d2.SOLVER.BASE_LR trainer.on_divergence=rollback"):
        start(*words, "d2.SOLVER.MAX_ITER=20", "trainer.on_divergence=rollback")
    said = [r for r in caplog.records if r.name == "oiv5_d2.training.run"]
    warned = [r.args[1] for r in said if r.levelname == "WARNING"]
    assert warned == [0.5, 0.25, 0.125]
    assert list((tmp_path / "run").glob("diverged_*.json"))


@pytest.mark.slow
def test_the_main_process_is_told_what_another_one_found(start):
    # Found in the workers only: no image of the data is there.
    with refused(Kind.SETTING, about="rank"):
        start("launch=cpu2", "trainer.data_share=2.0")
