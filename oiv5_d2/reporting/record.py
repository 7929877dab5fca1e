"""The committed record of a run: ``experiments/<name>/``, a page with its numbers and images.

What is written depends on the run directory alone, so writing it again changes nothing; an
``Answer`` that a person wrote is kept. No absolute path, host or user name gets in.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from oiv5_d2.drawing.sheets import lay_out
from oiv5_d2.files import whole_file
from oiv5_d2.problems import Kind, Problem, Remedy
from oiv5_d2.reporting.comparison import choose_examples, compare, comparison_sheet, score_images
from oiv5_d2.reporting.curves import write_curves
from oiv5_d2.reporting.gallery import open_part, write_jpeg
from oiv5_d2.reporting.tables import ap_table, class_table, to_markdown
from oiv5_d2.reporting.truth import read_images
from oiv5_d2.runs.layout import (
    CONFIG_YAML,
    find_dataset,
    read_evaluations,
    read_predictions,
    read_record,
)
from oiv5_d2.runs.results import Results, describe_gaps
from oiv5_d2.runs.scalars import read_scalars, write_evaluated

README, RECORD_JSON, METRICS_CSV = "README.md", "record.json", "metrics.csv"
CURVES, PREDICTIONS = "curves.png", "predictions.jpg"
PREDICTIONS_BYTES = 500_000  # it is committed
PAIRS_OF_A_KIND, PAIRS_IN_A_ROW = 2, 2
NO_ANSWER = "*(open: a person writes this line; it is kept when the record is written again)*"
ANSWER = re.compile(r"^- \*\*Answer\*\* (.*)$", re.MULTILINE)
# A slash that begins a path: not one inside a URL, a relative path or a word such as I/O.
ABSOLUTE = re.compile(r"(?<![\w:/.~-])(?:file:/{2})?/[^\s'\",;\])}]*")


class Page(NamedTuple):
    """The facts on a record's page, which are also in ``record.json``.

    Attributes:
        name: of the experiment.
        question: the question that it answers.
        command: the command that ran it.
        code: the commit, and if files differed from it.
        data: a line per data set: name, sha256, numbers.
        machine: hardware and library versions.
        hours: from start to end.
        seed: of the run.
        wandb: the W&B run, or "none".
    """

    name: str
    question: str
    command: str
    code: str
    data: list[str]
    machine: str
    hours: float
    seed: int
    wandb: str


def write_record(
    run_dir: Path, experiments_dir: Path, root: Path, name: str | None, with_images: bool
) -> Path:
    """Write a finished run's record and return its folder.

    Args:
        run_dir: the run.
        experiments_dir: where the records are; ``<name>/`` below it is written.
        root: the project's folder; paths in the record are relative to it.
        name: the record's; None for the run's own.
        with_images: draw predictions beside the truth, which needs the data.

    Raises:
        Problem: UNFINISHED, the run was never evaluated; ABSENT or DAMAGED, a file of the run or
            of its data.
    """
    record = read_record(run_dir)
    name = name or record["name"]
    record_dir = experiments_dir / name
    evaluations = read_evaluations(run_dir)
    if not evaluations:
        detail = "never evaluated"
        raise Problem(Kind.UNFINISHED, run_dir, detail, remedy=Remedy.EVALUATE)
    scalars = read_scalars(run_dir)
    write_evaluated(scalars, record_dir / METRICS_CSV)
    write_curves(scalars, f"{name}: training", record_dir / CURVES)
    _write_config(run_dir / CONFIG_YAML, record_dir / CONFIG_YAML, root)
    if with_images:
        _write_predictions(run_dir, record, evaluations[0].dataset, record_dir / PREDICTIONS)
    page = shorten_all(describe_run(run_dir, record, name, evaluations)._asdict(), root)
    _write_json({**page, "results": _headline(evaluations)}, record_dir / RECORD_JSON)
    _write_readme(Page(**page), evaluations, record_dir)
    return record_dir


def describe_run(
    run_dir: Path, record: Mapping[str, Any], name: str, evaluations: Sequence[Results]
) -> Page:
    """Gather what a record says about how its run was made."""
    git = record["git"]
    changed = ", with uncommitted changes" if git["dirty"] else ""
    return Page(
        name=name,
        question=record["question"] or "(none was stated)",
        command=record["command"],
        code=f"{git['commit']}{changed}" if git["commit"] else "not in a git checkout",
        data=_describe_data(record, evaluations),
        machine=_describe_machine(record),
        hours=round(record["seconds"] / 3600, 2),
        seed=record["seed"],
        wandb=_describe_wandb(run_dir),
    )


def read_answer(readme_path: Path) -> str:
    """Return the answer that a person wrote into a record, or the request to write one."""
    if not readme_path.is_file():
        return NO_ANSWER
    found = ANSWER.search(readme_path.read_text())
    return found.group(1) if found else NO_ANSWER


def _describe_data(record: Mapping[str, Any], evaluations: Sequence[Results]) -> list[str]:
    lines = [
        f"{name} sha256 {files['sha256'][:12]}, {files['num_images']:,} images, "
        f"{files['num_instances']:,} instances"
        for name, files in record["data"].items()
    ]
    for one in evaluations:
        if one.dataset not in record["data"]:
            total = sum(one.num_instances.values())
            lines.append(
                f"{one.dataset} sha256 {one.sha256[:12]}, {one.num_images:,} images, "
                f"{total:,} instances"
            )
    return lines


def _describe_machine(record: Mapping[str, Any]) -> str:
    hardware, packages = record["hardware"], record["packages"]
    gpus = hardware["gpus"]
    chips = (
        f"{len(gpus)} x {gpus[0]}" if gpus else f"{hardware['cores']} cores of {hardware['cpu']}"
    )
    versions = ", ".join(
        f"{name} {packages[name]}" for name in ("torch", "detectron2", "python") if name in packages
    )
    return f"{chips}; {versions}"


def _describe_wandb(run_dir: Path) -> str:
    """Name the W&B run by its folder: ``offline-run-<time>-<id>`` or ``run-<time>-<id>``."""
    folders = sorted(path.name for path in (run_dir / "wandb").glob("*run-*-*"))
    if not folders:
        return "none"
    kind = "offline run" if folders[-1].startswith("offline-") else "run"
    return f"{kind} {folders[-1].rsplit('-', 1)[-1]}"


def _headline(evaluations: Sequence[Results]) -> dict[str, dict[str, float | None]]:
    """Return each data set's AP and AP50, for the table of all experiments."""
    return {
        one.dataset: {
            f"{task}/{metric}": None if math.isnan(metrics[metric]) else metrics[metric]
            for task, metrics in one.tasks.items()
            for metric in ("AP", "AP50")
        }
        for one in evaluations
    }


