import shlex
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from oiv5_d2.console.shell import ROOT, command, setting


@pytest.fixture
def interpreter(tmp_path, monkeypatch):
    """Where the Python of a virtual environment in the current folder is."""
    path = tmp_path / "env" / "bin" / "python"
    path.parent.mkdir(parents=True)
    path.symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(path))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    return path


def test_paths_are_those_of_the_current_folder(interpreter, monkeypatch):
    python, tool = shlex.split(command("show_data"))
    assert python == "env/bin/python" and Path(tool) == ROOT / "tools" / "show_data.py"
    monkeypatch.chdir(ROOT)
    python, tool = shlex.split(command("show_data"))
    assert Path(python) == interpreter and tool == "tools/show_data.py"


def test_a_python_that_the_shell_finds_is_called_by_its_name(interpreter, monkeypatch):
    monkeypatch.setenv("PATH", f"{interpreter.parent}:/usr/bin")
    assert command("train_net").startswith("python ")


def test_words_come_through_a_shell_as_they_are(interpreter):
    words = ["data.classes=[Person,'Traffic light']", 'data.source="a $b"', "data.name=it's"]
    assert shlex.split(command("show_data", *words))[2:] == words


@pytest.mark.parametrize("value", ["runs/[1]", "a=b", "it's", "Größe", "x, y", "plain-1.2/x", "1"])
def test_a_setting_is_read_by_hydra_as_the_text_that_it_was(value):
    (override,) = OverridesParser.create().parse_overrides([setting("run", value)])
    assert str(override.value()) == value
