"""Measures prepared data before any time is spent on training.

``audit`` writes ``audit.json``: the images, objects, sizes and boxes of each part, images that
several parts share, and findings with a severity and a remedy each. The same data gives the same
bytes.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from oiv5_d2.acquisition.manifest import MANIFEST_CSV, State, read_manifest
from oiv5_d2.audit import measure
from oiv5_d2.audit.adopted import is_adopted, measure_adopted
from oiv5_d2.audit.figures import AUDIT_JSON, Measured, describe
from oiv5_d2.audit.findings import find
from oiv5_d2.conversion import coco_file
from oiv5_d2.conversion.convert import coco_path, read_converted
from oiv5_d2.conversion.image_store import Images, find_images
from oiv5_d2.files import whole_file
from oiv5_d2.problems import Kind, Problem, Remedy
from oiv5_d2.selection.subset import load


def audit(
    data_dir: Path,
    parts: Sequence[str],
    train_parts: Sequence[str] = (),
    workers: int = 1,
    advance: Callable[[int], object] = lambda num_images: None,
) -> dict[str, Any]:
    """Measure converted parts, write ``audit.json`` and return it.

    Args:
        data_dir: a folder that has been converted.
        parts: their names.
        train_parts: the parts for training: a sampler is recommended for them and more is required
            of them; the first part if none is named.
        workers: the most processes to use; the result does not depend on it.
        advance: called with the number of images newly decoded.

    Raises:
        Problem: ABSENT, a part has not been converted; DAMAGED, a file is.
    """
    train_parts = tuple(train_parts) or tuple(parts[:1])
    seen = {part: _measure(data_dir, part, workers, advance) for part in parts}
    report: dict[str, Any] = {
        "classes": list(seen[parts[0]].subset.classes),
        "train_parts": list(train_parts),
        "parts": {part: describe(each) for part, each in seen.items()},
        "leakage": measure.find_leaks({part: each.files for part, each in seen.items()}),
    }
    report["findings"] = [finding._asdict() for finding in find(report, seen)]
    text = json.dumps(report, indent=2, allow_nan=False)
    with whole_file(data_dir / AUDIT_JSON) as temporary:
        temporary.write_text(text + "\n", encoding="ascii")
    return report


def checks_version() -> str:
    """Return a hash of this room's code, so that an audit is made anew when a check changes."""
    modules = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in modules)).hexdigest()[:16]


def read_audit(data_dir: Path) -> dict[str, Any]:
    """Read what `audit` wrote.

    Raises:
        Problem: ABSENT, the folder has not been audited; DAMAGED, the file is.
    """
    path = data_dir / AUDIT_JSON
    if not path.exists():
        raise Problem(Kind.ABSENT, path, remedy=Remedy.PREPARE)
    try:
        report: dict[str, Any] = json.loads(path.read_text(encoding="ascii"))
    except json.JSONDecodeError as error:
        raise Problem(Kind.DAMAGED, path, str(error), remedy=Remedy.PREPARE_AGAIN) from error
    return report


def _with_causes(
    left_out: tuple[dict[str, str], ...], data_dir: Path
) -> tuple[dict[str, str], ...]:
    """Say of images that are missing on the disk if it is because what came was damaged."""
    path = data_dir / MANIFEST_CSV
    if not left_out or not path.exists():
        return left_out
    rows = read_manifest(path)
    corrupt = rows[rows["State"] == State.CORRUPT]
    ids = corrupt["Path"].str.removesuffix(".jpg")
    reasons = dict(zip(ids, "damaged: " + corrupt["Detail"], strict=True))
    return tuple(
        {**entry, "reason": reasons.get(entry["open_images_id"], entry["reason"])}
        if entry["reason"] == "missing"
        else entry
        for entry in left_out
    )


def _measure(data_dir: Path, part: str, workers: int, advance: Callable[[int], object]) -> Measured:
    path = coco_path(data_dir, part)
    source = _images(path, data_dir / "images")
    if is_adopted(path):
        return measure_adopted(path, source, workers, advance)
    converted, subset = read_converted(path), load(data_dir / "subset", part)
    converted = replace(converted, left_out=_with_causes(converted.left_out, data_dir))
    images = measure.read_images(path)
    return Measured(
        subset=subset,
        converted=converted,
        images=images,
        objects=measure.measure_objects(path, images, measure.released_boxes(subset)),
        files=measure.inspect_images(images, source, workers, advance),
    )


def _images(path: Path, folder: Path) -> Images:
    """Return a part's images as files, which may be damaged; those of its pack if there are none.

    The pack is made from these files, so it says nothing about them.
    """
    first, loose = next(coco_file.read_records(path, "images"), None), Images(folder)
    return loose if first and first["file_name"] in loose else find_images(path, folder)
