"""Files of predictions, of this project or of other tools: COCO results and the challenge's CSV.

Both are read gzipped or not; what a file is, its first bytes say. In the challenge's CSV a mask is
base64 of zlib of COCO's compressed run lengths, a box fractions of the image's sides; a row has one
detection, or all of an image in a PredictionString.
"""

import base64
import binascii
import csv
import json
import math
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np

from oiv5_d2.evaluation.detections import Collector, Detections
from oiv5_d2.evaluation.masks import Rle, to_rle
from oiv5_d2.evaluation.streams import open_text, read_items
from oiv5_d2.evaluation.truth import Names, Truth
from oiv5_d2.files import whole_file
from oiv5_d2.problems import Kind, Problem, Remedy

CSV_COLUMNS = ("ImageID", "ImageWidth", "ImageHeight", "LabelName", "Score", "Mask")
BOX_COLUMNS = ("XMin", "XMax", "YMin", "YMax")
IN_ONE_ROW = "PredictionString"
BEGINNING = 1000  # characters that tell the format


class Row(NamedTuple):
    """One detection as its file says it.

    Attributes:
        image: what the file calls its image.
        label: what the file calls its class.
        score: as it stands there.
        box: xywh in pixels, or as fractions of the image's sides; None without one.
        mask: a segmentation as COCO has it; None without one.
        is_relative: the box is in fractions.
    """

    image: object
    label: object
    score: object
    box: list[float] | None
    mask: Any
    is_relative: bool = False


def read_predictions(
    path: Path, truth: Truth, mids: Mapping[str, str]
) -> tuple[Detections, list[str]]:
    """Read detections on the images of a truth.

    Args:
        path: a file as described above.
        truth: what they belong to.
        mids: MID by class name, where the truth does not have them.

    Returns:
        the detections in the file's order; and a sentence for each kind of detections that was
        left out, because its image or class is not in the truth.

    Raises:
        Problem: ABSENT; DAMAGED, it is neither format, or a detection has no score, or neither a
            box nor a mask; MISMATCH, no detection is on an image and of a class of the truth.
    """
    try:
        with open_text(path) as file:
            found, left_out = _collect(_read_rows(file), truth, Names(truth, mids))
    except FileNotFoundError as error:
        raise _problem(Kind.ABSENT, path, "") from error
    except (ValueError, KeyError, TypeError, EOFError, OSError, zlib.error) as error:
        what = f"neither COCO results nor the challenge's CSV: {error}"
        raise _problem(Kind.DAMAGED, path, what) from error
    notes = [f"{number:,} detections left out: {why}" for why, number in left_out.items()]
    if notes and not len(found):
        raise _problem(Kind.MISMATCH, path, "; ".join(notes))
    return found, notes


def write_coco(path: Path, detections: Detections, truth: Truth) -> None:
    """Write COCO results: one detection a line, under the ids of the truth's file."""
    image_ids = [image["id"] for image in truth.images]
    category_ids = [category["id"] for category in truth.categories]
    has_mask = detections.masks.present
    with whole_file(path) as temporary, temporary.open("w", encoding="ascii") as file:
        file.write("[")
        for i in range(len(detections)):
            one = {
                "image_id": image_ids[detections.image[i]],
                "category_id": category_ids[detections.category[i]],
                "bbox": detections.boxes[i].tolist(),
                "score": float(detections.scores[i]),
            }
            if has_mask[i]:
                rle = detections.masks[i]
                one["segmentation"] = {**rle, "counts": rle["counts"].decode("ascii")}
            file.write(f"{',' if i else ''}\n{json.dumps(one, allow_nan=False)}")
        file.write("]\n")


def write_csv(path: Path, detections: Detections, truth: Truth, mids: Mapping[str, str]) -> None:
    """Write the challenge's CSV: masks, or boxes where there are none.

    Args:
        path: the file.
        detections: all of them are written.
        truth: names images and classes; an image without Open Images id keeps its id.
        mids: MID by class name; a class without one keeps its name.
    """
    has_masks = bool(detections.masks.present.all()) and len(detections) > 0
    names = [str(image.get("open_images_id", image["id"])) for image in truth.images]
    labels = [mids.get(name, name) for name in truth.classes]
    with whole_file(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(CSV_COLUMNS if has_masks else (*CSV_COLUMNS[:-1], *BOX_COLUMNS))
        for i in range(len(detections)):
            image = detections.image[i]
            height, width = truth.sizes[image].tolist()
            label, score = labels[detections.category[i]], float(detections.scores[i])
            shape = (
                [pack(detections.masks[i]["counts"])]
                if has_masks
                else _to_fractions(detections.boxes[i], height, width)
            )
            writer.writerow([names[image], width, height, label, repr(score), *shape])


def pack(counts: bytes) -> str:
    """Return run lengths as the challenge has them: base64 of zlib."""
    return base64.b64encode(zlib.compress(counts, zlib.Z_BEST_COMPRESSION)).decode("ascii")


def unpack(text: str) -> bytes:
    """Return the run lengths of `pack`.

    Raises:
        ValueError: it is not base64 of zlib.
    """
    try:
        return zlib.decompress(base64.b64decode(text, validate=True))
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"a mask is not base64 of zlib: {error}") from error


