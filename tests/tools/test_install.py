"""Installing with pip: what is asked of it. Whether pip does it needs a network."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSTALL = runpy.run_path(str(ROOT / "tools" / "install.py"))


@pytest.fixture
def settings():
    return INSTALL["tomllib"].loads((ROOT / "pyproject.toml").read_text())


def test_pip_gets_what_detectron2_needs_in_its_place(settings):
    names = [INSTALL["name_of"](one) for one in INSTALL["list_requirements"](settings, ["export"])]
    assert {"torch", "fvcore", "yacs", "onnxruntime"} <= set(names)
    assert not {"pb1-detectron2", "black", "submitit"} & set(names)


def test_detectron2_is_built_as_uv_builds_it(settings):
    options = INSTALL["list_options"](settings["tool"]["uv"])
    assert options == [
        "--config-settings=--global-option=build_py",
        "--config-settings=--build-option=--skip-build",
    ]


def test_only_missing_packages_are_pinned():
    pinned = {INSTALL["name_of"](line) for line in INSTALL["find_pins"]()}
    assert not {"torch", "torchvision", "numpy"} & pinned


def test_an_unknown_extra_is_named(settings):
    with pytest.raises(SystemExit, match="exprot"):
        INSTALL["check"](settings["project"], ["exprot"])


def test_a_wheel_is_refused_in_one_line():
    code = "import build_backend as b; b.prepare_metadata_for_build_wheel('x')"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT / "tools", capture_output=True, text=True)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert "tools/install.py" in done.stderr
