import json
from pathlib import Path

import numpy as np
import pytest
import torch
from raising import refused

from oiv5_d2.evaluation.coco import build_evaluator
from oiv5_d2.problems import Kind
from oiv5_d2.runs.prepared import locate
from oiv5_d2.training.config import to_cfg
from oiv5_d2.training.launch import launch
from oiv5_d2.training.run import Settings, metric, train

LOSSES = ("loss_cls", "loss_box_reg", "loss_mask", "loss_rpn_cls", "loss_rpn_loc")
SMALL = (
    "+experiment=quickstart",
    "data.name=blocks",
    "d2.SOLVER.IMS_PER_BATCH=2",
    "d2.SOLVER.WARMUP_ITERS=1",
    "d2.DATALOADER.NUM_WORKERS=0",
    "d2.INPUT.MIN_SIZE_TRAIN=[64]",
    "d2.INPUT.MIN_SIZE_TEST=64",
)


@pytest.fixture
def start(composed, prepared_dir, tmp_path, clean_catalog):
    """Start a run of so many steps in a folder; return its results."""

    def start_run(max_iter, run_dir=tmp_path / "run", resume=False, wandb=None, **launch_settings):
        run = composed(*SMALL, f"d2.SOLVER.MAX_ITER={max_iter}")
        cfg = to_cfg(run, str(run_dir))
        names = [*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST]
        datasets = tuple(locate("blocks", prepared_dir, names))
        classes = tuple(run.data.classes)
        settings = Settings("blocks", "Does it run?", classes, datasets, resume, wandb or {})
        one = {"nproc_per_node": 1, "max_nodes": 1}
        return launch(train, cfg, settings, build_evaluator, **(one | launch_settings))

    return start_run


def read_metrics(run_dir):
    lines = (Path(run_dir) / "metrics.json").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_a_run_leaves_all_that_its_record_needs(start, tmp_path):
    results = start(2)
    run_dir = tmp_path / "run"
    record = json.loads((run_dir / "run.json").read_text())
    assert record["results"]["segm"]["AP"] == pytest.approx(results["segm"]["AP"], nan_ok=True)
    assert record["name"] == "blocks"
    assert record["seed"] == 1
    assert record["iterations"] == 2
    assert record["data"]["blocks_train"]["num_instances"] == 16
    assert record["packages"]["detectron2"] == "0.6"
    assert record["hardware"]["cores"] >= 1
    assert (run_dir / "model_final.pth").is_file()
    assert (run_dir / "config.yaml").is_file()
    assert list(run_dir.glob("events.out.tfevents.*"))
    logged = {key for line in read_metrics(run_dir) for key in line}
    assert {*LOSSES, "total_loss", "lr"} <= logged
    assert metric(results, "segm/AP") == results["segm"]["AP"]


def test_a_resumed_run_continues_from_its_checkpoint(start, tmp_path):
    start(2)
    start(4, resume=True)
    steps = [line["iteration"] for line in read_metrics(tmp_path / "run") if "total_loss" in line]
    assert steps == [1, 3]
    state = torch.load(tmp_path / "run" / "model_final.pth", weights_only=True)
    assert state["iteration"] == 3


def test_two_runs_never_share_a_folder(start):
    start(1)
    with refused(Kind.SETTING, key="run_dir resume=true"):
        start(1)


def test_there_must_be_something_to_resume(start):
    with refused(Kind.ABSENT, key="run_dir resume", about="last_checkpoint"):
        start(1, resume=True)


def test_an_unknown_metric_names_the_known_ones():
    with refused(Kind.SETTING, key="metric", about="segm/AP"):
        metric({"segm": {"AP": 1.0}}, "segm/mAP")


def test_the_same_seed_gives_the_same_losses(start, tmp_path):
    for name in ("first", "second"):
        start(2, run_dir=tmp_path / name)
    first, second = (
        next(line for line in read_metrics(tmp_path / name) if "loss_cls" in line)
        for name in ("first", "second")
    )
    for loss in LOSSES:
        np.testing.assert_allclose(first[loss], second[loss], rtol=1e-4)


@pytest.mark.slow
def test_two_processes_train_as_one_and_return_a_result(start, tmp_path):
    settings = {"min_nodes": 1, "rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0"}
    results = start(2, nproc_per_node=2, max_restarts=0, **settings)
    assert "AP" in results["segm"]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["iterations"] == 2
