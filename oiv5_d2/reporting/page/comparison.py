"""One HTML file about two runs: what differs between them, and whether chance explains it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from oiv5_d2.pages.charts import Chart, Line
from oiv5_d2.pages.page import write_page
from oiv5_d2.reporting.curves import panels
from oiv5_d2.reporting.page.charts import ORDER
from oiv5_d2.reporting.page.pictures import draw_changes, gallery
from oiv5_d2.reporting.record import shorten
from oiv5_d2.runs.layout import EVALUATION, read_record
from oiv5_d2.runs.matches import MIN_SCORE
from oiv5_d2.runs.metrics import METRICS
from oiv5_d2.runs.privacy import public
from oiv5_d2.runs.scalars import METRICS_JSON, read_scalars

COMPARISON_HTML = "comparison.html"
SLICE = "slice: "
METRICS_GROUP, CLASSES_GROUP, SLICES_GROUP = "Metrics", "By class", "Slices"
NAMES = ("first", "second")
PANELS = (("truth", "truth"), ("before", NAMES[0]), ("found", NAMES[1]))
TASKS = {"segm": "mask", "bbox": "box"}
COMPARED = ("Total loss", "Average precision", "Learning rate")  # panels, each run with its lines

Difference = Mapping[str, Any]  # as `evaluation.differences.Difference`, with ``is_clear``


class Change(NamedTuple):
    """A number of both runs, 0 to 100.

    Attributes:
        name: the metric, of a class perhaps, or the slice, as people call it.
        first: of the first run.
        second: of the second run.
        interval: of 95 %, of the second minus the first.
        p: of so large a difference by chance.
        is_clear: the interval leaves out zero.
    """

    name: str
    first: float
    second: float
    interval: tuple[float, float]
    p: float
    is_clear: bool

    @property
    def change(self) -> float:
        """The second minus the first."""
        return self.second - self.first

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, or nothing where chance may explain it."""
        return ("better" if self.change > 0 else "worse") if self.is_clear else ""


def write_comparison_page(
    evaluations: Sequence[Path], content: Mapping[str, Any], root: Path, num_images: int
) -> Path:
    """Write ``comparison.html`` into the second run's folder and return its path.

    It goes into the folder of the second evaluation if that is not one of final weights.

    Args:
        evaluations: both folders, each in its run's; runs may be the same.
        content: ``runs``, ``dataset``, ``differences``, ``images`` and ``settings`` as
            ``tools/compare.py`` writes them.
        root: the project's folder; paths on the page are relative to it.
        num_images: how many of the images that changed are shown; 0 needs no images.
    """
    first, second = (str(public(one)) for one in content["runs"])
    run_dirs = list(dict.fromkeys(one.parent for one in evaluations))
    changed = content["images"][:num_images]
    pictures = draw_changes(evaluations, content["dataset"], changed) if changed else []
    classes = read_record(run_dirs[0])["classes"] if changed else []
    groups = group(content["differences"])
    page = {
        "title": f"{first} and {second}",
        "names": (first, second),
        "cards": [one for one in groups.get(METRICS_GROUP, []) if one.name in _headlines()],
        "groups": groups,
        "spans": {name: _span(some) for name, some in groups.items()},
        "training": training_charts(run_dirs) if len(run_dirs) > 1 else [],
        "pictures": pictures,
        "gallery": gallery(pictures, dict.fromkeys(classes, MIN_SCORE), PANELS),
        "settings": [(key, *map(str, pair)) for key, pair in public(content["settings"]).items()],
        "commands": [shorten(read_record(one).get("command", ""), root) for one in run_dirs],
    }
    last = evaluations[1]
    path = (last.parent if last.name == EVALUATION else last) / COMPARISON_HTML
    write_page(path, __package__, "comparison.html.jinja", page)
    return path


def group(differences: Sequence[Difference]) -> dict[str, list[Change]]:
    """Return the changes over all classes, of each class, and of AP50 in slices; masks first."""
    found: dict[str, list[Change]] = {METRICS_GROUP: [], CLASSES_GROUP: [], SLICES_GROUP: []}
    for one in sorted(differences, key=lambda one: "bbox/" in one["name"]):
        name = label(one["name"])
        is_slice, is_class = one["name"].startswith(SLICE), "-" in one["name"]
        place = SLICES_GROUP if is_slice else CLASSES_GROUP if is_class else METRICS_GROUP
        numbers = (one["first"], one["second"], tuple(one["interval"]), one["p"], one["is_clear"])
        found[place].append(Change(name, *numbers))
    return {name: some for name, some in found.items() if some}


def label(name: str) -> str:
    """Return what people call a difference: ``OI mask AP50, Car`` for open_images/segm/AP50-Car."""
    if name.startswith(SLICE):
        return name.removeprefix(SLICE)
    task, _, measure = name.rpartition("/")
    marks = {metric.task(one): f"{metric.mark}{TASKS[one]}" for metric in METRICS for one in TASKS}
    return f"{marks[task]} {measure.replace('-', ', ', 1)}"


def training_charts(run_dirs: Sequence[Path]) -> list[Chart]:
    """Return the curves of both runs in the same charts; none of a run that has none."""
    lines: dict[str, list[Line]] = {title: [] for title in COMPARED}
    tops: dict[str, float | None] = {}
    for run_dir, name in zip(run_dirs, NAMES, strict=True):
        scalars = read_scalars(run_dir) if (run_dir / METRICS_JSON).is_file() else []
        for panel in panels(scalars):
            tops[panel.title] = panel.top
            for label, one in panel.lines.items():
                if one.values and panel.title in lines:
                    own = lines[panel.title]
                    colour = ORDER[len(own) % len(ORDER)]
                    own.append(Line(f"{label}, {name}", colour, one.iterations, one.values))
    return [
        Chart(title, "iteration", own, None, (0.0, tops[title] or 0.0) if tops[title] else None)
        for title, own in lines.items()
        if own
    ]


def _headlines() -> set[str]:
    """Return the names of the numbers that stand at the top."""
    return {
        label(f"{metric.task(task)}/{name}")
        for metric in METRICS
        for task in TASKS
        for name in (metric.headline, "AP50")
    }


def _span(changes: Sequence[Change]) -> float:
    """Return the end of an axis around zero that has room for all intervals."""
    return max(abs(end) for one in changes for end in one.interval) or 1.0
