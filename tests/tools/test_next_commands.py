"""What the tools print to be typed next works in the folder where it was printed."""

import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from forked import run_tool
from omegaconf import OmegaConf

ROOT = Path(__file__).parents[2]
CLASSES = ["Person", "Car"]
DATA = [
    "data=folder",
    "data.name=x",
    "data.classes=[Person,Car]",
    "+data.splits=[train,validation]",
]
DATA[-1] = DATA[-1].lstrip("+")
FEW = ["d2.SOLVER.MAX_ITER=10", "d2.SOLVER.WARMUP_ITERS=2", "d2.SOLVER.IMS_PER_BATCH=2"]
FEW += ["d2.DATALOADER.NUM_WORKERS=0", "logger=none", "+experiment=quickstart"]


@pytest.fixture(scope="module")
def cwd(tiny_release, tmp_path_factory):
    """A folder that is not the project's, with a release in a folder that a shell would split."""
    cwd = tmp_path_factory.mktemp("my [old] project")
    shutil.copytree(tiny_release, cwd / "photos (v5), a=b")
    return cwd


@pytest.fixture(scope="module")
def prepared(cwd):
    """What preparation prints."""
    words = [*DATA, "data.source='photos (v5), a=b'", "max_missing=0.5", "max_errors=9"]
    return run("prepare_data", *words, "workers=1", cwd=cwd)


def run(tool, *words, cwd, code=0):
    done = run_tool(tool, *words, cwd=cwd)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def commands(said):
    """Return the commands that a tool suggests: below "Next:", or after a remedy."""
    below = said.partition("Next:\n")[2].splitlines()
    return [line.strip() for line in below] or [said.rpartition(":  ")[2].strip()]


def pasted(line, cwd):
    """Return the configuration that a line composes, typed into a shell."""
    done = subprocess.run(
        ["bash", "-c", f"{line} --cfg job"], cwd=cwd, capture_output=True, text=True
    )
    assert done.returncode == 0, (line, done.stderr)
    return OmegaConf.create(done.stdout)


def test_after_a_preparation(prepared, cwd):
    lines = commands(prepared)
    assert [Path(shlex.split(line)[1]).stem for line in lines] == ["show_data", "train_net"]
    for line in lines:
        data = pasted(line, cwd).data
        assert data.classes == CLASSES and data.splits == ["train", "validation"]
        assert data.source == "photos (v5), a=b"


def test_where_data_is_missing(cwd):
    said = run("train_net", *FEW, *DATA, "data.name=none", "data.source=y", cwd=cwd, code=1)
    (line,) = commands(said)
    assert pasted(line, cwd).data.classes == CLASSES
    assert Path(shlex.split(line)[1]) == ROOT / "tools" / "prepare_data.py"


@pytest.mark.slow
@pytest.mark.usefixtures("prepared")
def test_a_run_is_repeated_from_its_folder_and_from_its_coco_file(cwd):
    source = "data.source='photos (v5), a=b'"
    said = run("train_net", *FEW, *DATA, source, "run_dir='runs/[1]'", cwd=cwd)
    for line in commands(said):
        assert pasted(line, cwd).run == "runs/[1]"
    again = run("train_net", "again='runs/[1]'", "run_dir=runs/2", cwd=cwd)
    assert commands(again) and result(cwd / "runs/2") == result(cwd / "runs/[1]")
    ready = [f"data.{part}=data/x/coco/{part}.json" for part in ("train", "validation")]
    ready += [
        "data=coco",
        "data.name=ready",
        "data.classes=[Person,Car]",
        "data.images=data/x/images",
    ]
    said = run("prepare_data", *ready, "max_errors=9", "workers=1", cwd=cwd)
    line = commands(said)[-1]
    assert pasted(line, cwd).data.train == "data/x/coco/train.json"
    words = [word for word in shlex.split(line)[2:] if not word.startswith("+experiment")]
    run("train_net", *FEW, *words, "run_dir=runs/3", cwd=cwd)
    assert result(cwd / "runs/3") == result(cwd / "runs/[1]")


def result(run_dir):
    """Return a run's losses, and a digest of the weights that ten steps gave."""
    rows = [json.loads(line) for line in (run_dir / "metrics.json").read_text().splitlines()]
    losses = [{key: row[key] for key in row if "loss" in key} for row in rows]
    assert losses and losses[0]
    weights = torch.load(run_dir / "model_final.pth", weights_only=False)["model"]
    return losses, {
        name: float(torch.as_tensor(value).double().sum()) for name, value in weights.items()
    }
