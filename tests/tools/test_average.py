import json

import pytest
import torch

from oiv5_d2.training.checkpoints import read, write


@pytest.fixture
def run_dir(tmp_path):
    """A run with three checkpoints, whose only weight is their number."""
    (tmp_path / "run.json").write_text(json.dumps({"seconds": 1}))
    for number in (1, 2, 6):
        content = {"model": {"weight": torch.tensor([float(number)])}, "run": {}}
        write(tmp_path / f"model_{number:07d}.pth", content)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "name", "mean"),
    [
        ([], "model_mean.pth", 3.0),
        (["weights=[model_0000001.pth,model_0000002.pth]", "to=two.pth"], "two.pth", 1.5),
    ],
)
def test_checkpoints_become_one_file(run_tool, run_dir, words, name, mean):
    assert name in run_tool("average", f"run='{run_dir}'", *words)
    assert read(run_dir / name)["model"]["weight"].tolist() == [mean]


def test_a_single_file_is_no_list(run_tool, run_dir):
    error = run_tool("average", f"run='{run_dir}'", "weights=model_0000001.pth")
    assert error.startswith("error: weights=model_0000001.pth is not a valid setting")
