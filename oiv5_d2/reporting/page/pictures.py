"""Images with truth and detections as outlines over a thumbnail, for the page's gallery."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf

from oiv5_d2.conversion import coco_file, masks
from oiv5_d2.drawing.colours import PALETTE
from oiv5_d2.drawing.shapes import RgbImage, fit
from oiv5_d2.evaluation.diagnosis import Diagnosis, diagnose
from oiv5_d2.evaluation.errors import KINDS, WORDS
from oiv5_d2.evaluation.formats import read_predictions
from oiv5_d2.evaluation.label_errors import Suspect, find_suspects
from oiv5_d2.evaluation.labels import read_mids
from oiv5_d2.evaluation.masks import Masks
from oiv5_d2.evaluation.rankings import FALSE, TRUE
from oiv5_d2.evaluation.scoring import find_tasks
from oiv5_d2.evaluation.slices import slices
from oiv5_d2.evaluation.truth import Truth, read_truth
from oiv5_d2.pages.outlines import to_path
from oiv5_d2.reporting.gallery import to_jpeg
from oiv5_d2.reporting.page.choice import Chosen, choose_images, take_suspects
from oiv5_d2.reporting.truth import Part, find_ids, open_part, read_image, read_images
from oiv5_d2.runs.layout import CONFIG_YAML, EVALUATION, find_dataset
from oiv5_d2.runs.layout import read_predictions as read_detections
from oiv5_d2.runs.matches import MIN_SCORE
from oiv5_d2.runs.results import PREDICTIONS_JSON

ROOM = (480, 640)  # (height, width) of a thumbnail
MAX_BYTES = 130_000  # of a thumbnail: sixty in base64 stay below 11 MB
LEAST_SCORE, MOST_SHOWN = 0.05, 60  # of an image's detections
LAYERS = ("truth", "found", "doubted", "before")
DOUBTED_SHARE = 0.25  # of the images, that are for likely label errors


class Drawn(NamedTuple):
    """An object, an ignored region or a detection, in pixels of the thumbnail.

    Attributes:
        category: index of the class.
        box: xywh.
        path: of an SVG path; empty without a mask.
        tag: what is to be said beside the class.
        score: of a detection; of an object the score of the detection that found it, or None.
        outcome: of a detection ``true``, ``ignored`` or the kind of error; of an annotation
            ``object`` or ``ignored``; of a suspect ``doubted``.
        slices: of an annotation the names of those that it is in.
    """

    category: int
    box: list[float]
    path: str
    tag: str
    score: float | None
    outcome: str
    slices: Sequence[str] = ()


class Picture(NamedTuple):
    """One image.

    Attributes:
        id: Open Images' id.
        kinds: of best, typical, worst and label error; of a comparison better or worse.
        caption: a measure of its detections.
        size: (width, height) of the thumbnail.
        jpeg: the thumbnail in base64.
        truth: objects and ignored regions.
        found: detections, best first.
        doubted: suspects of a label error.
        credit: author, licence, title and addresses, as far as the data has them.
        before: detections of another run, to be compared.
    """

    id: str
    kinds: list[str]
    caption: str
    size: tuple[int, int]
    jpeg: str
    truth: list[Drawn]
    found: list[Drawn]
    doubted: list[Drawn]
    credit: dict[str, str]
    before: Sequence[Drawn] = ()

    def content(self) -> dict[str, Any]:
        """Return what the gallery's script reads."""
        drawn = {name: getattr(self, name) for name in LAYERS}
        return self._asdict() | {k: [one._asdict() for one in some] for k, some in drawn.items()}


