"""One HTML file that tells all about a run, to be looked at, kept with the run, or mailed."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from oiv5_d2.drawing.colours import PALETTE
from oiv5_d2.evaluation.errors import WORDS
from oiv5_d2.pages.page import write_page
from oiv5_d2.problems import Kind, Problem, Remedy
from oiv5_d2.reporting.page.charts import score_charts, training_charts
from oiv5_d2.reporting.page.parent import read_parent
from oiv5_d2.reporting.page.pictures import Picture, draw_pictures, gallery
from oiv5_d2.reporting.page.settings import chosen_files, given_words, read_settings
from oiv5_d2.reporting.reasons import slice_table, threshold_table
from oiv5_d2.reporting.record import describe_run, shorten
from oiv5_d2.reporting.tables import TASKS, ap_table, class_table
from oiv5_d2.runs.layout import read_evaluations, read_record
from oiv5_d2.runs.metrics import METRICS
from oiv5_d2.runs.results import Results, describe_gaps
from oiv5_d2.runs.scalars import read_scalars
from oiv5_d2.runs.thresholds import choose_thresholds
from oiv5_d2.table import Table

REPORT_HTML = "report.html"
TEMPLATE = "page.html.jinja"
MOST_CLASSES = 24  # in the matrix of confusion; of more a table says the commonest confusions
MOST_LINES = 12  # in a chart; of more classes those with most objects
MOST_PAIRS = 40
PANELS = (("truth", "truth"), ("found", "prediction"))  # of an image: layer, title


class Card(NamedTuple):
    """A number of the headline, 0 to 100, with its interval of 95 %, or NaN without one."""

    label: str
    value: float
    low: float
    high: float

    @property
    def has_interval(self) -> bool:
        """True if there is one."""
        return not math.isnan(self.low)


def write_run_page(run_dir: Path, root: Path, num_pictures: int) -> Path:
    """Write ``report.html`` into a run's folder and return its path.

    What is written depends on the run and its data alone; what the run does not have is left out.

    Args:
        run_dir: the run, which has been evaluated.
        root: the project's folder; paths on the page are relative to it.
        num_pictures: images in the gallery, which needs the data; 0 for none.

    Raises:
        Problem: UNFINISHED, the run was never evaluated; ABSENT or DAMAGED, a file of the run or
            of its data.
    """
    evaluations = read_evaluations(run_dir)
    if not evaluations:
        raise Problem(Kind.UNFINISHED, run_dir, "never evaluated", remedy=Remedy.EVALUATE)
    record = read_record(run_dir)
    first = evaluations[0]
    colours = {name: i % len(PALETTE) for i, name in enumerate(first.num_instances)}
    pictures = _pictures(run_dir, first, num_pictures) if num_pictures else []
    content = {
        "title": record["name"],
        "facts": shorten(describe_run(run_dir, record, record["name"], evaluations), root),
        "results": first,
        "cards": headline(first),
        "tables": {"ap": ap_table(evaluations), "classes": [_by_class(one) for one in evaluations]},
        "gaps": [note for one in evaluations for note in describe_gaps(one)],
        "colours": colours,
        "training": training_charts(read_scalars(run_dir)),
        "settings": read_settings(run_dir, root),
        "parent": read_parent(run_dir, root),
        "given": given_words(run_dir),
        "files": chosen_files(run_dir),
        "packages": record["packages"],
        **_describe_reasons(first, colours),
        "pictures": pictures,
        "gallery": gallery(pictures, _least(first), PANELS),
    }
    write_page(run_dir / REPORT_HTML, __package__, TEMPLATE, content)
    return run_dir / REPORT_HTML


def headline(results: Results) -> list[Card]:
    """Return the headline of each metric and task, masks first."""
    cards = []
    for metric in METRICS:
        for task, word in TASKS.items():
            numbers = results.tasks.get(metric.task(task), {})
            spans = results.intervals.get(metric.task(task), {})
            for name in dict.fromkeys((metric.headline, "AP50")):
                if name in numbers:
                    low, high = spans.get(name, (math.nan, math.nan))
                    label = f"{metric.mark}{'mask' if task == 'segm' else word} {name}"
                    cards.append(Card(label, numbers[name], low, high))
    return cards


def _by_class(results: Results) -> Table:
    """Return one row per class; the table's title has the data set, which no column needs."""
    table = class_table([results])
    rows = [row[1:] for row in table.rows]
    return Table(f"By class, {results.dataset}", table.columns[1:], rows)


def _describe_reasons(results: Results, colours: Mapping[str, int]) -> dict[str, Any]:
    """Return what the analysis of an evaluation has; empty for what an older one does not have."""
    analysis, classes = results.analysis, _commonest(results)
    errors = analysis.get("errors", {})
    costs = {WORDS[name]: errors[name] for name in WORDS if name in errors}
    return {
        "task": {"segm": "masks", "bbox": "boxes"}.get(analysis.get("task", ""), ""),
        "costs": costs,
        "confusion": analysis.get("confusion"),
        "pairs": confusions(analysis["confusion"]) if "confusion" in analysis else None,
        "is_small": len(colours) <= MOST_CLASSES,
        "scores": score_charts(classes, colours) if classes else [],
        "all_drawn": len(classes) == len(analysis.get("classes", {})),
        "thresholds": threshold_table(results) if analysis.get("classes") else None,
        "slices": slice_table(results) if analysis.get("slices") else None,
    }


def confusions(confusion: Mapping[str, Any]) -> Table:
    """Return the commonest confusions: what was found as another class, missed, or is nothing."""
    counts, names = np.array(confusion["counts"]), confusion["classes"]
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:MOST_PAIRS]
    pairs = [divmod(int(place), len(counts)) for place in order]
    rows = [
        ([*names, "nothing"][row], [*names, "missed"][column], f"{counts[row, column]:,}")
        for row, column in pairs
        if counts[row, column]
    ]
    return Table("Confusions", ("object", "found as", "number"), rows, num_names=2)


def _commonest(results: Results) -> dict[str, Any]:
    """Return the analysis of the classes with most objects, in class order."""
    classes = results.analysis.get("classes", {})
    ranked = sorted(classes, key=lambda name: -results.num_instances[name])[:MOST_LINES]
    return {name: one for name, one in classes.items() if name in ranked}


def _pictures(run_dir: Path, results: Results, number: int) -> list[Picture]:
    return draw_pictures(run_dir, results.dataset, _least(results), number)


def _least(results: Results) -> dict[str, float]:
    """Return the score from which on each class's detections count."""
    return choose_thresholds(results.analysis, list(results.num_instances))
