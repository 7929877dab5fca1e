"""What an audit found, image by image."""

import operator
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from oiv5_d2.exploring.truth import Part
from oiv5_d2.files import read_json
from oiv5_d2.problems import Remedy

AUDIT_JSON = "audit.json"
NOTHING = "no annotation"
TINY = "tiny mask"
# The audit keeps the ten worst masks of these figures; those beyond the limit are findings.
WORST = {
    "mask far from its box": ("mask_box_iou", "poor_below", operator.lt),
    "mask outside its box": ("outside_box", "far_above", operator.gt),
}
LEAKS = {
    "same id in another part": "same_id",
    "same bytes in another part": "same_bytes",
    "same bytes as another image": "copies",
}


class Finding(NamedTuple):
    """Where something was found.

    Attributes:
        images: (I,) bool.
        rows: (N,) bool, of the annotations; none if it is about the whole image.
    """

    images: NDArray[np.bool_]
    rows: NDArray[np.bool_]


def read_findings(part: Part) -> dict[str, Finding]:
    """Return what the audit of the data folder found in a part, and images without annotation.

    Raises:
        Problem: DAMAGED, the audit's file.
    """
    path = part.coco_path.parents[1] / AUDIT_JSON
    report = read_json(path, Remedy.PREPARE_AGAIN) if path.is_file() else {}
    figures = report.get("parts", {}).get(part.name, {})
    found = {NOTHING: _of_images(part, np.diff(part.truth.starts) == 0)}
    found |= {kind: _of_names(part, ids) for kind, ids in _named(part, report, figures)}
    for kind, (key, limit, is_beyond) in WORST.items():
        about = figures.get(key, {"worst": ()})
        ids = [o["annotation_id"] for o in about["worst"] if is_beyond(o["value"], about[limit])]
        found[kind] = _of_rows(part, np.isin(part.truth.ids, ids))
    if "tiny" in figures:
        found[TINY] = _of_rows(part, _is_tiny(part, figures["tiny"]))
    return {kind: one for kind, one in found.items() if one.images.any()}


def _named(
    part: Part, report: Mapping[str, Any], figures: Mapping[str, Any]
) -> Iterator[tuple[str, list[str]]]:
    """Yield a kind and the Open Images ids of its images."""
    images = figures.get("images", {})
    for kind, entries in images.get("faults", {}).items():
        yield f"image file: {kind}", [one["open_images_id"] for one in entries]
    odd = images.get("other_shape", ())
    yield "other shape than its masks", [one["open_images_id"] for one in odd]
    for kind, key in LEAKS.items():
        groups = report.get("leakage", {}).get(key, ())
        yield kind, [id_ for group in groups for name, id_ in group if name == part.name]


def _is_tiny(part: Part, limits: Mapping[str, float]) -> NDArray[np.bool_]:
    truth = part.truth
    whole = part.sizes[truth.image].prod(axis=1)
    share = truth.areas < limits["below_share"] * whole
    tiny: NDArray[np.bool_] = (truth.areas < limits["below_pixels"]) | share
    return tiny & ~truth.has("ignored")


def _of_names(part: Part, ids: list[str]) -> Finding:
    wanted = np.array([id_.encode() for id_ in ids], dtype=np.bytes_)
    return _of_images(part, np.isin(part.open_images_ids, wanted))


def _of_images(part: Part, images: NDArray[np.bool_]) -> Finding:
    return Finding(images, np.zeros(len(part.truth.image), dtype=np.bool_))


def _of_rows(part: Part, rows: NDArray[np.bool_]) -> Finding:
    images = np.zeros(len(part), dtype=np.bool_)
    images[part.truth.image[rows]] = True
    return Finding(images, rows)
