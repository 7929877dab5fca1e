"""A trial as a process: the tool's own command, in a process with nothing of another trial in it.

Trials are forked from a server that has imported PyTorch, Detectron2 and what a run needs, and done
nothing else: a trial starts at once, with the code that was there when the sweep started.
"""

import fcntl
import multiprocessing
import os
import runpy
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from oiv5_d2.problems import TRY_AGAIN
from oiv5_d2.processes import end_with_parent
from oiv5_d2.runs.layout import LOCK

OUTPUT = "output.txt"  # all that a trial said
PACKAGE = Path(__file__).parents[1]
FIRST = "oiv5_d2.training.run"  # it makes Detectron2 importable
ROOMS = ("training", "evaluation", "modeling", "runs", "recipe", "console")  # whose code a run is
GPUS = "CUDA_VISIBLE_DEVICES"
ERROR = "error: "  # how the tool begins to say what a user can fix
FAULT = "Traceback "  # and Python what is a fault of ours
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
_STOPPED = {128 + one: one for one in STOP_SIGNALS}  # exit codes of a run that wrote a checkpoint


@dataclass(frozen=True)
class Running:
    """A trial's process.

    Attributes:
        process: it.
        output: the file that it writes to.
        begin: where in that file its words begin: before is what former pieces of the trial said.
    """

    process: BaseProcess
    output: Path
    begin: int


def start(
    tool: Path,
    words: Sequence[str],
    run_dir: Path,
    gpus: Sequence[str] | None,
    is_here: bool = True,
) -> Running:
    """Start the tool with such words.

    Args:
        tool: the script.
        words: of its command line.
        run_dir: of the run, which exists; what the process writes goes into `OUTPUT` there.
        gpus: that the process may use; None for all.
        is_here: False if the process only follows a job elsewhere.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(preloaded())
    output = run_dir / OUTPUT
    begin = output.stat().st_size if output.is_file() else 0
    arguments = (str(tool), list(words), run_dir, gpus, is_here)
    process = context.Process(target=_work, args=arguments, name=run_dir.name)
    process.start()
    return Running(process, output, begin)


def preloaded() -> list[str]:
    """Return the modules that are imported once, for all trials."""
    paths = (path for room in ROOMS for path in sorted((PACKAGE / room).rglob("*.py")))
    names = (".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in paths)
    return [__name__, FIRST, *(name.removesuffix(".__init__") for name in names)]


def was_cut_off(code: int) -> bool:
    """Return True for the exit code of a run that did not end by itself: it can be continued."""
    return code < 0 or code == TRY_AGAIN or code in _STOPPED


def reason_of(running: Running) -> str:
    """Return in one line why a process ended, from its exit code and its last words."""
    code = running.process.exitcode or 0
    if code < 0:
        more = ": memory may have run out" if code == -signal.SIGKILL else ""
        return f"killed by {signal.Signals(-code).name}{more}"
    if code in _STOPPED:
        return f"stopped by {_STOPPED[code].name}"
    said = _words_of(running).splitlines()
    errors, faults = (
        [i for i, line in enumerate(said) if line.startswith(word)] for word in (ERROR, FAULT)
    )
    if max(errors, default=-1) > max(faults, default=-1):
        first, *rest = said[errors[-1] :]
        remedy = [line.strip() for line in rest[:1] if line.startswith("  ")]
        return ". ".join([first.removeprefix(ERROR), *remedy])
    return next((line for line in reversed(said) if line.strip()), f"exit code {code}")


def visible_gpus() -> list[str]:
    """Return the GPUs that this process may use, by what `GPUS` calls them."""
    if (chosen := os.environ.get(GPUS)) is not None:
        return [one for one in chosen.split(",") if one.strip()]
    if shutil.which("nvidia-smi") is None:
        return []
    done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True)
    names = [line for line in done.stdout.splitlines() if line.startswith("GPU ")]
    return [str(number) for number in range(len(names))]


def _words_of(running: Running) -> str:
    if not running.output.is_file():
        return ""
    with running.output.open("rb") as file:
        file.seek(running.begin)
        return file.read().decode(errors="replace")


def _work(
    tool: str, words: list[str], run_dir: Path, gpus: Sequence[str] | None, is_here: bool
) -> None:
    end_with_parent()
    # Python's own again, as in a run alone: this process's would import all of it in each worker.
    multiprocessing.set_start_method(None, force=True)
    for one in STOP_SIGNALS:
        signal.signal(one, signal.default_int_handler if one == signal.SIGINT else signal.SIG_DFL)
    with (run_dir / OUTPUT).open("ab") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    if gpus is not None:
        os.environ[GPUS] = ",".join(gpus)
    if is_here:  # a job of before is not waited for, but followed
        _wait_for_former(run_dir)
    sys.argv = [tool, *words]
    runpy.run_path(tool, run_name="__main__")


def _wait_for_former(run_dir: Path) -> None:
    """Wait until a process of this trial that outlived its worker has ended."""
    with (run_dir / LOCK).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
