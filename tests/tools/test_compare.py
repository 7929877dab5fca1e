import json
import runpy
import shutil
import sys
from pathlib import Path

import pytest
from judging import random_case

TOOL = Path(__file__).parents[2] / "tools" / "compare.py"


@pytest.fixture
def runs(tmp_path):
    """Two runs on one data set; the second one found half as much, with another rate."""
    truth, found = random_case(5)
    path = tmp_path / "data" / "street" / "coco" / "validation.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(truth))
    for name, some, rate in (("a", found, 0.1), ("b", found[::2], 0.2)):
        folder = tmp_path / name / "evaluation" / "street_validation"
        folder.mkdir(parents=True)
        (folder / "coco_instances_results.json").write_text(json.dumps(some))
        data = {"street_validation": {"json": str(path), "images": ""}}
        (tmp_path / name / "run.json").write_text(json.dumps({"seconds": 1, "data": data}))
        text = f"OUTPUT_DIR: {name}\nSOLVER: {{BASE_LR: {rate}, STEPS: [1]}}\n"
        text += "INPUT: {MIN_SIZE_TEST: 48, MAX_SIZE_TEST: 64}\n"
        (tmp_path / name / "config.yaml").write_text(text)
    return [tmp_path / "a", tmp_path / "b"]


def compare(monkeypatch, runs, path, *more):
    quoted = ",".join(f'"{one}"' for one in runs)
    words = [f"runs=[{quoted}]", "resamples=50", f"output={path}", *more]
    monkeypatch.setattr(sys, "argv", [str(TOOL), *words])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    runpy.run_path(str(TOOL), run_name="__main__")
    return json.loads(path.read_text())


def test_two_runs_are_compared_with_all_that_differs(runs, tmp_path, monkeypatch, capsys):
    content = compare(monkeypatch, runs, tmp_path / "c.json", "html=true", "images=0")
    assert content["settings"] == {"SOLVER.BASE_LR": [0.1, 0.2]}
    names = {one["name"] for one in content["differences"]}
    assert {"segm/AP", "bbox/AP50-Person", "open_images/segm/AP50"} < names
    assert any(name.startswith("slice: ") for name in names)
    assert "mask AP" in (runs[1] / "comparison.html").read_text()
    assert content["images"] and "segm/AP" in capsys.readouterr().out


def test_a_run_is_compared_with_another_evaluation_of_it(runs, tmp_path, monkeypatch):
    augmented = runs[0] / "evaluation_TEST.AUG.ENABLED-True"
    shutil.copytree(runs[1] / "evaluation", augmented)
    content = compare(monkeypatch, [runs[0], augmented], tmp_path / "c.json")
    assert content["runs"] == [str(runs[0] / "evaluation"), str(augmented)]
    other = compare(monkeypatch, runs, tmp_path / "d.json")
    assert content["differences"] == other["differences"]
    mixed = compare(monkeypatch, [augmented, runs[1]], tmp_path / "e.json", "html=true", "images=0")
    assert mixed["runs"] == [str(augmented), str(runs[1])]
    assert (runs[1] / "comparison.html").is_file()
