"""Install into the Python that runs this, with pip:  python tools/install.py [export] [slurm].

For Colab, a cluster's module or any environment that exists already; `make install` makes one of
its own with uv. A package that is installed stays if pyproject.toml admits its version, PyTorch
above all; a missing one comes in the version that requirements.txt names.
"""

import os
import re
import subprocess
import sys
import tempfile
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DETECTRON2 = "pb1-detectron2"
OLDER_PIP = "pip>=24,<26.3"  # newer ones refuse Detectron2's package: a URL in one of its extras


def main(extras: list[str]) -> None:
    """Install what this project needs, then Detectron2, then this checkout."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    check(settings["project"], extras)
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder, "constraints.txt")
        pins.write_text("\n".join(find_pins()), encoding="utf-8")
        pip("--constraint", str(pins), *list_requirements(settings, extras))
        if not is_installed("detectron2") and not is_installed(DETECTRON2):
            pip("--target", folder, OLDER_PIP)
            # Not in isolation: its set-up imports PyTorch.
            options = ["--no-deps", "--no-build-isolation", *list_options(settings["tool"]["uv"])]
            pip(*options, *(one for one in dependencies(settings) if name_of(one) == DETECTRON2),
                pip_dir=folder)  # fmt: skip
    pip("--no-deps", "--editable", str(ROOT))


def check(project: dict[str, Any], extras: list[str]) -> None:
    """Refuse an unknown extra and a Python that is too old or has no pip."""
    known = project["optional-dependencies"]
    if unknown := sorted(set(extras) - set(known)):
        sys.exit(f"error: there is no extra {unknown[0]}; known are {', '.join(known)}")
    least = re.findall(r"\d+", project["requires-python"])[:2]
    if sys.version_info < tuple(map(int, least)):
        sys.exit(
            f"error: Python {'.'.join(least)} or newer is needed, not {sys.version.split()[0]}"
        )
    if not is_installed("pip"):
        sys.exit("error: this Python has no pip\n  Add it:  python -m ensurepip")


def dependencies(settings: dict[str, Any]) -> list[str]:
    """Return the requirements of the project itself."""
    return list(settings["project"]["dependencies"])


def list_requirements(settings: dict[str, Any], extras: list[str]) -> list[str]:
    """Return everything but Detectron2, with what Detectron2 needs: pip cannot read that itself."""
    (detectron2,) = settings["tool"]["uv"]["dependency-metadata"]
    optional = settings["project"]["optional-dependencies"]
    ours = [one for one in dependencies(settings) if name_of(one) != DETECTRON2]
    return [*ours, *detectron2["requires-dist"], *(one for key in extras for one in optional[key])]


def find_pins() -> list[str]:
    """Return the lines of requirements.txt whose packages are missing here.

    An installed PyTorch decides which torchvision goes with it.
    """
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    free = {"torchvision"} if is_installed("torch") else set()
    names = {line: name_of(line) for line in lines if line[:1].isalnum()}
    return [line for line, name in names.items() if name not in free and not is_installed(name)]


def list_options(uv: dict[str, Any]) -> list[str]:
    """Return how Detectron2 is built: its Python files alone, and nothing is compiled."""
    given = uv["config-settings-package"][DETECTRON2]
    return [f"--config-settings={key}={one}" for key, values in given.items() for one in values]


def pip(*arguments: str, pip_dir: str = "") -> None:
    """Run ``pip install``; `pip_dir` has another pip than this Python's."""
    environment = {**os.environ, **({"PYTHONPATH": pip_dir} if pip_dir else {})}
    command = [sys.executable, "-m", "pip", "install", "--quiet", *arguments]
    if subprocess.run(command, env=environment, check=False).returncode:
        sys.exit("error: pip could not install this; its message is above")


def is_installed(name: str) -> bool:
    """Return True if this Python has a distribution of that name."""
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def name_of(requirement: str) -> str:
    """Return the distribution's name: ``torch`` of ``torch>=2.6``."""
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0]


if __name__ == "__main__":
    main(sys.argv[1:])
