"""Tools run in this process, as a shell would run them."""

import runpy
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def run_tool(monkeypatch, capsys):
    """Run a tool by name with such words; return its output, or its error line."""

    def run(name, *words):
        monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # the tool sets it: let it be restored
        path = str(TOOLS / f"{name}.py")
        monkeypatch.setattr(sys, "argv", [path, *words])
        try:
            runpy.run_path(path, run_name="__main__")
        except SystemExit as stop:
            assert stop.code == 1
            return capsys.readouterr().err
        return capsys.readouterr().out

    return run
