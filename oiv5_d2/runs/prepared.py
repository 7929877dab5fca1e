"""Prepared data sets: found by name, and told apart by their bytes."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple


class Prepared(NamedTuple):
    """One prepared data set."""

    name: str
    json_path: Path
    images_dir: Path


def locate(
    data_name: str, data_dir: Path, dataset_names: Iterable[str], make: str
) -> list[Prepared]:
    """Find the prepared files of data sets called ``{data_name}_{part}``.

    Args:
        data_name: the data set family, ``data.name`` in the config.
        data_dir: where ``tools/prepare_data.py`` wrote it.
        dataset_names: as in ``DATASETS.TRAIN`` and ``DATASETS.TEST``.
        make: the command that prepares the data, for the error.

    Raises:
        FileNotFoundError: one is not prepared; the message is the command that does it.
        ValueError: a name that is not of this family.
    """
    found = []
    for name in dict.fromkeys(dataset_names):
        if not name.startswith(f"{data_name}_"):
            raise ValueError(
                f"data set {name!r} is not a part of data.name={data_name}: "
                f"d2.DATASETS takes names like {data_name}_train"
            )
        part = name.removeprefix(f"{data_name}_")
        json_path = data_dir / "coco" / f"{part}.json"
        if not json_path.is_file():
            raise FileNotFoundError(
                f"data set {name} is not prepared: {json_path} is absent. Make it with:  {make}"
            )
        found.append(Prepared(name, json_path, data_dir / "images"))
    return found


def fingerprint(dataset: Prepared) -> dict[str, Any]:
    """Return what tells which data this was: sha256, numbers of images and objects."""
    content = dataset.json_path.read_bytes()
    coco = json.loads(content)
    return {
        "json": str(dataset.json_path),
        "images": str(dataset.images_dir),
        "sha256": hashlib.sha256(content).hexdigest(),
        "num_images": len(coco["images"]),
        "num_instances": sum(not a["iscrowd"] for a in coco["annotations"]),
        "num_ignored": sum(a["iscrowd"] for a in coco["annotations"]),
    }


def read_coco(json_path: Path) -> dict[str, Any]:
    """Read a COCO file.

    Raises:
        ValueError: it is no JSON (half a file of another tool, say).
    """
    try:
        content: dict[str, Any] = json.loads(json_path.read_bytes())
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{json_path} is no readable JSON ({error}): prepare the data again"
        ) from error
    return content
