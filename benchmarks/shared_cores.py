"""Measure trainings that share cores:  python benchmarks/shared_cores.py.

Makes steps of the quickstart in one process and in two at once, with as many threads as there are
cores in each, for ways in which OpenMP's threads wait. Prints seconds of a step, over the rounds.
Needs the data: python tools/prepare_data.py data=mini.
"""

import os
import subprocess
import sys
from statistics import median
from time import perf_counter

from oiv5_d2.table import Table, to_text

ROUNDS, SECONDS, LEAST = 5, 10.0, 3
CHOSEN = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS")  # by the caller: left out
WAITS = {
    "OpenMP's own": {"GOMP_SPINCOUNT": "300000"},
    "ours: a thirtieth of that": {},
    "asleep at once": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}


def make_steps() -> None:
    """Be one of the processes: say when ready, wait for a line, print the median of the steps."""
    import torch
    from step import OURS, Way

    from detectron2.utils.events import EventStorage  # isort: skip

    way = Way(["+experiment=quickstart"], torch.float32, OURS)
    with EventStorage():
        way.step()
        print("ready", flush=True)
        sys.stdin.readline()
        way.seconds.clear()
        begin = perf_counter()
        while perf_counter() - begin < SECONDS or len(way.seconds) < LEAST:
            way.step()
    print(median(way.seconds), flush=True)


def run_at_once(number: int, wait: dict[str, str]) -> float:
    """Return the seconds of a step when so many processes make steps at once."""
    others = {key: value for key, value in os.environ.items() if key not in CHOSEN}
    environment = {**others, "PYTHONPATH": os.getcwd(), **wait}
    command = [sys.executable, __file__, "steps"]
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True)
        for _ in range(number)
    ]
    for process in processes:
        assert process.stdout and process.stdout.readline().strip() == "ready"
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    found = [process.communicate()[0] for process in processes]
    return median(float(one) for one in found)


def main() -> None:
    """Measure in turns and print the table."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in WAITS}
    for _ in range(ROUNDS):
        for name, wait in WAITS.items():
            found[name].append((run_at_once(1, wait), run_at_once(2, wait)))
    rows = []
    for name, rounds in found.items():
        alone, together = (median(column) for column in zip(*rounds, strict=True))
        worst = max(second for _, second in rounds)
        numbers = (alone, together, worst)
        rows.append((name, *(f"{one:.2f}" for one in numbers), f"{together / alone:.1f}"))
    columns = ("threads wait", "alone, s", "two at once, s", "worst round, s", "x alone")
    print(to_text(Table("Shared cores", columns, rows)))


if __name__ == "__main__":
    sys.exit(make_steps() if "steps" in sys.argv else main())
