"""The committed record of a run: ``experiments/<name>/``, a page with its numbers and images.

What is written depends on the run directory alone, so writing it again changes nothing; an
``Answer`` that a person wrote is kept. No absolute path, host or user name gets in.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from omegaconf import OmegaConf

from oiv5_d2.files import whole_file
from oiv5_d2.problems import Kind, Problem, Remedy
from oiv5_d2.reporting.comparison import write_comparison
from oiv5_d2.reporting.curves import write_curves
from oiv5_d2.reporting.reasons import write_reasons
from oiv5_d2.reporting.tables import ap_table, class_table, to_markdown
from oiv5_d2.runs.layout import (
    CONFIG_YAML,
    find_dataset,
    read_evaluations,
    read_predictions,
    read_record,
)
from oiv5_d2.runs.metrics import METRICS, TASKS
from oiv5_d2.runs.results import Results, describe_gaps
from oiv5_d2.runs.scalars import read_scalars, write_evaluated
from oiv5_d2.runs.thresholds import read_thresholds

README, RECORD_JSON, METRICS_CSV = "README.md", "record.json", "metrics.csv"
CURVES, PREDICTIONS = "curves.png", "predictions.jpg"
NO_ANSWER = "*(open: a person writes this line; it is kept when the record is written again)*"
ANSWER = re.compile(r"^- \*\*Answer\*\* (.*)$", re.MULTILINE)
# A slash that begins a path: not one inside a URL, a relative path or a word such as I/O.
ABSOLUTE = re.compile(r"(?<![\w:/.~-])(?:file:/{2})?/[^\s'\",;\])}]*")


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
        raise Problem(Kind.UNFINISHED, run_dir, "never evaluated", remedy=Remedy.EVALUATE)
    if not (run_dir / CONFIG_YAML).is_file():
        raise Problem(Kind.ABSENT, run_dir / CONFIG_YAML, remedy=Remedy.TRAIN)
    scalars = read_scalars(run_dir)
    write_evaluated(scalars, record_dir / METRICS_CSV)
    write_curves(scalars, f"{name}: training", record_dir / CURVES)
    if with_images:
        _write_predictions(run_dir, evaluations[0].dataset, record["name"], record_dir)
    reasons = write_reasons(evaluations[0], f"{name} on {evaluations[0].dataset}", record_dir)
    config = OmegaConf.to_container(OmegaConf.load(run_dir / CONFIG_YAML))
    page = shorten(describe_run(run_dir, record, name, evaluations), root)
    content = {**page, "results": _headline(evaluations)}
    texts = {
        CONFIG_YAML: OmegaConf.to_yaml(shorten(config, root), sort_keys=True),
        RECORD_JSON: json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n",
        README: _to_markdown(page, evaluations, reasons, record_dir),
    }
    for file_name, text in texts.items():
        with whole_file(record_dir / file_name) as temporary:
            temporary.write_text(text)
    return record_dir


def describe_run(
    run_dir: Path, record: Mapping[str, Any], name: str, evaluations: Sequence[Results]
) -> dict[str, Any]:
    """Return what ``record.json`` and its page say about how a run was made, as JSON has it."""
    git = record["git"]
    changed = ", with uncommitted changes" if git["dirty"] else ""
    return {
        "name": name,
        "question": record["question"] or "(none was stated)",
        "command": record["command"],
        "code": f"{git['commit']}{changed}" if git["commit"] else "not in a git checkout",
        "data": _describe_data(record, evaluations),
        "machine": _describe_machine(record),
        "hours": round(record["seconds"] / 3600, 2),
        "seed": record["seed"],
        "wandb": _describe_wandb(run_dir),
    }


def read_answer(readme_path: Path) -> str:
    """Return the answer that a person wrote into a record, or the request to write one."""
    found = ANSWER.search(readme_path.read_text()) if readme_path.is_file() else None
    return found.group(1) if found else NO_ANSWER


def _describe_data(record: Mapping[str, Any], evaluations: Sequence[Results]) -> list[str]:
    facts = {
        name: (files["sha256"], files["num_images"], files["num_instances"])
        for name, files in record["data"].items()
    }
    for one in evaluations:
        numbers = (one.sha256, one.num_images, sum(one.num_instances.values()))
        facts.setdefault(one.dataset, numbers)
    return [
        f"{name} sha256 {sha256[:12]}, {num_images:,} images, {num_instances:,} instances"
        for name, (sha256, num_images, num_instances) in facts.items()
    ]


def _describe_machine(record: Mapping[str, Any]) -> str:
    hardware, packages = record["hardware"], record["packages"]
    gpus = hardware["gpus"]
    chips = (
        f"{len(gpus)} x {gpus[0]}" if gpus else f"{hardware['cores']} cores of {hardware['cpu']}"
    )
    known = [name for name in ("torch", "detectron2", "python") if name in packages]
    versions = ", ".join(f"{name} {packages[name]}" for name in known)
    return f"{chips}; {versions}"


def _describe_wandb(run_dir: Path) -> str:
    """Name the W&B run by its folder: ``offline-run-<time>-<id>`` or ``run-<time>-<id>``."""
    folders = sorted(path.name for path in (run_dir / "wandb").glob("*run-*-*"))
    if not folders:
        return "none"
    kind = "offline run" if folders[-1].startswith("offline-") else "run"
    return f"{kind} {folders[-1].rsplit('-', 1)[-1]}"


def _write_predictions(run_dir: Path, dataset: str, name: str, record_dir: Path) -> None:
    part, found = find_dataset(run_dir, dataset), read_predictions(run_dir, dataset)
    least, path = read_thresholds(run_dir), record_dir / PREDICTIONS
    write_comparison(part, found, least, f"{name} on {dataset}", path)


def _headline(evaluations: Sequence[Results]) -> dict[str, dict[str, float | None]]:
    """Return each data set's AP and AP50, for the table of all experiments."""
    keys = [
        (metric.task(task), name)
        for metric in METRICS
        for task in TASKS
        for name in metric.per_class
    ]
    return {
        one.dataset: {
            f"{task}/{name}": None if math.isnan(one.tasks[task][name]) else one.tasks[task][name]
            for task, name in keys
            if task in one.tasks
        }
        for one in evaluations
    }


