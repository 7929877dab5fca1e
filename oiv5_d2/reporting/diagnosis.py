"""Why a model fails, as pictures: confusion, what errors cost, curves and calibration by class."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from oiv5_d2.drawing.colours import PAPER, colours_of, on_paper, to_hex
from oiv5_d2.evaluation.errors import WORDS
from oiv5_d2.reporting.curves import STYLE, save_png

Analysis = Mapping[str, Any]  # of `Results`

LIGHT_BLUE = "#7ab6fb"  # of the palette's blue, half on white
SHADES = LinearSegmentedColormap.from_list("shades", [to_hex(PAPER), LIGHT_BLUE])
NUM_WRITTEN = 20  # classes; the counts of more are not legible
LEAST_IN_BIN = 5  # detections; the share of fewer is noise
GUIDE = "#c8ccd0"
SQUARE: dict[str, Any] = {"xlim": (0, 1.02), "ylim": (0, 1.02), "aspect": "equal"}


def write_confusion(analysis: Analysis, title: str, path: Path) -> None:
    """Draw which class was taken for which, and what each kind of error costs, as a PNG."""
    with matplotlib.rc_context(STYLE):
        figure = _figure(title, 4.3)
        matrix, costs = figure.subplots(1, 2, width_ratios=(1.2, 1), gridspec_kw={"wspace": 0.08})
        _draw_confusion(matrix, analysis["confusion"])
        _draw_costs(costs, analysis["errors"])
        save_png(figure, path)


def write_precision(analysis: Analysis, title: str, path: Path) -> None:
    """Draw precision over recall, F1 over score, and the calibration of each class, as a PNG."""
    colours = colours_of(analysis["confusion"]["classes"])
    with matplotlib.rc_context(STYLE):
        figure = _figure(title, 4.1)
        recall, f1, calibration = figure.subplots(1, 3)
        recall.set(title="Precision over recall", xlabel="recall", ylabel="precision", **SQUARE)
        f1.set(title="F1, best at the threshold", xlabel="least score", ylabel="F1", **SQUARE)
        calibration.set(title="Calibration", xlabel="score", ylabel="share that is true", **SQUARE)
        calibration.plot([0, 1], [0, 1], color=GUIDE, linewidth=1)
        for name, one in analysis["classes"].items():
            colour = to_hex(on_paper(colours[name]))
            _draw_recall(recall, one, colour)
            _draw_f1(f1, one, colour)
            _draw_calibration(calibration, one, colour)
        handles = [line for line in recall.lines if line.get_linestyle() == "-"]
        figure.legend(
            handles, list(analysis["classes"]), loc="outside lower center", ncols=6, fontsize=9
        )
        save_png(figure, path)


def _figure(title: str, height: float) -> Figure:
    figure = Figure(figsize=(10, height), dpi=110, layout="constrained")
    figure.suptitle(title, x=0.008, ha="left", fontsize=13, fontweight="bold")
    return figure


def _draw_confusion(axes: Axes, confusion: Mapping[str, Any]) -> None:
    """Draw the counts, shaded by their share of the row."""
    counts = np.array(confusion["counts"])
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    axes.imshow(shares, cmap=SHADES, vmin=0, vmax=1, aspect="auto")
    names = confusion["classes"]
    axes.set_title("Objects by class (rows), and what they were found as")
    axes.set_xticks(range(len(counts)), [*names, "missed"])
    axes.set_yticks(range(len(counts)), [*names, "nothing"])
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    if len(names) > NUM_WRITTEN:
        axes.tick_params(axis="x", rotation=90)
        return
    for (row, column), count in np.ndenumerate(counts):
        if (row, column) == (len(names), len(names)):  # nothing that is found as nothing
            continue
        ink = STYLE["text.color" if count else "axes.labelcolor"]
        axes.text(column, row, f"{count:,}", ha="center", va="center", color=ink)


def _draw_costs(axes: Axes, errors: Mapping[str, Mapping[str, float | None]]) -> None:
    """Draw the AP50 that fixing each kind of error would add, and how many there are."""
    names = [name for name in WORDS if name in errors]
    costs = [max(0.0, errors[name]["AP50"] or 0.0) for name in names]
    bars = axes.barh([WORDS[name] for name in names], costs, color=LIGHT_BLUE, height=0.6)
    labels = [f"{cost:.1f}  ({errors[n]['count']:,})" for n, cost in zip(names, costs, strict=True)]
    axes.bar_label(bars, labels, padding=4)
    axes.set_title("AP50 that each kind of error costs (number)")
    axes.set_xlim(0, 1.3 * max([1.0, *costs]))
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set_axisbelow(True)


def _draw_recall(axes: Axes, one: Mapping[str, Any], colour: str) -> None:
    recalls = np.linspace(0, 1, len(one["precision_at_recall"]))
    axes.plot(recalls, one["precision_at_recall"], color=colour)
    axes.plot(one["recall"], one["precision"], "o", color=colour)


def _draw_f1(axes: Axes, one: Mapping[str, Any], colour: str) -> None:
    curves = one["curves"]
    axes.plot(curves["score"], [np.nan if v is None else v for v in curves["f1"]], color=colour)
    if one["threshold"] is not None:
        axes.plot(one["threshold"], one["best_f1"], "o", color=colour)


def _draw_calibration(axes: Axes, one: Mapping[str, Any], colour: str) -> None:
    """Draw the bins with enough detections; a line joins those that are next to each other."""
    bins = np.array(one["bins"], dtype=np.float64)
    bins[bins[:, 0] < LEAST_IN_BIN] = np.nan
    axes.plot(bins[:, 1], bins[:, 2], "o-", color=colour)