def draw_pictures(
    run_dir: Path, dataset: str, least: Mapping[str, float], number: int
) -> list[Picture]:
    """Return the best, typical and worst images and those of likely label errors.

    Args:
        run_dir: the run.
        dataset: that it was evaluated on.
        least: the score from which on a class's detections count; `MIN_SCORE` without one.
        number: of images at most.

    Raises:
        Problem: ABSENT or DAMAGED, the data or the predictions.
    """
    part = open_part(find_dataset(run_dir, dataset))
    drawing = open_drawing(part, run_dir / EVALUATION, dataset)
    suspects = find_suspects(drawing.diagnosis)
    doubted = take_suspects(suspects, drawing.candidates.truth, int(DOUBTED_SHARE * number))
    thresholds = {id_: least.get(name, MIN_SCORE) for id_, name in part.classes.items()}
    images = read_images(part.coco_path, part.traits)
    chosen = choose_images(images, read_detections(run_dir, dataset), thresholds, doubted, number)
    return [drawing.picture(one) for one in chosen]


def draw_changes(
    evaluations: Sequence[Path], dataset: str, changes: Sequence[Mapping[str, Any]]
) -> list[Picture]:
    """Return images with the detections of two evaluations.

    Args:
        evaluations: both folders, each in its run's.
        dataset: that both are of.
        changes: of images, as `evaluation.differences.changed_images` returns them.

    Raises:
        Problem: ABSENT or DAMAGED, the data or the predictions.
    """
    part = open_part(find_dataset(evaluations[0].parent, dataset))
    ids = find_ids(part.coco_path, [one["image"] for one in changes])
    images = {one.record["id"]: one for one in read_images(part.coco_path, ids)}
    first, second = (open_drawing(part, one, dataset) for one in evaluations)
    pictures = []
    for id_, one in zip(ids, changes, strict=True):
        kind = "better" if one["second"] > one["first"] else "worse"
        drawn = second.picture(Chosen(images[id_], [kind], one["second"], []))
        caption = f"F1 {one['first']:.2f} to {one['second']:.2f}"
        pictures.append(drawn._replace(caption=caption, before=first.detections(id_)))
    return pictures


