"""Predictions of any tool in a file, evaluated without the model that made them."""

from pathlib import Path

from oiv5_d2.evaluation.analysis import analyse
from oiv5_d2.evaluation.diagnosis import diagnose
from oiv5_d2.evaluation.formats import read_predictions, write_coco, write_csv
from oiv5_d2.evaluation.hierarchy import read_above
from oiv5_d2.evaluation.intervals import RESAMPLES
from oiv5_d2.evaluation.label_errors import Suspect, find_suspects, write_suspects
from oiv5_d2.evaluation.labels import read_mids
from oiv5_d2.evaluation.scoring import find_tasks, score
from oiv5_d2.evaluation.truth import Truth, read_truth
from oiv5_d2.runs.results import (
    LABEL_ERRORS_CSV,
    PREDICTIONS_JSON,
    RESULTS_JSON,
    Results,
    write_results,
)

SUBMISSION_CSV = "submission.csv"


def evaluate_file(
    predictions_path: Path,
    truth_path: Path,
    output_dir: Path,
    tree_path: Path | None = None,
    table_path: Path | None = None,
    resamples: int = RESAMPLES,
) -> Results:
    """Evaluate a file of predictions, and write the results and the predictions as COCO has them.

    Args:
        predictions_path: COCO results, or the challenge's CSV.
        truth_path: a COCO file.
        output_dir: the folder to write to.
        tree_path: the tree of classes, where one of the truth's is above another one.
        table_path: the release's table of classes, for a CSV with classes by MID.
        resamples: by which intervals are computed; 0 for none.

    Raises:
        Problem: of the files, as their readers say.
    """
    truth = read_truth(truth_path)
    mids = read_mids(truth_path, table_path)
    names = {mid: name for name, mid in mids.items()}
    above = read_above(truth, mids, tree_path)
    found, remarks = read_predictions(predictions_path, truth, mids)
    tasks = find_tasks(truth, found)
    analysis = analyse(diagnose(truth, found, tasks[-1]), names)
    results = score(truth, found, above, tasks, analysis, remarks, resamples)
    write_coco(output_dir / PREDICTIONS_JSON, found, truth)
    write_results(output_dir / RESULTS_JSON, results)
    return results


def write_label_errors(output_dir: Path, truth_path: Path) -> tuple[Truth, list[Suspect]]:
    """Write where an evaluation's predictions make the annotation doubtful, as CSV; return it.

    Args:
        output_dir: of the evaluation.
        truth_path: the COCO file that was evaluated on.
    """
    truth = read_truth(truth_path)
    found, _ = read_predictions(output_dir / PREDICTIONS_JSON, truth, read_mids(truth_path, None))
    suspects = find_suspects(diagnose(truth, found, find_tasks(truth, found)[-1]))
    write_suspects(output_dir / LABEL_ERRORS_CSV, suspects, truth)
    return truth, suspects


def write_submission(output_dir: Path, truth_path: Path) -> None:
    """Write the predictions of an evaluation as the challenge's CSV as well.

    Args:
        output_dir: of the evaluation.
        truth_path: the COCO file that was evaluated on.
    """
    truth, mids = read_truth(truth_path), read_mids(truth_path, None)
    found, _ = read_predictions(output_dir / PREDICTIONS_JSON, truth, mids)
    write_csv(output_dir / SUBMISSION_CSV, found, truth, mids)
