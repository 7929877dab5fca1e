"""Evaluate a run on a part of its data:  python tools/evaluate.py run=outputs/quickstart.

Another part: part=test. Another checkpoint: weights=model_0000199.pth. Another device: device=cpu.
"""

import logging
from pathlib import Path

import hydra
from omegaconf import DictConfig

from oiv5_d2.console.commands import data_commands
from oiv5_d2.console.errors import report_errors, suggesting
from oiv5_d2.console.help import answer_help
from oiv5_d2.runs.layout import data_choice, find_part, find_run, output_dir_of

logger = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path="../configs", config_name="evaluate")
def main(run: DictConfig) -> None:
    """Find the run and its data, then evaluate it."""
    run_dir = find_run(Path(run.run))
    if run_dir != Path(run.run):
        logger.info("The newest finished run of %s: %s", run.run, run_dir)
    with suggesting(data_commands(*data_choice(run_dir))):
        dataset = find_part(run_dir, run.part)
        weights_path = find_weights(run_dir, run.weights)
        output_dir = Path(run.output or output_dir_of(run_dir, dataset.name, weights_path))
        evaluate(run_dir, run.part, weights_path, run.device, output_dir)


def evaluate(
    run_dir: Path, part: str, weights_path: Path, device: str | None, output_dir: Path
) -> None:
    """Evaluate weights of a run and print their precision."""
    # Here, so that --help and a mistake on the command line are answered at once.
    from oiv5_d2.console.screen import console, draw
    from oiv5_d2.evaluation.runs import evaluate_run
    from oiv5_d2.reporting.tables import ap_table, class_table
    from oiv5_d2.runs.results import describe_gaps

    results = evaluate_run(run_dir, part, weights_path, device, output_dir)
    draw(ap_table([results])._replace(title=f"{run_dir}, {weights_path.name}"))
    draw(class_table([results]))
    for note in describe_gaps(results):
        console.print(note)
    console.print(str(output_dir))


def find_weights(run_dir: Path, weights: str) -> Path:
    """Return the path of weights given by a name in the run's folder, or by a path."""
    inside = run_dir / weights
    return inside if inside.is_file() or not Path(weights).is_file() else Path(weights)


if __name__ == "__main__":
    answer_help(__doc__, "evaluate")
    report_errors(main, "evaluate")
