"""What made a run: command, commit, packages, hardware, data. Written beside its results."""

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from oiv5_d2.files import whole_file
from oiv5_d2.problems import Kind, Problem
from oiv5_d2.runs.layout import RUN_JSON

PACKAGES = ("torch", "torchvision", "numpy", "opencv-python", "pycocotools", "hydra-core", "wandb")
DETECTRON2 = ("pb1-detectron2", "detectron2")  # as PyPI has it, and as it is built from source


def describe(gpus: Sequence[str], is_compiled: bool) -> dict[str, Any]:
    """Return command, commit, versions and hardware; no host, user name or absolute path.

    Args:
        gpus: their names, from who has PyTorch loaded.
        is_compiled: True if Detectron2's C++ operators are there.
    """
    return {
        "command": command(),
        "git": git_state(),
        "packages": packages(),
        "detectron2": detectron2_build(is_compiled),
        "hardware": hardware(gpus),
    }


def command() -> str:
    """Return the command line as one would type it at the project's root."""
    script = Path(sys.argv[0])
    root = Path.cwd()
    name = (
        script.resolve().relative_to(root) if script.resolve().is_relative_to(root) else script.name
    )
    return shlex.join(["python", str(name), *sys.argv[1:]])


def git_state() -> dict[str, Any]:
    """Return the commit and whether files differ from it; Nones outside a git checkout."""
    try:
        commit = _git("rev-parse", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}
    return {"commit": commit, "dirty": bool(changed)}


def packages() -> dict[str, str]:
    """Return the versions of the libraries that numbers depend on."""
    found = {name: metadata.version(name) for name in PACKAGES if _installed(name)}
    own = {"python": platform.python_version(), "detectron2": detectron2_version()}
    return own | found


def detectron2_version() -> str:
    """Return the installed Detectron2's version, such as "0.6", without importing it.

    Raises:
        Problem: ABSENT, none is installed.
    """
    for name in filter(_installed, DETECTRON2):
        return metadata.version(name).partition("+")[0]  # 0.6+cu113 is a build of 0.6
    raise Problem(Kind.ABSENT, "detectron2", "not installed")


def detectron2_build(is_compiled: bool) -> dict[str, Any]:
    """Return which Detectron2 is installed: every official one calls itself 0.6 since 2021.

    Returns:
        The distribution's name (``pb1-detectron2`` is PyPI's copy of v0.6), its version, the
        commit if it was installed from a repository, and whether its operators are compiled.
    """
    (name, *_) = [*filter(_installed, DETECTRON2), None]
    about = metadata.distribution(name).read_text("direct_url.json") if name else None
    commit = json.loads(about or "{}").get("vcs_info", {}).get("commit_id")
    version = metadata.version(name) if name else None
    return {"name": name, "version": version, "commit": commit, "compiled": is_compiled}


def hardware(gpus: Sequence[str]) -> dict[str, Any]:
    """Return the GPUs' names, the processor's name and the number of cores this process may use."""
    return {"gpus": list(gpus), "cpu": _cpu_name(), "cores": len(os.sched_getaffinity(0))}


def write(run_dir: Path, record: dict[str, Any]) -> None:
    """Write ``run.json``, whole or not at all."""
    with whole_file(run_dir / RUN_JSON) as path:
        path.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _installed(name: str) -> bool:
    return any(True for _ in metadata.distributions(name=name))


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
