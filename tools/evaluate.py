"""Judge a finished run on a part of its data:  python tools/evaluate.py run=outputs/quickstart.

Another part: part=test. Another checkpoint: weights=model_0000199.pth. Another device: device=cpu.
"""

import logging
import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table as RichTable

from oiv5_d2.console.errors import report_errors
from oiv5_d2.console.help import answer_help
from oiv5_d2.evaluation.runs import evaluate_run
from oiv5_d2.reporting.tables import Table, ap_table, class_table
from oiv5_d2.runs.layout import find_finished, find_part, output_dir_of
from oiv5_d2.runs.results import describe_gaps

LOG_WIDTH = 120  # columns, where there is no terminal to ask

logger = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path="../configs", config_name="evaluate")
def main(run: DictConfig) -> None:
    """Find the run, judge it, print its precision."""
    run_dir = find_finished(Path(run.run))
    if run_dir != Path(run.run):
        logger.info("The newest finished run of %s: %s", run.run, run_dir)
    weights_path = find_weights(run_dir, run.weights)
    dataset = find_part(run_dir, run.part)
    output_dir = Path(run.output or output_dir_of(run_dir, dataset.name, weights_path))
    results = evaluate_run(run_dir, run.part, weights_path, run.device, output_dir)
    console = Console(width=None if sys.stdout.isatty() else LOG_WIDTH)
    console.print(to_rich(ap_table([results]), f"{run_dir}, {weights_path.name}"))
    console.print(to_rich(class_table([results]), "per class"))
    for note in describe_gaps(results):
        console.print(note)
    console.print(str(output_dir))


def find_weights(run_dir: Path, weights: str) -> Path:
    """Return the path of weights given by a name in the run's folder, or by a path."""
    inside = run_dir / weights
    return inside if inside.is_file() or not Path(weights).is_file() else Path(weights)


def to_rich(table: Table, title: str) -> RichTable:
    """Return a table for the terminal: names to the left, numbers to the right."""
    rich = RichTable(title=title, title_justify="left")
    for i, header in enumerate(table.headers):
        rich.add_column(header, justify="left" if i < table.num_names else "right", no_wrap=True)
    for row in table.rows:
        rich.add_row(*row)
    return rich


if __name__ == "__main__":
    answer_help(__doc__, "evaluate")
    report_errors(main, "evaluate")
