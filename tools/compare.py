"""Compare two runs on the same images:  python tools/compare.py runs=[outputs/a,outputs/b].

Each number with the interval of the difference and p; slices, changed images, other settings.
Two evaluations of one run, such as with test-time augmentation: give their folders.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from oiv5_d2.console.errors import report_errors
from oiv5_d2.console.help import answer_help
from oiv5_d2.files import whole_file
from oiv5_d2.keys import leaves
from oiv5_d2.problems import Kind, Problem, Remedy, wrong_setting
from oiv5_d2.runs.layout import CONFIG_YAML, EVALUATION, find_evaluation, find_part
from oiv5_d2.runs.results import PREDICTIONS_JSON
from oiv5_d2.table import Table


@hydra.main(version_base="1.3", config_path="../configs", config_name="compare")
def main(run: DictConfig) -> None:
    """Find both runs, compare them, print and write what differs."""
    if not OmegaConf.is_list(run.runs) or len(run.runs) != 2:
        raise wrong_setting("runs", run.runs, "two runs are compared, such as runs=[a,b]")
    dirs, evaluations = zip(*(find_evaluation(Path(one)) for one in run.runs), strict=True)
    content = {"runs": name_both(dirs, evaluations), **compare_runs(dirs, evaluations, run)}
    content["settings"] = other_settings(dirs)
    show(content, run.images)
    if run.output is not None:
        with whole_file(Path(run.output)) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n")
    if run.html:
        write_html(evaluations, content, run.images)


def write_html(evaluations: Sequence[Path], content: dict[str, Any], num_images: int) -> None:
    """Write the page about both and say where it is."""
    from oiv5_d2.reporting.page.comparison import write_comparison_page

    print(write_comparison_page(evaluations, content, Path.cwd(), num_images))


def name_both(dirs: Sequence[Path], evaluations: Sequence[Path]) -> list[str]:
    """Return the runs; their evaluations if these are of one run, or not of the final weights."""
    same = dirs[0] == dirs[1]
    return [
        str(one if same or one.name != EVALUATION else run_dir)
        for run_dir, one in zip(dirs, evaluations, strict=True)
    ]


def compare_runs(
    dirs: Sequence[Path], evaluations: Sequence[Path], run: DictConfig
) -> dict[str, Any]:
    """Return differences, slices and changed images."""
    # Here, so that --help and a mistake on the command line are answered at once.
    from oiv5_d2.evaluation.differences import changed_images, compare, compare_slices
    from oiv5_d2.evaluation.formats import read_predictions
    from oiv5_d2.evaluation.hierarchy import read_above
    from oiv5_d2.evaluation.labels import read_mids
    from oiv5_d2.evaluation.scoring import find_tasks
    from oiv5_d2.evaluation.truth import read_truth

    dataset = find_part(dirs[0], run.part)
    frame = OmegaConf.load(dirs[0] / CONFIG_YAML).INPUT
    truth = read_truth(dataset.json_path, dataset.name)
    truth = replace(truth, frame=(frame.MIN_SIZE_TEST, frame.MAX_SIZE_TEST))
    mids = read_mids(dataset.json_path, None)
    paths = [one / dataset.name / PREDICTIONS_JSON for one in evaluations]
    for path in paths:
        if not path.is_file():
            raise Problem(Kind.ABSENT, path, remedy=Remedy.EVALUATE)
    first, second = (read_predictions(path, truth, mids)[0] for path in paths)
    tasks = [task for task in find_tasks(truth, first) if task in find_tasks(truth, second)]
    pair, names = (first, second), {mid: name for name, mid in mids.items()}
    metrics = compare(truth, pair, read_above(truth, mids, None), tasks, run.resamples)
    sliced = compare_slices(truth, pair, tasks[-1], names, run.resamples)
    return {
        "dataset": dataset.name,
        "differences": [
            one._asdict() | {"is_clear": one.is_clear}
            for one in (*metrics, *sliced)
            if not math.isnan(one.first + one.interval[0])  # nothing of that class to find
        ],
        "images": changed_images(truth, pair, tasks[-1]),
    }


def other_settings(dirs: Sequence[Path]) -> dict[str, list[Any]]:
    """Return both values of each setting of Detectron2 that differs."""
    first, second = (
        dict(leaves(OmegaConf.to_container(OmegaConf.load(one / CONFIG_YAML)))) for one in dirs
    )
    keys = sorted((first.keys() | second.keys()) - {"OUTPUT_DIR"})
    return {k: [first.get(k), second.get(k)] for k in keys if first.get(k) != second.get(k)}


def show(content: dict[str, Any], num_images: int) -> None:
    """Print what differs."""
    from oiv5_d2.console.screen import draw

    rows = [
        (
            one["name"],
            f"{one['first']:.1f}",
            f"{one['second']:.1f}",
            f"{one['second'] - one['first']:+.1f}",
            f"{one['interval'][0]:+.1f} to {one['interval'][1]:+.1f}",
            f"{one['p']:.3f}",
            "yes" if one["is_clear"] else "no",
        )
        for one in content["differences"]
    ]
    columns = ("metric", "first", "second", "change", "95 %", "p", "clear")
    draw(Table(" and ".join(content["runs"]), columns, rows))
    changed = [
        (str(one["image"]), f"{one['first']:.2f}", f"{one['second']:.2f}")
        for one in content["images"][:num_images]
    ]
    if changed:
        draw(Table("Images that changed most (F1)", ("image", "first", "second"), changed))
    settings = [(key, str(a), str(b)) for key, (a, b) in content["settings"].items()]
    if settings:
        draw(Table("Settings that differ", ("setting", "first", "second"), settings, num_names=3))


if __name__ == "__main__":
    answer_help(__doc__, "compare")
    report_errors(main, "compare")