def _to_markdown(
    page: Mapping[str, Any],
    evaluations: Sequence[Results],
    reasons: Sequence[str],
    record_dir: Path,
) -> str:
    blocks = [
        f"# {page['name']}",
        _list_facts(page, read_answer(record_dir / README)),
        "Average precision, 0 to 100, over IoU 0.50 to 0.95 unless a threshold is named.",
        to_markdown(ap_table(evaluations)),
        to_markdown(class_table(evaluations)),
        *_about_intervals(evaluations),
        *(note for one in evaluations for note in describe_gaps(one)),
    ]
    if (record_dir / PREDICTIONS).is_file():
        blocks.append(f"![Truth and prediction: best, typical and worst images]({PREDICTIONS})")
    blocks += [
        *reasons,
        "## How it was trained and measured",
        f"![Losses, learning rate and precision over iterations]({CURVES})",
        *_describe_protocols(evaluations[0]),
        f"The whole configuration is in [{CONFIG_YAML}]({CONFIG_YAML}), every evaluation in "
        f"[{METRICS_CSV}]({METRICS_CSV}).\n",
    ]
    return "\n\n".join(blocks)


def _list_facts(page: Mapping[str, Any], answer: str) -> str:
    facts = {
        "Question": page["question"],
        "Answer": answer,
        "Run": f"`{page['command']}`",
        "Code": page["code"],
        "Data": "; ".join(page["data"]),
        "On": f"{page['machine']}; {page['hours']:.2f} h; seed {page['seed']}",
        "W&B": page["wandb"],
    }
    return "\n".join(f"- **{name}** {fact}" for name, fact in facts.items())


def _about_intervals(evaluations: Sequence[Results]) -> list[str]:
    if not any(one.intervals for one in evaluations):
        return []
    return ["95 %: the interval of the number before it, from resamples of the images (bootstrap)."]


def _describe_protocols(results: Results) -> list[str]:
    """Return a list of what each metric measures and where it departs from the official one."""
    lines = []
    for one in results.protocols.values():
        lines.append(f"- {one.protocol}.")
        lines += [f"  - Here: {deviation}." for deviation in one.deviations]
    return ["\n".join(lines)] if lines else []


def shorten(value: Any, root: Path) -> Any:
    """Return nested mappings and lists in which no text has an absolute path.

    Paths below `root` are made relative, others cut to their last name.
    """
    if isinstance(value, str):
        relative = value.replace(f"{root}/", "").replace(str(root), ".")
        return ABSOLUTE.sub(lambda found: PurePosixPath(found.group()).name or "/", relative)
    if isinstance(value, Mapping):
        return {key: shorten(one, root) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [shorten(one, root) for one in value]
    return value
