import json
import runpy
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "wandb_workspace.py"

pytestmark = pytest.mark.filterwarnings("default")  # W&B's own


@pytest.fixture
def call(monkeypatch, tmp_path):
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    def run_tool(*words):
        path = tmp_path / "workspace.json"
        monkeypatch.setattr(sys, "argv", [str(TOOL), f"to={path}", *words])
        runpy.run_path(str(TOOL), run_name="__main__")
        return json.loads(path.read_text())

    return run_tool


def _of_both(metric, name, prefix=""):
    return [f"{prefix}{task}/{metric}-{name}" for task in ("segm", "bbox")]


def test_without_a_key_the_workspace_is_written(call, capsys):
    view = call("entity=me", "data.classes=[Person,Car]")
    assert "wandb login" in capsys.readouterr().out
    sections = view["spec"]["section"]["panelBankConfig"]["sections"]
    panels = {one["name"]: one["panels"] for one in sections}
    assert [*panels] == [
        "AP",
        "AP by class",
        "AP by slice",
        "Losses",
        "Images",
        "Tables",
        "Comparison of runs",
    ]
    assert [one["config"]["metrics"] for one in panels["AP by class"]] == [
        [*_of_both("AP", name), *_of_both("AP50", name, "open_images/")]
        for name in ("Person", "Car")
    ]
