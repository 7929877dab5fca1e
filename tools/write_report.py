"""Turn a finished run into its record:  python tools/write_report.py run=outputs/quickstart.

Writes experiments/<name>/ and refreshes experiments/README.md; a hand-written answer is kept.
"""

import logging
from pathlib import Path

import hydra
from omegaconf import DictConfig

from oiv5_d2.console.errors import report_errors
from oiv5_d2.console.help import answer_help
from oiv5_d2.reporting.index import write_index
from oiv5_d2.reporting.record import write_record
from oiv5_d2.reporting.tables import ap_table, class_table, to_text
from oiv5_d2.runs.layout import find_finished, read_evaluations

logger = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path="../configs", config_name="report")
def main(run: DictConfig) -> None:
    """Write the record and the table of all records; print the result and what to look at."""
    run_dir, experiments_dir = find_finished(Path(run.run)), Path(run.to)
    if run_dir != Path(run.run):
        logger.info("The newest finished run of %s: %s", run.run, run_dir)
    record_dir = write_record(run_dir, experiments_dir, Path.cwd(), run.name, run.pictures)
    index_path = write_index(experiments_dir)
    evaluations = read_evaluations(run_dir)
    print(f"\n{to_text(ap_table(evaluations))}\n\n{to_text(class_table(evaluations))}\n")
    print("Look at:")
    for path in (*sorted(record_dir.iterdir()), index_path, run_dir):
        print(f"  {path}")


if __name__ == "__main__":
    answer_help(__doc__, "report")
    report_errors(main, "report")
