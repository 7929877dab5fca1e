"""The W&B workspace of a project: which panels its page has, and in which order."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from oiv5_d2.files import whole_file
from oiv5_d2.runs.metrics import METRICS, TASKS

STEP = "step"
LOSSES = {
    "all losses": ["total_loss"],
    "box head": ["loss_cls", "loss_box_reg"],
    "mask head": ["loss_mask"],
    "proposals": ["loss_rpn_cls", "loss_rpn_loc"],
    "learning rate": ["lr"],
}
IMAGES = ("validation/images", "validation/worst", "validation/best", "train/images")
SETTINGS = ("d2.SOLVER.BASE_LR", "d2.SOLVER.IMS_PER_BATCH", "d2.SOLVER.MAX_ITER", "d2.SEED")


def build_workspace(
    place: tuple[str, str],
    name: str,
    classes: Sequence[str],
    datasets: Sequence[str],
    metric: str,
) -> Any:
    """Return the workspace, as wandb-workspaces has it.

    Args:
        place: user or team at W&B, and its project.
        name: of the workspace.
        classes: display names, each with its AP.
        datasets: that are evaluated, each with its table of classes.
        metric: by which runs are ordered and compared, such as ``segm/AP``.
    """
    import wandb_workspaces.workspaces as ws  # here, as only this needs it

    sections = [
        ws.Section(name=title, panels=panels, is_open=True)
        for title, panels in (
            ("AP", [_lines(one) for one in _summaries()]),
            ("AP by class", [_lines(*_of_class(one), title=one) for one in classes]),
            ("AP by slice", [_by_slice(what) for what in ("AP", "recall")]),
            ("Losses", [_lines(*keys, title=title) for title, keys in LOSSES.items()]),
            ("Images", [_browser(key) for key in IMAGES]),
            ("Tables", _tables(datasets)),
            ("Comparison of runs", _comparison(metric)),
        )
    ]
    return ws.Workspace(
        entity=place[0],
        project=place[1],
        name=name,
        sections=sections,
        settings=ws.WorkspaceSettings(x_axis=STEP, max_runs=20),
        runset_settings=ws.RunsetSettings(
            order=[ws.Ordering(ws.Summary(metric), ascending=False)],
            pinned_columns=["run:displayName", "run:state", f"summary:{metric}"],
        ),
    )


def write_workspace(path: Path, workspace: Any) -> None:
    """Write what would be sent to W&B as JSON."""
    content = json.loads(workspace._to_model().model_dump_json(by_alias=True, exclude_none=True))
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def _summaries() -> list[str]:
    return [
        f"{metric.task(task)}/{name}"
        for metric in METRICS
        for task in TASKS[::-1]
        for name in metric.summary
    ]


def _of_class(name: str) -> list[str]:
    return [
        f"{metric.task(task)}/{metric.headline}-{name}"
        for metric in METRICS
        for task in TASKS[::-1]
    ]


def _lines(*keys: str, title: str | None = None) -> Any:
    import wandb_workspaces.reports.v2 as wr

    return wr.LinePlot(title=title or keys[0], x=STEP, y=list(keys))


def _by_slice(what: str) -> Any:
    import wandb_workspaces.reports.v2 as wr

    return wr.LinePlot(title=f"{what} by slice", x=STEP, metric_regex=f"^slice/{what}/")


def _browser(key: str) -> Any:
    import wandb_workspaces.reports.v2 as wr

    return wr.MediaBrowser(title=key, media_keys=[key], num_columns=4)


def _tables(datasets: Sequence[str]) -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    names = [
        "validation/table",
        "validation/label_errors",
        *(f"classes/{dataset}" for dataset in datasets),
    ]
    return [wr.WeavePanelSummaryTable(table_name=name) for name in names]


def _comparison(metric: str) -> list[Any]:
    """Return panels for a sweep: settings beside the metric, their importance, a bar a run."""
    import wandb_workspaces.reports.v2 as wr

    columns = [wr.ParallelCoordinatesPlotColumn(wr.Config(key)) for key in SETTINGS]
    last = wr.ParallelCoordinatesPlotColumn(wr.SummaryMetric(metric))
    return [
        wr.ParallelCoordinatesPlot(columns=[*columns, last], title=f"settings and {metric}"),
        wr.ParameterImportancePlot(with_respect_to=metric),
        wr.BarPlot(title=metric, metrics=[metric]),
        wr.RunComparer(diff_only="split"),
    ]
