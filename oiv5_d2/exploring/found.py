"""What a run found on one part, and what of it is true."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oiv5_d2.evaluation import detections as evaluated
from oiv5_d2.evaluation.errors import KINDS, find_errors
from oiv5_d2.evaluation.formats import read_predictions
from oiv5_d2.evaluation.labels import read_mids
from oiv5_d2.evaluation.matching import find_candidates
from oiv5_d2.evaluation.rankings import FALSE, TRUE
from oiv5_d2.evaluation.scoring import find_tasks
from oiv5_d2.evaluation.truth import Truth
from oiv5_d2.exploring.layers import Detections, masks_of, starts_of
from oiv5_d2.exploring.store import Store, fingerprint, open_store, save
from oiv5_d2.exploring.truth import Part, to_truth
from oiv5_d2.jobs import Show
from oiv5_d2.runs.layout import EVALUATION
from oiv5_d2.runs.results import PREDICTIONS_JSON

OUTCOMES = ("right", "ignored", *KINDS)  # of a detection
LEAST_SCORE = 0.05  # of what is kept: below it, there is mostly noise
PIECE = 4000  # images that are matched at a time


def predictions_path(run_dir: Path, dataset: str) -> Path:
    """Return the file of a run's detections on a data set, which may not be there."""
    return run_dir / EVALUATION / dataset / PREDICTIONS_JSON


def open_found(run_dir: Path, part: Part, cache_dir: Path, show: Show) -> Detections:
    """Open a run's detections; the first time they are read and matched with the truth.

    Args:
        run_dir: the run, which was evaluated on the part.
        part: the truth.
        cache_dir: where what was read is kept.
        show: shows the progress.

    Raises:
        Problem: ABSENT or DAMAGED, the predictions; MISMATCH, they belong to other images.
    """
    path = predictions_path(run_dir, part.dataset)
    name = f"{part.dataset}-{fingerprint([], str(run_dir.absolute()))[:6]}"
    stamp = fingerprint([path, part.coco_path])
    store = open_store(cache_dir, name, stamp, partial(_build, path, part, show))
    return _to_detections(part, store)


def _build(path: Path, part: Part, show: Show, folder: Path) -> None:
    truth = to_truth(part)
    starts = range(0, len(truth.images), PIECE)
    title = f"Index of {path.parents[2].name}, {part.name}"
    with show(title, {"steps": 1 + len(starts)}) as advance:
        read, _ = read_predictions(path, truth, read_mids(part.coco_path, None))
        task = find_tasks(truth, read)[-1]
        found = read.take(read.scores >= LEAST_SCORE)
        advance(1)
        pieces = []
        for start in starts:
            pieces.append(_match(*_cut(truth, found, start), task, start))
            advance(1)
    (folder / "masks.bin").write_bytes(found.masks.counts)
    arrays = {name: np.concatenate([one[name] for one in pieces]) for name in pieces[0]}
    save(folder, arrays, {})


def _cut(
    truth: Truth, found: evaluated.Detections, start: int
) -> tuple[Truth, evaluated.Detections]:
    """Return the annotations and detections of the images from `start` on, `PIECE` at most.

    Matching is by image, so that a piece has the same result as the whole, in less memory.
    """
    images = slice(start, start + PIECE)
    first, end = np.searchsorted(truth.image, [start, start + PIECE]).tolist()
    rows = slice(first, end)  # annotations are sorted by image
    columns = ("category", "boxes", "areas", "is_crowd", "is_group_of")
    own: dict[str, Any] = {name: getattr(truth, name)[rows] for name in columns}
    own |= {"image": truth.image[rows] - start, "masks": truth.masks.take(np.arange(first, end))}
    places = np.flatnonzero((found.image >= start) & (found.image < start + PIECE))
    some = found.take(places)
    return replace(truth, images=truth.images[images], **own), replace(
        some, image=some.image - np.int32(start)
    )


def _match(
    truth: Truth, detections: evaluated.Detections, task: str, start: int
) -> dict[str, NDArray[Any]]:
    """Return the columns of detections by image, best first, and what is true of them.

    Args:
        truth: of a piece.
        detections: on its images.
        task: of the evaluation.
        start: index of its first image.
    """
    candidates = find_candidates(truth, detections, task)
    errors, found = find_errors(candidates, task), candidates.found
    hits = errors.status == TRUE
    finder = np.full(len(truth.image), np.nan, dtype=np.float32)
    finder[errors.target[hits]] = found.scores[hits]
    false = len(OUTCOMES) - len(KINDS) + errors.kind
    outcome = np.where(errors.status == FALSE, false, np.where(hits, 0, 1))
    order = np.argsort(found.image, kind="stable")
    box_areas = found.boxes[:, 2] * found.boxes[:, 3]
    areas = np.where(found.masks.present, found.masks.areas, box_areas)
    return {
        "image": found.image[order] + np.int32(start),
        "category": found.category[order].astype(np.int16),
        "boxes": found.boxes[order].astype(np.float32),
        "areas": areas[order].astype(np.float32),
        "mask_spans": found.masks.spans[order],
        "scores": found.scores[order].astype(np.float32),
        "outcome": outcome[order].astype(np.int8),
        "finder": finder,
    }


def _to_detections(part: Part, store: Store) -> Detections:
    arrays = store.arrays
    columns = ("image", "category", "boxes", "areas", "scores", "outcome", "finder")
    return Detections(
        **{name: arrays[name] for name in columns},
        masks=masks_of(store, part.sizes[arrays["image"]]),
        starts=starts_of(arrays["image"], len(part)),
    )
