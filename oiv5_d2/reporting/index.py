"""``experiments/README.md``: the table of all records, made from the records themselves."""

import json
from pathlib import Path
from typing import Any

from oiv5_d2.files import whole_file
from oiv5_d2.problems import Kind, Problem, Remedy
from oiv5_d2.reporting.record import NO_ANSWER, README, RECORD_JSON, read_answer
from oiv5_d2.reporting.tables import score, to_markdown
from oiv5_d2.table import Table

INTRODUCTION = """# Experiments

One folder per experiment, written by `python tools/write_report.py run=outputs/<name>` from a
finished run; only the answers are written by hand. Average precision is 0 to 100.
[variants](variants/README.md) compares ways to train the quickstart's model, over seeds."""
COLUMNS = {"segm/AP": "segm AP", "segm/AP50": "AP50", "bbox/AP": "box AP"}


def write_index(experiments_dir: Path) -> Path:
    """Write the table of all records below a folder, and return its path.

    Raises:
        Problem: DAMAGED, a record cannot be read.
    """
    paths = sorted(experiments_dir.glob(f"*/{RECORD_JSON}"))
    rows = [row for path in paths for row in _rows(path)]
    columns = ("experiment", "question", "answer", "data", *COLUMNS.values(), "hours", "on")
    table = Table("Experiments", columns, rows, num_names=4)
    target = experiments_dir / README
    with whole_file(target) as temporary:
        temporary.write_text(f"{INTRODUCTION}\n\n{to_markdown(table)}\n")
    return target


def _rows(record_path: Path) -> list[tuple[str, ...]]:
    """Return one row per data set that the experiment was evaluated on."""
    folder = record_path.parent
    try:
        record: dict[str, Any] = json.loads(record_path.read_text())
        answer = read_answer(folder / README)
        link = f"[{record['name']}]({folder.name}/{README})"
        shown = "" if answer == NO_ANSWER else answer
        last = (f"{record['hours']:.2f}", record["machine"].split(";")[0])
        return [
            (link, record["question"], shown, data, *(score(values.get(m)) for m in COLUMNS), *last)
            for data, values in record["results"].items()
        ]
    except (KeyError, ValueError) as error:
        detail = f"not a record: {error}"
        raise Problem(Kind.DAMAGED, record_path, detail, remedy=Remedy.RUN_AGAIN) from error
