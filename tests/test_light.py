"""What has to answer at once needs neither PyTorch nor Detectron2."""

import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
from forked import run_script

import oiv5_d2
from oiv5_d2 import console, openimages, runs

ROOT = Path(__file__).parents[1]
TOOLS = sorted((ROOT / "tools").glob("*.py"))
GROUND = [f"oiv5_d2.{found.name}" for found in pkgutil.iter_modules(oiv5_d2.__path__)
          if not found.ispkg]  # fmt: skip
ROOMS = [
    found.name
    for room in (console, openimages, runs)
    for found in pkgutil.iter_modules(room.__path__, f"{room.__name__}.")
]
CHECK = "; import sys; sys.exit(', '.join({'torch', 'detectron2'} & set(sys.modules)) or None)"


def run_python(code):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code + CHECK]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_the_light_rooms_import_neither_pytorch_nor_detectron2():
    modules = [*GROUND, *ROOMS, "oiv5_d2.evaluation.files", "oiv5_d2.reporting.index"]
    assert {"oiv5_d2.problems", "oiv5_d2.runs.layout", "oiv5_d2.console.errors"} <= set(modules)
    done = run_python(f"import {', '.join(modules)}")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("tool", TOOLS, ids=lambda path: path.stem)
def test_a_tool_imports_neither_before_it_has_something_to_do(tool, tmp_path):
    # In a copy of a process that has imported neither either: it would be found to have.
    script = tmp_path / "script.py"
    script.write_text(f"import runpy; runpy.run_path({str(tool)!r}){CHECK}")
    done = run_script(script, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, "10000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "None"),
    ],
)
def test_threads_wait_briefly_unless_the_user_says_how(chosen, expected):
    others = {
        key: value for key, value in os.environ.items() if not key.startswith(("OMP", "GOMP"))
    }
    code = "import os, oiv5_d2; print(os.environ.get('GOMP_SPINCOUNT'))"
    command, environment = [sys.executable, "-c", code], {**others, **chosen}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == expected