def _problem(kind: Kind, path: Path, detail: str) -> Problem:
    return Problem(kind, path, detail, key="predictions", remedy=Remedy.CHANGE_SETTING)


def _read_rows(file: TextIO) -> Iterator[Row]:
    start = file.read(BEGINNING).lstrip()[:1]
    file.seek(0)
    if start == "[":
        return _coco_rows(read_items(file))
    if start == "{":
        return _coco_rows(json.load(file)["annotations"])
    return _csv_rows(file)


def _coco_rows(detections: Iterable[Any]) -> Iterator[Row]:
    for one in detections:
        box, outline = one.get("bbox"), one.get("segmentation")
        yield Row(one["image_id"], one["category_id"], one["score"], box or None, outline or None)


def _csv_rows(file: TextIO) -> Iterator[Row]:
    reader = csv.DictReader(file)
    columns = set(reader.fieldnames or ())
    key = "ImageID" if "ImageID" in columns else "ImageId"
    if key not in columns or not ({"LabelName", "Score"} <= columns or IN_ONE_ROW in columns):
        raise ValueError(f"its columns are {', '.join(reader.fieldnames or ['none'])}")
    for one in reader:
        if IN_ONE_ROW in columns:
            yield from _split_row(one, key)
        else:
            box = _xywh(*(float(one[name]) for name in BOX_COLUMNS)) if one.get("XMin") else None
            yield Row(
                one[key], one["LabelName"], one["Score"], box, _csv_mask(one), box is not None
            )


def _split_row(one: Mapping[str, str], key: str) -> Iterator[Row]:
    """Yield the detections of a PredictionString: label, score, mask or XMin YMin XMax YMax."""
    words = one[IN_ONE_ROW].split()
    step = 3 if one.get("ImageWidth") else 6
    if len(words) % step:
        raise ValueError(f"a {IN_ONE_ROW} of {len(words)} words, not of {step} each")
    for i in range(0, len(words), step):
        label, score, *shape = words[i : i + step]
        if step == 3:
            yield Row(one[key], label, score, None, _csv_mask({**one, "Mask": shape[0]}))
        else:
            x0, y0, x1, y1 = map(float, shape)
            yield Row(one[key], label, score, _xywh(x0, x1, y0, y1), None, is_relative=True)


def _csv_mask(one: Mapping[str, str]) -> Rle | None:
    if not one.get("Mask"):
        return None
    size = [int(float(one["ImageHeight"])), int(float(one["ImageWidth"]))]
    return {"size": size, "counts": unpack(one["Mask"])}


def _xywh(x0: float, x1: float, y0: float, y1: float) -> list[float]:
    return [x0, y0, x1 - x0, y1 - y0]


def _to_fractions(box: Any, height: int, width: int) -> list[float]:
    x, y, w, h = box.tolist()
    return [x / width, (x + w) / width, y / height, (y + h) / height]


def _collect(rows: Iterable[Row], truth: Truth, names: Names) -> tuple[Detections, dict[str, int]]:
    """Return the detections on the truth's images, and the numbers left out by reason."""
    collector, left_out = Collector(), Counter[str]()
    for row in rows:
        image, category = names.image(row.image), names.category(row.label)
        if image is None:
            left_out["their images are not in the truth"] += 1
        elif category is None:
            left_out["their classes are not in the truth"] += 1
        else:
            _append(collector, row, (image, category), truth)
    return _with_boxes(collector.finish()), dict(left_out)


def _append(collector: Collector, row: Row, place: tuple[int, int], truth: Truth) -> None:
    height, width = truth.sizes[place[0]].tolist()
    score = float(row.score)  # type: ignore[arg-type]
    if math.isnan(score):
        raise ValueError(f"a score on image {row.image} is not a number")
    if row.box is None and row.mask is None:
        raise ValueError(f"a detection on image {row.image} has neither a box nor a mask")
    counts = to_rle(row.mask, (height, width))["counts"] if row.mask is not None else b""
    box = [math.nan] * 4 if row.box is None else list(map(float, row.box))
    if len(box) != 4:
        raise ValueError(f"a box of {len(box)} numbers on image {row.image}")
    if row.is_relative:
        box = [side * full for side, full in zip(box, (width, height) * 2, strict=True)]
    collector.append(place, score, box, (height, width), counts)


def _with_boxes(found: Detections) -> Detections:
    """Return the detections with the mask's tight box where the file has none."""
    absent = np.isnan(found.boxes[:, 0])
    if absent.any():
        found.boxes.setflags(write=True)
        found.boxes[absent] = found.masks.boxes[absent]
    return found
