"""Measure reading a mask table as long as part of train's:  python benchmarks/tables.py.

Every way reads the same file, after a short one, in a process of its own; medians are printed.
"""

import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from statistics import median

from oiv5_d2.openimages.release import MASK_COLUMNS

NUM_ROWS, NUM_TIMES = 1_000_000, 5
# Labels of the four classes that the project looks for: here a fifth of the rows.
WANTED = ["/m/01g317", "/m/04yx4", "/m/03bt1vf", "/m/01bl7v", "/m/05r655", "/m/0k4j", "/m/015qff"]
OTHERS = [f"/m/0{number:05x}" for number in range(343)]
WAYS = {  # what each does with every `part` that it reads: nothing
    "bytes": "iter(lambda: file.read(1 << 20), b'')",
    "sha256": "[sha256(path)]",
    "Arrow alone": "csv.open_csv(path, convert_options=options)",
    "read_rows, wanted": "read_rows(path, MASK_COLUMNS, keep=wanted)",
    "read_rows, all": "read_rows(path, MASK_COLUMNS)",
    "pandas": "[pandas.read_csv(path)]",
}
PROGRAM = """
import sys, resource, time
from pathlib import Path
import pandas
from pyarrow import csv
from oiv5_d2.files import sha256
from oiv5_d2.openimages.readers import read_rows
from oiv5_d2.openimages.release import MASK_COLUMNS

wanted = {{"LabelName": sys.argv[3:]}}
options = csv.ConvertOptions(include_columns=MASK_COLUMNS[:-1])
for path in map(Path, sys.argv[1:3]):
    with path.open("rb", buffering=0) as file:
        begin, num_kb = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for part in {way}: pass
        seconds, end = time.process_time() - begin, resource.getrusage(resource.RUSAGE_SELF)
print(seconds, end.ru_maxrss / 1024, (end.ru_maxrss - num_kb) / 1024)
"""


def make_lines() -> Iterator[str]:
    """Yield a header and rows of some 290 bytes, most of them Clicks."""
    chance = random.Random(0)
    yield ",".join(MASK_COLUMNS) + "\n"
    while True:
        mid = chance.choice(WANTED if chance.random() < 0.2 else OTHERS)
        image, box = f"{chance.getrandbits(64):016x}", f"{chance.getrandbits(32):08x}"
        x, y = chance.random() / 2, chance.random() / 2
        sides = f"{x:.6f},{x * 2:.6f},{y:.6f},{y * 2:.6f},{chance.random():.5f}"
        clicks = ";".join(f"{x:.6f} {y:.6f} {n % 2}" for n in range(chance.randint(4, 13)))
        yield f"{image}_{mid[1:].replace('/', '')}_{box}.png,{image},{mid},{box},{sides},{clicks}\n"


def main() -> None:
    """Make the table, measure every way, print the ratios."""
    rounds: dict[str, list[list[float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        short, long = Path(folder) / "short.csv", Path(folder) / "long.csv"
        short.write_text("".join(islice(make_lines(), 1000)))
        with long.open("w") as file:
            file.writelines(islice(make_lines(), NUM_ROWS + 1))
        for way in list(WAYS) * NUM_TIMES:
            command = [sys.executable, "-c", PROGRAM.format(way=WAYS[way]), short, long, *WANTED]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            rounds[way].append([float(number) for number in printed.split()])
        print(f"{NUM_ROWS:,} rows, {long.stat().st_size / 1e6:.0f} MB")
    found = {way: [median(numbers) for numbers in zip(*rounds[way], strict=True)] for way in WAYS}
    print(f"{'':18}CPU s  / pandas  / bytes  MB at the peak (added by the long file)")
    for way, (cpu, peak, added) in found.items():
        ratios = f"{cpu / found['pandas'][0]:8.2f}  {cpu / found['bytes'][0]:7.1f}"
        print(f"{way:18}{cpu:5.2f}  {ratios}  {peak:.0f} ({added:.0f})")


if __name__ == "__main__":
    main()
