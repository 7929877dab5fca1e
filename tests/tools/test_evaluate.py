import json
import runpy
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from judging import random_case, write

TOOL = Path(__file__).parents[2] / "tools" / "evaluate.py"
ORGANISERS = json.loads((Path(__file__).parents[1] / "evaluation/organisers.json").read_text())


@pytest.fixture
def fail(run_tool, tmp_path, monkeypatch):
    """Run the tool in an empty folder, where it can only fail; return its error line."""
    monkeypatch.chdir(tmp_path)
    return partial(run_tool, "evaluate")


@pytest.fixture
def run_dir(tmp_path):
    run_dir = tmp_path / "outputs" / "blocks" / "now"
    run_dir.mkdir(parents=True)
    files = {"json": "data/blocks/coco/train.json", "images": "data/blocks/images"}
    record = {"seconds": 1.0, "classes": ["Car"], "data": {"blocks_train": files}}
    (run_dir / "run.json").write_text(json.dumps(record))
    return run_dir


def test_a_missing_run_is_named_with_the_remedy(fail):
    first, remedy = fail("run=outputs/none").splitlines()
    assert first.startswith("error: outputs/none ") and "tools/train_net.py" in remedy


def test_a_part_that_is_not_prepared_gives_the_command(fail, run_dir):
    first, remedy = fail(f"run={run_dir}", "part=test").splitlines()
    assert first.startswith("error: data/blocks/coco/test.json ")
    assert remedy.endswith("tools/prepare_data.py data=blocks")


def test_an_unknown_key_is_named_with_the_nearest(fail):
    (line,) = fail("run=x", "prt=test").splitlines()
    assert line.startswith("error: prt ") and "part?" in line


def test_weights_are_looked_for_in_the_run_first(run_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    find_weights = runpy.run_path(str(TOOL))["find_weights"]
    assert find_weights(run_dir, "other.pth") == run_dir / "other.pth"  # for the error to name
    Path("other.pth").touch()
    assert find_weights(run_dir, "other.pth") == Path("other.pth")
    (run_dir / "other.pth").touch()
    assert find_weights(run_dir, "other.pth") == run_dir / "other.pth"


def test_a_file_of_predictions_is_judged_without_a_run_and_without_pytorch(tmp_path):
    truth, found = write(tmp_path, *random_case(4))
    words = [f"predictions={found}", f"truth={truth}", f"output={tmp_path / 'out'}"]
    code = (
        f"import runpy, sys; sys.argv = ['evaluate.py', *{words!r}];"
        f"runpy.run_path({str(TOOL)!r}, run_name='__main__');"
        "sys.exit(', '.join({'torch', 'detectron2'} & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    for metric in ("coco", "open_images"):
        assert {"protocol", "deviations", "bbox", "segm"} <= set(results[metric])
    assert results["open_images"]["segm"]["AP50"] == pytest.approx(ORGANISERS[4]["segm"][0])


def test_likely_label_errors_are_written_unless_told(tmp_path, monkeypatch):
    truth, found = write(tmp_path, *random_case(4))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # the tool sets it: let it be restored
    for number, expected in ((5, True), (0, False)):
        out = tmp_path / str(number)
        words = [f"predictions={found}", f"truth={truth}", f"output={out}", "resamples=0"]
        monkeypatch.setattr(sys, "argv", [str(TOOL), *words, f"label_errors={number}"])
        runpy.run_path(str(TOOL), run_name="__main__")
        assert (out / "label_errors.csv").is_file() == expected


def test_predictions_need_their_truth(fail):
    first, _ = fail("predictions=found.json").splitlines()
    assert first.startswith("error: truth=null ")
