"""Evaluate a run on a part of its data:  python tools/evaluate.py run=outputs/quickstart.

Another part: part=test. Another checkpoint: weights=model_0000199.pth. Another device: device=cpu.
Test-time augmentation: d2.TEST.AUG.ENABLED=true. Fewer detections: d2.TEST.DETECTIONS_PER_IMAGE=20
Detections of any tool: predictions=found.json.gz truth=coco.json output=judged
"""

import itertools
import logging
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

from oiv5_d2.console.commands import changed_settings, choose_defaults, data_commands
from oiv5_d2.console.errors import report_errors, suggesting
from oiv5_d2.console.help import answer_help
from oiv5_d2.conversion.image_store import Images
from oiv5_d2.problems import wrong_setting
from oiv5_d2.runs.layout import data_choice, find_part, find_run, find_weights, output_dir_of
from oiv5_d2.runs.results import Results, describe_gaps

logger = logging.getLogger("oiv5_d2.evaluate")


@hydra.main(version_base="1.3", config_path="../configs", config_name="evaluate")
def main(run: DictConfig) -> None:
    """Evaluate a file of predictions, or find a run and its data and evaluate it."""
    if run.predictions is not None:
        evaluate_predictions(run)
        return
    run_dir = find_run(Path(run.run))
    if run_dir != Path(run.run):
        logger.info("The newest finished run of %s: %s", run.run, run_dir)
    changes = changed_settings(run)
    with suggesting(data_commands(*data_choice(run_dir))):
        for part, weights in itertools.product(as_list(run.part), as_list(run.weights)):
            dataset, weights_path = find_part(run_dir, part), find_weights(run_dir, weights)
            words = [f"{key}={value}" for key, value in changes.items()]
            own_dir = output_dir_of(run_dir, dataset.name, weights_path, words)
            output_dir = own_dir
            if run.output is not None:
                output_dir = Path(run.output) / own_dir.relative_to(run_dir)
            evaluate(run, run_dir, part, weights_path, output_dir)


def as_list(setting: object) -> list[str]:
    """Return one name, or several, as a list."""
    return list(setting) if OmegaConf.is_list(setting) else [str(setting)]


def evaluate(
    run: DictConfig, run_dir: Path, part: str, weights_path: Path, output_dir: Path
) -> None:
    """Evaluate weights of a run and print their precision."""
    # Here, so that --help and a mistake on the command line are answered at once.
    from oiv5_d2.evaluation.runs import evaluate_run

    changes, dataset = changed_settings(run), find_part(run_dir, part)
    results = evaluate_run(run_dir, part, weights_path, run.device, output_dir, changes)
    write_more(run, output_dir, dataset.json_path, dataset.images)
    show(results, f"{run_dir}, {weights_path.name}", output_dir)


def evaluate_predictions(run: DictConfig) -> None:
    """Evaluate a file of predictions; neither a run nor a model is needed."""
    from oiv5_d2.evaluation.files import evaluate_file

    if run.truth is None:
        raise wrong_setting("truth", "null", "predictions need the COCO file they belong to")
    path = Path(run.predictions)
    output_dir = Path(run.output or path.with_name(f"{path.name.split('.')[0]}_evaluation"))
    trees = (Path(one) if one else None for one in (run.hierarchy, run.classes))
    results = evaluate_file(path, Path(run.truth), output_dir, *trees, run.resamples)
    write_more(run, output_dir, Path(run.truth), None)
    show(results, str(path), output_dir)


def write_more(run: DictConfig, output_dir: Path, truth_path: Path, images: Images | None) -> None:
    """Write the challenge's CSV and the likely label errors beside the results, as asked."""
    from oiv5_d2.evaluation.files import write_label_errors, write_submission
    from oiv5_d2.reporting.suspects import LABEL_ERRORS_JPG, look_for_images, write_label_sheet

    if run.csv:
        write_submission(output_dir, truth_path)
    if run.label_errors:
        truth, suspects = write_label_errors(output_dir, truth_path)
        title, path = f"{truth.name}: likely label errors", output_dir / LABEL_ERRORS_JPG
        if found := images or look_for_images(truth_path, truth):
            write_label_sheet(truth, suspects[: run.label_errors], found, title, path)


def show(results: Results, title: str, output_dir: Path) -> None:
    """Print precision, what could not be measured, and where the files are."""
    from oiv5_d2.console.screen import console, draw
    from oiv5_d2.reporting.tables import ap_table, class_table

    draw(ap_table([results])._replace(title=title))
    draw(class_table([results]))
    for note in describe_gaps(results):
        console.print(note)
    console.print(str(output_dir))


if __name__ == "__main__":
    answer_help(__doc__, "evaluate")
    report_errors(main, "evaluate", [choose_defaults])