def _write_config(source: Path, target: Path, root: Path) -> None:
    if not source.is_file():
        raise Problem(Kind.ABSENT, source, remedy=Remedy.TRAIN)
    config = shorten_all(OmegaConf.to_container(OmegaConf.load(source)), root)
    with whole_file(target) as temporary:
        temporary.write_text(OmegaConf.to_yaml(OmegaConf.create(config), sort_keys=True))


def _write_json(content: Mapping[str, Any], path: Path) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(
            json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
        )


def _write_predictions(
    run_dir: Path, record: Mapping[str, Any], dataset_name: str, path: Path
) -> None:
    part = open_part(find_dataset(run_dir, dataset_name))
    images = read_images(part.coco_path, part.overview.traits)
    scored = score_images(images, read_predictions(run_dir, dataset_name))
    examples = choose_examples(scored, PAIRS_OF_A_KIND)
    sheet = comparison_sheet(part, f"{record['name']} on {dataset_name}", PAIRS_IN_A_ROW)
    write_jpeg(path, lay_out(sheet, compare(part, examples)), PREDICTIONS_BYTES)


def _write_readme(page: Page, evaluations: Sequence[Results], record_dir: Path) -> None:
    path = record_dir / README
    facts = {
        "Question": page.question,
        "Answer": read_answer(path),
        "Run": f"`{page.command}`",
        "Code": page.code,
        "Data": "; ".join(page.data),
        "On": f"{page.machine}; {_duration(page.hours)}; seed {page.seed}",
        "W&B": page.wandb,
    }
    notes = [note for one in evaluations for note in describe_gaps(one)]
    blocks = [
        f"# {page.name}",
        "\n".join(f"- **{name}** {fact}" for name, fact in facts.items()),
        "Average precision, 0 to 100, over IoU 0.50 to 0.95 unless a threshold is named.",
        to_markdown(ap_table(evaluations)),
        to_markdown(class_table(evaluations)),
        *notes,
        f"![Losses, learning rate and precision over iterations]({CURVES})",
        *(
            [f"![Truth and prediction: best, typical and worst images]({PREDICTIONS})"]
            if (record_dir / PREDICTIONS).is_file()
            else []
        ),
        f"The whole configuration is in [{CONFIG_YAML}]({CONFIG_YAML}), every evaluation in "
        f"[{METRICS_CSV}]({METRICS_CSV}).",
    ]
    with whole_file(path) as temporary:
        temporary.write_text("\n\n".join(blocks) + "\n")


def _duration(hours: float) -> str:
    return f"{hours:.2f} h"


def shorten_paths(text: str, root: Path) -> str:
    """Return `text` with paths below `root` made relative and other absolute ones cut to a name."""
    relative = text.replace(f"{root}/", "").replace(str(root), ".")
    return ABSOLUTE.sub(lambda found: PurePosixPath(found.group()).name or "/", relative)


def shorten_all(value: Any, root: Path) -> Any:
    """Return nested mappings and lists with `shorten_paths` done to every string in them."""
    if isinstance(value, str):
        return shorten_paths(value, root)
    if isinstance(value, Mapping):
        return {key: shorten_all(one, root) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [shorten_all(one, root) for one in value]
    return value
