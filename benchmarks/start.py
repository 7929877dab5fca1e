"""Measure what passes until the first step:  python benchmarks/start.py.

Runs the quickstart's training for one step, without evaluation, as it is and with the modules of
`torch.compile` imported before, which optimizers and torchvision do otherwise. The least that any
training needs is a Python that imports PyTorch. Prints seconds of CPU, over five rounds.
Needs the data: python tools/prepare_data.py data=mini.
"""

import os
import resource
import subprocess
import sys
import tempfile
from statistics import median

from oiv5_d2.table import Table, to_text

ROUNDS = 5
TRAINING = (
    *("tools/train_net.py", "+experiment=quickstart", "logger=none"),
    *("d2.SOLVER.MAX_ITER=1", "d2.SOLVER.WARMUP_ITERS=0", "d2.SOLVER.STEPS=[]"),
    "d2.DATASETS.TEST=[]",
)
PYTORCH = ("-c", "import torch")
AWAKE = (
    "-c",
    "import runpy, sys, torch._dynamo; sys.argv.pop(0);"
    "runpy.run_path(sys.argv[0], run_name='__main__')",
)


def seconds_of(*arguments: str) -> float:
    """Return the seconds of CPU that Python takes with the arguments, its children included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command, environment = [sys.executable, *arguments], {**os.environ, "PYTHONPATH": os.getcwd()}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def train(*before: str) -> float:
    """Return the seconds of a training of one step."""
    with tempfile.TemporaryDirectory() as folder:
        return seconds_of(*before, *TRAINING, f"run_dir={folder}/run")


def main() -> None:
    """Measure in turns and print the table."""
    ways = {
        "import torch": lambda: seconds_of(*PYTORCH),
        "one step of the quickstart, with its checkpoint": train,
        "the same with the compiler imported": lambda: train(*AWAKE),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, measure in ways.items():
            found[name].append(measure())
    rows = [
        (name, *(f"{one:.1f}" for one in (min(all_of), median(all_of), max(all_of))))
        for name, all_of in found.items()
    ]
    print(to_text(Table("Start", ("seconds of CPU", "min", "median", "max"), rows)))


if __name__ == "__main__":
    main()
