"""Read thousands of mutated inputs:  python -m fuzzing [reader ...] [runs=10000] [engine=...].

Engines: `random` draws from the seeds alone; `atheris` goes on from inputs that reached new code
(`uv sync --group fuzz` installs it). Without a reader all are fuzzed, each in a process of its own.
Inputs that raise, hang or give a wrong result are kept in ``outputs/fuzz``; the exit code is 1.
"""

import faulthandler
import hashlib
import logging
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

MOST_SECONDS, MOST_BYTES = 5, 1 << 30  # of CPU for one input; of the process
MOST_WAITING = 60  # seconds of one input by the clock: on a busy machine little of it is ours
FROM_FOUND = 0.5  # of the inputs go on from one that reached new code, the others from a seed
FOUND_DIR = Path("outputs/fuzz")
INSTRUMENTED = ["oiv5_d2.acquisition", "oiv5_d2.conversion", "oiv5_d2.openimages", "zipfile"]


def main(words: list[str]) -> int:
    """Fuzz readers one after another; return the exit code."""
    options = {"runs": "10000", "engine": "atheris" if find_spec("atheris") else "random"}
    options |= dict(word.split("=", 1) for word in words if "=" in word)
    names = [word for word in words if "=" not in word]
    if len(names) == 1:
        return fuzz(names[0], int(options["runs"]), options["engine"])
    names = names or list(import_module("fuzzing.readers").readers())
    more = [f"{key}={value}" for key, value in options.items()]
    commands = [[sys.executable, "-m", "fuzzing", name, *more] for name in names]
    return max([subprocess.run(command).returncode != 0 for command in commands])


def fuzz(name: str, runs: int, engine: str) -> int:
    """Fuzz one reader in this process; return the exit code."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    FOUND_DIR.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        if engine == "atheris":
            by_coverage(name, runs, Path(folder))
        trial, random = Trial(name, Path(folder) / "work"), Random(0)
        for _ in range(runs):
            trial(trial.reader.draw(random))
        return trial.report()


class Trial:
    """One reader, and what came of the inputs so far."""

    def __init__(self, name: str, folder: Path) -> None:
        module: Any = import_module("fuzzing.readers")
        self.reader, self._try_one, self._folder = module.readers()[name], module.try_one, folder
        self.num_tried = self._num_taken = self._num_found = 0
        self._slowest, self._started = 0.0, time.monotonic()
        for number in (signal.SIGPROF, signal.SIGALRM):
            faulthandler.register(number, chain=True)  # which ends the process

    def __call__(self, data: bytes) -> None:
        """Try an input, and keep it if something is wrong; one that hangs ends the process."""
        last = FOUND_DIR / f"{self.reader.name}-last.bin"
        last.write_bytes(data)  # of a process that hangs or dies
        signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
        signal.setitimer(signal.ITIMER_REAL, MOST_WAITING)
        started = time.process_time()
        try:
            self._num_taken += self._try_one(self.reader, data, self._folder)
        except Exception:
            self._keep(data)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        self.num_tried += 1
        self._slowest = max(self._slowest, time.process_time() - started)

    def report(self) -> int:
        """Print a line, and return the exit code."""
        num_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        print(
            f"{self.reader.name:<17}{self.num_tried:>7} inputs{self._num_taken:>7} taken"
            f"{self._num_found:>5} wrong, slowest {self._slowest:.2f} s, {num_bytes >> 20} MB,"
            f" {time.monotonic() - self._started:.0f} s in all",
            flush=True,
        )
        return int(self._num_found > 0 or num_bytes > MOST_BYTES)

    def _keep(self, data: bytes) -> None:
        self._num_found += 1
        name = f"{self.reader.name}-{hashlib.sha256(data).hexdigest()[:12]}"
        (FOUND_DIR / f"{name}.bin").write_bytes(data)
        (FOUND_DIR / f"{name}.txt").write_text(traceback.format_exc())


def by_coverage(name: str, runs: int, folder: Path) -> None:
    """Fuzz a reader from its seeds on, and end the process: atheris does not return."""
    atheris: Any = import_module("atheris")
    with atheris.instrument_imports(include=INSTRUMENTED, enable_loader_override=False):
        trial = Trial(name, folder / "work")
    (folder / "seeds").mkdir()
    for number, seed in enumerate(trial.reader.seeds):
        (folder / "seeds" / str(number)).write_bytes(seed)

    def try_input(data: bytes) -> None:
        trial(data)
        if trial.num_tried == runs:
            os._exit(trial.report())

    def draw(data: bytes, most_bytes: int, seed: int) -> bytes:
        random = Random(seed)
        start = data if random.random() < FROM_FOUND else None
        drawn: bytes = trial.reader.draw(random, start)
        return drawn[:most_bytes]

    words = ["fuzzing", str(folder / "seeds"), "-seed=1", "-verbosity=0", "-max_len=65536"]
    atheris.Setup(words, try_input, custom_mutator=draw)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
