"""The help of each tool."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def say(tool):
    command = [sys.executable, str(ROOT / "tools" / tool), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def keys_of(name):
    """Return the settings of a file of configs/, as they are written on a command line."""
    read = yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text())
    group, _, file = name.partition("/")
    own = read[group] if file else read
    dotted = [f"{group}.{key}" if file else key for key in own]
    return [key for key in dotted if key not in ("defaults", "hydra", "d2")]


def test_prepare_data_lists_every_setting_with_its_comment():
    said = say("prepare_data.py")
    lines = {line.split("=")[0].strip(): line for line in said.splitlines() if "=" in line}
    for file in ("prepare", "data/open_images", "transfer/default"):
        for key in keys_of(file):
            assert key in lines
    assert "random seed" in lines["data.seed"]
    assert "transfer.store.region" in lines and "transfer.region" not in lines
    assert "SOLVER" not in said and "solver=" not in said and "hydra=" not in said
    assert "data=traffic" in said and "prepare_data.py data=traffic plan=true" in said


@pytest.mark.parametrize(
    ("tool", "config"),
    [("train_net.py", "train"), ("show_data.py", "show"), ("evaluate.py", "evaluate"),
     ("write_report.py", "report"), ("fill_masks.py", "fill_masks")],
)  # fmt: skip
def test_the_other_tools_list_theirs(tool, config):
    said = say(tool)
    for key in keys_of(config):
        assert f"  {key}=" in said


def test_a_reader_that_has_gone_ends_it_quietly():
    command = [sys.executable, str(ROOT / "tools/compare.py"), "--help"]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, timeout=120)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")