def gallery(
    pictures: Sequence[Picture], least: Mapping[str, float], panels: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """Return what the gallery's script reads.

    Args:
        pictures: in their order.
        least: the score from which on each class's detections are shown at first.
        panels: (layer, title) of what is side by side.
    """
    return {
        "classes": [
            {"name": name, "colour": f"var(--bright-{i % len(PALETTE)})", "threshold": value}
            for i, (name, value) in enumerate(least.items())
        ],
        "errors": {**WORDS, "both": "misplaced, another class"},
        "panels": panels,
        "pictures": [one.content() for one in pictures],
    }


def open_drawing(part: Part, evaluation: Path, dataset: str) -> "Drawing":
    """Read what is needed to draw the detections of an evaluation, a folder in its run's."""
    truth = replace(read_truth(part.coco_path, dataset), frame=read_frame(evaluation.parent))
    mids = read_mids(part.coco_path, None)
    found, _ = read_predictions(evaluation / dataset / PREDICTIONS_JSON, truth, mids)
    return Drawing(part, diagnose(truth, found, find_tasks(truth, found)[-1]))


def read_frame(run_dir: Path) -> tuple[int, int]:
    """Return to which sides a run's model had its images resized; see `Truth.frame`."""
    config: Any = OmegaConf.load(run_dir / CONFIG_YAML)
    sides = config.get("INPUT", {})
    least, most = Truth.frame
    return int(sides.get("MIN_SIZE_TEST", least)), int(sides.get("MAX_SIZE_TEST", most))


class Drawing:
    """Draws images of one part.

    Args:
        part: the data.
        diagnosis: of what was found there.
    """

    def __init__(self, part: Part, diagnosis: Diagnosis) -> None:
        self._part, self.diagnosis = part, diagnosis
        self.candidates, errors = diagnosis.candidates, diagnosis.errors
        truth = self.candidates.truth
        self._slices = slices(truth, part.label_names)
        self._places = {image["id"]: i for i, image in enumerate(truth.images)}
        licences = coco_file.read_head(part.coco_path).get("licenses", ())
        self._licences = {one["id"]: one.get("url", "") for one in licences}
        hits = np.flatnonzero(errors.status == TRUE)
        self._finder_scores = np.full(len(truth.image), np.nan)
        self._finder_scores[errors.target[hits]] = self.candidates.found.scores[hits]

    def picture(self, chosen: Chosen) -> Picture:
        """Return one image with all that is to be drawn on it."""
        record = chosen.image.record
        pixels = read_image(self._part, chosen.image)
        thumbnail = _shrink(pixels)
        scale = thumbnail.shape[0] / pixels.shape[0]
        place = self._places[record["id"]]
        annotated = np.flatnonzero(self.candidates.truth.image == place)
        return Picture(
            id=record["open_images_id"],
            kinds=chosen.kinds,
            caption=f"quality {chosen.quality:.2f}",
            size=(thumbnail.shape[1], thumbnail.shape[0]),
            jpeg=base64.b64encode(to_jpeg(thumbnail, MAX_BYTES)).decode(),
            truth=[self._annotation(row, scale) for row in annotated.tolist()],
            found=self.detections(record["id"]),
            doubted=[_suspect(one, scale) for one in chosen.suspects],
            credit=_credit(record, self._licences),
        )

    def detections(self, image_id: int) -> list[Drawn]:
        """Return the detections on one image, best first."""
        place, found = self._places[image_id], self.candidates.found
        height, width = self.candidates.truth.sizes[place].tolist()
        scale = min(1.0, fit((height, width), ROOM)[0] / height)
        shown = np.flatnonzero((found.image == place) & (found.scores >= LEAST_SCORE))
        return [self._detection(row, scale) for row in shown[:MOST_SHOWN].tolist()]

    def _annotation(self, row: int, scale: float) -> Drawn:
        truth, finder_score = self.candidates.truth, float(self._finder_scores[row])
        record, category = truth.records[row], int(truth.category[row])
        is_ignored = bool(truth.is_crowd[row])
        child = self._part.label_names.get(record.get("label", ""), "")
        own = "" if child == truth.classes[category] else child
        return Drawn(
            category=category,
            box=_box(truth.boxes[row], scale),
            path=_path(truth.masks, row, scale),
            tag=str(record.get("ignore_reason") or "") if is_ignored else own,
            score=None if np.isnan(finder_score) else round(finder_score, 3),
            outcome="ignored" if is_ignored else "object",
            slices=[name for name, view in self._slices.items() if view.objects[row]],
        )

    def _detection(self, row: int, scale: float) -> Drawn:
        found, errors = self.candidates.found, self.diagnosis.errors
        status = errors.status[row]
        kind = KINDS[errors.kind[row]] if status == FALSE else ""
        return Drawn(
            category=int(found.category[row]),
            box=_box(found.boxes[row], scale),
            path=_path(found.masks, row, scale),
            tag="",
            score=round(float(found.scores[row]), 3),
            outcome=kind or ("true" if status == TRUE else "ignored"),
        )


def _suspect(one: Suspect, scale: float) -> Drawn:
    box = _box(np.array(one.box), scale)
    return Drawn(one.category, box, "", str(one.reason), round(one.certainty, 3), "doubted")


def _shrink(pixels: RgbImage) -> RgbImage:
    """Return an image that fits into `ROOM`; a smaller one stays as it is."""
    height, width = fit(pixels.shape[:2], ROOM)
    if height >= pixels.shape[0]:
        return pixels
    small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.uint8)


def _credit(record: Mapping[str, Any], licences: Mapping[int, str]) -> dict[str, str]:
    """Return what CC BY asks to be said of a photo; of addresses those that a browser can open."""
    addresses = {
        "author_url": record.get("author_url"),
        "landing_url": record.get("landing_url"),
        "licence": licences.get(record.get("license", 0)),
    }
    words = {name: record.get(name) for name in ("author", "title")}
    safe = {k: v for k, v in addresses.items() if v and v.startswith(("https://", "http://"))}
    return {**{k: str(v) for k, v in words.items() if v}, **safe}


def _box(box: NDArray[np.float64], scale: float) -> list[float]:
    return [round(float(one) * scale, 1) for one in box]


def _path(of: Masks, row: int, scale: float) -> str:
    return to_path(masks.decode(of[row]), scale) if of.present[row] else ""
