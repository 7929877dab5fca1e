"""The command line of training: what it refuses, and the whole chain that ends in a record."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from hydra.core.global_hydra import GlobalHydra

from oiv5_d2.runs.layout import hydra_file

ROOT = Path(__file__).parents[2]
SECONDS = 3.0  # of CPU; importing PyTorch and Detectron2 alone takes longer


@pytest.fixture
def train_net(monkeypatch, tmp_path):
    """Run the tool in this process with such words, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["train_net.py", *words])
        GlobalHydra.instance().clear()
        runpy.run_path(str(ROOT / "tools" / "train_net.py"), run_name="__main__")

    return run


@pytest.fixture
def prepared_mini(tmp_path):
    """A data set `mini` of three images that show a class each."""
    images = [{"id": i, "height": 60, "width": 90, "file_name": f"{i}.jpg"} for i in range(3)]
    names = ("Person", "Traffic light", "Car", "Traffic sign")
    categories = [{"id": i, "name": name} for i, name in enumerate(names)]
    boxes = [{"image_id": i, "category_id": i, "bbox": [5, 5, 20, 9 + i]} for i in range(3)]
    content = {"images": images, "categories": categories, "annotations": boxes}
    folder = tmp_path / "data" / "mini" / "coco"
    folder.mkdir(parents=True)
    for part in ("train", "validation"):
        (folder / f"{part}.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("word", "facts"),
    [
        ("d2.SOLVER.BASE_LRR=0.1", ["d2.SOLVER.BASE_LRR", "d2.SOLVER.BASE_LR or"]),
        ("+d2.SOLVER.MAX_ITERS=3", ["d2.SOLVER.MAX_ITERS", "d2.SOLVER.MAX_ITER or"]),
        ("modle=mask_rcnn_r50_fpn", ["modle", "model?"]),
        ("model=mask_rcnn_r50", ["model=mask_rcnn_r50 ", "mask_rcnn_r50_fpn"]),
        ("+experiment=no_such", ["experiment=no_such", "r101_traffic"]),
        ("resum=true", ["resum", "resume?"]),
        ("data.name=never", ["train.json", "tools/prepare_data.py data=mini data.name=never"]),
    ],
)
def test_a_mistake_on_the_command_line_is_named_at_once(tmp_path, word, facts):
    # In a process of its own: the time is what a user waits for, with nothing imported.
    command = [sys.executable, str(ROOT / "tools" / "train_net.py"), "logger=none", word]
    before = os.times().children_user
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert os.times().children_user - before < SECONDS
    assert done.returncode == 1 and done.stderr.startswith("error: ")
    for fact in facts:
        assert fact in done.stderr


def test_a_sweep_whose_trials_could_not_begin_is_refused_at_once(tmp_path):
    words = ["-m", "data.name=never", "d2.SEED=1,2", "logger=none", "sweep_dir=sweep"]
    command = [sys.executable, str(ROOT / "tools" / "train_net.py"), *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("error: data/never/coco/train.json")
    assert list(tmp_path.iterdir()) == []


def test_a_value_of_another_type_is_refused(train_net, tmp_path, capsys):
    for part in ("train", "validation"):
        path = tmp_path / "data" / "mini" / "coco" / f"{part}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with pytest.raises(SystemExit) as stop:
        train_net("logger=none", "d2.SOLVER.BASE_LR=1")
    assert stop.value.code == 1
    assert "d2.SOLVER.BASE_LR=1" in capsys.readouterr().err


def test_a_plan_shows_the_recipe_and_leaves_nothing(prepared_mini, tmp_path):
    before = set(tmp_path.rglob("*"))
    words = ["+experiment=quickstart", "logger=none", "plan=true", "d2.SOLVER.IMS_PER_BATCH=3"]
    command = [sys.executable, str(ROOT / "tools" / "train_net.py"), *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "trainer.epochs" in done.stdout and "d2.MODEL.ANCHOR_GENERATOR.SIZES" in done.stdout
    left = {path for path in tmp_path.rglob("*") if ".stamps" not in path.parts}
    assert left == before  # but for the copy of the data that opens at once


@pytest.mark.slow
def test_from_csv_to_a_sweep_s_table_and_a_record(tmp_path):
    def run(tool, *words):
        environment = {**os.environ, "WANDB_MODE": "offline", "PYTHONWARNINGS": "ignore"}
        command = [sys.executable, str(ROOT / "tools" / tool), *words]
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    tiny = "data.synthetic.num_images={train: 8, validation: 4, test: 3}"
    run("prepare_data.py", "data=mini", tiny, "data.synthetic.size=[96,128]", "max_missing=0.5")
    few = ["d2.SOLVER.MAX_ITER=2", "d2.SOLVER.WARMUP_ITERS=1", "d2.SOLVER.IMS_PER_BATCH=2"]
    said = run("train_net.py", "-m", "+experiment=quickstart", *few, "d2.SOLVER.BASE_LR=0.01,0.02")
    assert "best segm/AP first" in said and "Trial 1: " in said
    assert len(said.splitlines()) < 60  # the rest is in log.txt
    (table_path,) = tmp_path.glob("outputs/quickstart/sweep_*/trials.csv")
    assert sorted(pd.read_csv(table_path)["d2.SOLVER.BASE_LR"]) == [0.01, 0.02]
    run_dir = table_path.parent / "0"
    assert "d2.SOLVER.BASE_LR=0.01" in list(hydra_file(run_dir, "overrides"))
    assert list((run_dir / "wandb").glob("offline-run-*"))
    run("evaluate.py", f"run={run_dir.relative_to(tmp_path)}", "part=test")
    run("write_report.py", f"run={run_dir.relative_to(tmp_path)}", "to=records")
    record_dir = tmp_path / "records" / "quickstart"
    page = (record_dir / "README.md").read_text()
    assert "Traffic light" in page and str(tmp_path) not in page
    assert (record_dir / "curves.png").is_file()
    assert json.loads((run_dir / "run.json").read_text())["iterations"] == 2
