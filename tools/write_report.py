"""Turn a finished run into its record:  python tools/write_report.py run=outputs/quickstart.

Writes experiments/<name>/ and refreshes experiments/README.md; a hand-written answer is kept.
Into the run's folder goes report.html: one page with all of it, to be looked at or mailed.
"""

import logging
from pathlib import Path

import hydra
from omegaconf import DictConfig

from oiv5_d2.console.commands import data_commands
from oiv5_d2.console.errors import report_errors, suggesting
from oiv5_d2.console.help import answer_help
from oiv5_d2.console.shell import command, setting
from oiv5_d2.problems import Remedy
from oiv5_d2.runs.layout import data_choice, find_finished

logger = logging.getLogger("oiv5_d2.write_report")


@hydra.main(version_base="1.3", config_path="../configs", config_name="report")
def main(run: DictConfig) -> None:
    """Find the run, then write its record and the table of all records."""
    run_dir = find_finished(Path(run.run))
    if run_dir != Path(run.run):
        logger.info("The newest finished run of %s: %s", run.run, run_dir)
    evaluate = {Remedy.EVALUATE: command("evaluate", setting("run", run_dir))}
    with suggesting(evaluate | data_commands(*data_choice(run_dir))):
        report(run_dir, Path(run.to), run.name, run.images)
        if run.html:
            write_html(run_dir, run.pictures if run.images else 0)


def report(run_dir: Path, experiments_dir: Path, name: str | None, with_images: bool) -> None:
    """Write a run's record; print the result and what to look at."""
    # Here, so that --help and a mistake on the command line are answered at once.
    from oiv5_d2.reporting.index import write_index
    from oiv5_d2.reporting.record import write_record
    from oiv5_d2.reporting.tables import ap_table, class_table
    from oiv5_d2.runs.layout import read_evaluations
    from oiv5_d2.table import to_text

    record_dir = write_record(run_dir, experiments_dir, Path.cwd(), name, with_images)
    index_path = write_index(experiments_dir)
    evaluations = read_evaluations(run_dir)
    print(f"\n{to_text(ap_table(evaluations))}\n\n{to_text(class_table(evaluations))}\n")
    print("Look at:")
    for path in (*sorted(record_dir.iterdir()), index_path, run_dir):
        print(f"  {path}")


def write_html(run_dir: Path, num_pictures: int) -> None:
    """Write the run's page and say where it is."""
    from oiv5_d2.reporting.page.page import write_run_page

    print(f"  {write_run_page(run_dir, Path.cwd(), num_pictures)}")


if __name__ == "__main__":
    answer_help(__doc__, "report")
    report_errors(main, "report")
