"""Data, models and predictions as W&B's artifacts: what a run was made from, and what it made."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from oiv5_d2.runs.layout import FINAL_WEIGHTS
from oiv5_d2.runs.prepared import Prepared
from oiv5_d2.runs.privacy import public
from oiv5_d2.runs.results import PREDICTIONS_JSON, RESULTS_JSON
from oiv5_d2.training.checkpoints import BEST_WEIGHTS, read, write
from oiv5_d2.training.writers.settings import BEST, FILES, LAST, About, Send

COPIES = "wandb/models"  # in the run directory
WEIGHTS = {BEST: BEST_WEIGHTS, LAST: FINAL_WEIGHTS}


def use_dataset(run: Any, dataset: Prepared, about: About, kind: str) -> None:
    """Say at W&B that the run learns from a data set.

    Its version is its COCO file's checksum: runs on the same data point to the same one.

    Args:
        run: W&B's.
        dataset: prepared.
        about: the run.
        kind: ``facts``: counts and checksum; ``files``: the COCO file and all images, too.
    """
    import wandb

    facts = {
        **_without_places(about.config["run"]["data"][dataset.name]),
        "classes": list(about.classes),
    }
    artifact = wandb.Artifact(dataset.name, type="dataset", metadata=facts)
    with artifact.new_file("dataset.json") as file:
        json.dump(facts, file, indent=2, sort_keys=True)
    if kind == FILES:
        artifact.add_file(str(dataset.json_path), policy="immutable")
        _add_images(artifact, dataset)
    # `use_artifact` of a new one, but it asks the server and so cannot be called offline.
    run._log_artifact(artifact, aliases=[], is_user_created=True, use_after_commit=True)


def _add_images(artifact: Any, dataset: Prepared) -> None:
    pack = dataset.images.pack
    if pack is None:
        artifact.add_dir(str(dataset.images_dir), name="images", policy="immutable")
        return
    for name in (pack.path.name, *([] if pack.is_remote else pack.shards)):
        path = pack.path.with_name(name)
        artifact.add_file(str(path), name=f"{path.parent.name}/{name}", policy="immutable")


def find_models(run_dir: Path, wanted: Mapping[str, str]) -> Iterator[tuple[Path, list[str]]]:
    """Yield the files of the wanted models, each once, with all that it is."""
    paths = {name: run_dir / file for name, file in wanted.items() if (run_dir / file).is_file()}
    for path in dict.fromkeys(paths.values()):
        same = [name for name, one in paths.items() if os.path.samefile(one, path)]
        if path == paths[same[0]]:
            yield path, same


def log_models(run: Any, about: About, send: Send, results: Mapping[str, Any]) -> None:
    """Log weights with classes, configuration and metrics; those that are best and last, once.

    A checkpoint itself names folders, and has the optimizer. What is sent is a copy without.
    """
    import wandb

    for path, aliases in find_models(about.run_dir, {name: WEIGHTS[name] for name in send.models}):
        content = read(path, lazily=True)
        of_run = public(content.get("run", {}), send.machine)
        copy = about.run_dir / COPIES / path.name
        write(copy, {"model": content["model"], "run": of_run})
        metadata = {"classes": list(about.classes), "metrics": results, "config": about.config}
        artifact = wandb.Artifact(f"model-{run.id}", type="model", metadata=metadata)
        artifact.add_file(str(copy), policy="immutable")  # from where it lies
        for name, value in {"classes": list(about.classes), "config": about.config}.items():
            with artifact.new_file(f"{name}.json") as file:
                json.dump(value, file)
        run.log_artifact(artifact, aliases=aliases)


def log_predictions(run: Any, folder: Path, dataset_name: str) -> None:
    """Log the detections and results of the last evaluation of a data set."""
    import wandb

    artifact = wandb.Artifact(f"predictions-{run.id}-{dataset_name}", type="predictions")
    for name in (PREDICTIONS_JSON, RESULTS_JSON):
        artifact.add_file(str(folder / name), policy="mutable")
    run.log_artifact(artifact)


def count_bytes(about: About, names: Sequence[str]) -> int:
    """Return the size of the checkpoints whose weights are sent."""
    models = find_models(about.run_dir, {name: WEIGHTS[name] for name in names})
    return sum(path.stat().st_size for path, _ in models)


def _without_places(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if key not in ("json", "images")}
