"""Tools run to their end, each in a process of its own that need not import anything.

A fresh Python takes over a second to import what a preparation needs. So one process has imported
it, and for each run a copy of that process starts the tool with its words, folder and environment.
What a user waits for, signals and closed pipes are tested with processes from scratch.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

TOOLS = Path(__file__).parents[2] / "tools"
SECONDS = 300  # after which something is stuck
IMPORTED = ("hydra", "oiv5_d2.console.bars", "oiv5_d2.console.commands", "oiv5_d2.console.screen",
            "oiv5_d2.preparation.plan", "oiv5_d2.preparation.settings", "oiv5_d2.preparation.steps",
            "oiv5_d2.reporting.gallery")  # fmt: skip


def run_tool(
    name: str, *words: object, cwd: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a tool of tools/, by its name without the ending; see `run_script`."""
    return run_script(TOOLS / f"{name}.py", *words, cwd=cwd, env=env)


def run_script(
    path: Path, *words: object, cwd: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a script in a folder; return its exit code and what it printed.

    Args:
        path: of the script.
        words: of its command line.
        cwd: where it is started.
        env: its environment; None for this process's.
    """
    command = [str(path), *map(str, words)]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(IMPORTED))
    with tempfile.TemporaryDirectory() as folder:
        said = [Path(folder, kind) for kind in ("output", "errors")]
        about = (command, cwd, dict(os.environ if env is None else env), said)
        process = context.Process(target=_be, args=about)
        process.start()
        process.join(SECONDS)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(command, SECONDS)
        code = process.exitcode
        process.close()
        return subprocess.CompletedProcess(command, code, *(path.read_text() for path in said))


def _be(command: list[str], cwd: Path, environment: dict[str, str], said: list[Path]) -> None:
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in enumerate(said, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    sys.argv = command
    sys.path.insert(0, str(Path(command[0]).parent))
    runpy.run_path(command[0], run_name="__main__")
