"""The part of a record that says why a model fails: two pictures, and tables by class and slice."""

from pathlib import Path
from typing import Any

from oiv5_d2.reporting.diagnosis import write_confusion, write_precision
from oiv5_d2.reporting.tables import TASKS, score, to_markdown
from oiv5_d2.runs.results import Results
from oiv5_d2.table import Table

CONFUSION, PRECISION = "confusion.png", "precision.png"
ABOUT_CONFUSION = """\
Left: what the objects of each class were found as, at an IoU of 0.5 and from each class's threshold
on. *nothing* has the false detections: on background, or of objects that were found already. Right:
kinds of errors at any score, their number, and the AP50 that fixing all of a kind would add."""
ABOUT_PRECISION = """\
The dots are the thresholds, where F1 is best: the images above show detections from there on. Where
scores mean what they say, a class is on the diagonal at the right; ECE is the mean distance."""
ABOUT_SLICES = """\
Recall from the thresholds on; AP with all other objects ignored. A false detection belongs to no
slice and counts in all of them: compare a slice of two runs rather than two slices of one."""


def write_reasons(results: Results, title: str, record_dir: Path) -> list[str]:
    """Draw the pictures of one evaluation; return the blocks of Markdown that show them.

    Args:
        results: one evaluation; of an older version that has no confusion there is nothing to say.
        title: of the pictures.
        record_dir: gets the pictures.
    """
    analysis = results.analysis
    if "confusion" not in analysis:
        return []
    task = {"segm": "masks", "bbox": "boxes"}[analysis["task"]]
    write_confusion(analysis, f"{title}: errors ({task})", record_dir / CONFUSION)
    write_precision(analysis, f"{title}: scores ({task})", record_dir / PRECISION)
    return [
        "## Why it fails",
        ABOUT_CONFUSION,
        f"![Confusion of classes, and what each kind of error costs]({CONFUSION})",
        ABOUT_PRECISION,
        f"![Precision over recall, F1 over score, and calibration]({PRECISION})",
        to_markdown(threshold_table(results)),
        "<details><summary>By size, crowding, place, attribute and label</summary>",
        ABOUT_SLICES,
        to_markdown(slice_table(results)),
        "</details>",
    ]


def threshold_table(results: Results) -> Table:
    """Return each class's threshold, with precision, recall and F1 there, and its ECE."""
    columns = ("class", "threshold", "precision", "recall", "F1", "ECE")
    keys = ("threshold", "precision", "recall", "best_f1", "ece")
    rows = [
        (name, *(_hundredths(one.get(key)) for key in keys))
        for name, one in results.analysis["classes"].items()
    ]
    return Table("Thresholds", columns, rows)


def slice_table(results: Results) -> Table:
    """Return each slice's number of objects, recall, AP50 and AP."""
    task = TASKS[results.analysis["task"]]
    columns = ("slice", "objects", "recall", f"{task} AP50", f"{task} AP")
    rows = [
        (name, f"{one['objects']:,}", *(score(one[key]) for key in ("recall", "AP50", "AP")))
        for name, one in results.analysis["slices"].items()
    ]
    return Table("Slices", columns, rows)


def _hundredths(value: Any) -> str:
    return "-" if value is None else f"{value:.2f}"
