import io
import json
import runpy
import sys
from pathlib import Path

import pytest
from rich.console import Console

TOOL = Path(__file__).parents[2] / "tools" / "evaluate.py"


@pytest.fixture
def fail(tmp_path, monkeypatch, capsys):
    """Run the tool in an empty folder, where it can only fail; return its error line."""

    def run(*arguments):
        monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # the tool sets it: let it be restored
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [str(TOOL), *arguments])
        with pytest.raises(SystemExit):
            runpy.run_path(str(TOOL), run_name="__main__")
        return capsys.readouterr().err

    return run


@pytest.fixture
def run_dir(tmp_path):
    run_dir = tmp_path / "outputs" / "blocks" / "now"
    run_dir.mkdir(parents=True)
    files = {"json": "data/blocks/coco/train.json", "images": "data/blocks/images"}
    record = {"seconds": 1.0, "classes": ["Car"], "data": {"blocks_train": files}}
    (run_dir / "run.json").write_text(json.dumps(record))
    return run_dir


def test_a_run_that_is_not_there_is_one_clear_line(fail):
    error = fail("run=outputs/none").splitlines()[-1]
    assert error.startswith("error: outputs/none is no finished run")


def test_a_part_that_is_not_prepared_gives_the_command(fail, run_dir):
    error = fail(f"run={run_dir}", "part=test")
    assert "data set blocks_test is not prepared" in error
    assert "python tools/prepare_data.py data=blocks" in error


def test_an_unknown_key_is_told_with_the_nearest(fail):
    assert "unknown key prt; did you mean part?" in fail("run=x", "prt=test")


def test_the_table_shows_every_number():
    tool = runpy.run_path(str(TOOL))
    table = tool["Table"](("data", "class", "AP"), (("mini", "Car", "41.5"),), num_names=2)
    console = Console(file=io.StringIO(), width=80)
    console.print(tool["to_rich"](table, "per class"))
    text = console.file.getvalue()
    assert "per class" in text and "41.5" in text and "Car" in text


def test_weights_are_looked_for_in_the_run_first(run_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    find_weights = runpy.run_path(str(TOOL))["find_weights"]
    assert find_weights(run_dir, "other.pth") == run_dir / "other.pth"  # for the error to name
    Path("other.pth").touch()
    assert find_weights(run_dir, "other.pth") == Path("other.pth")
    (run_dir / "other.pth").touch()
    assert find_weights(run_dir, "other.pth") == run_dir / "other.pth"
