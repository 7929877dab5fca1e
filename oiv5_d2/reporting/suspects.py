"""Likely label errors as a contact sheet: each place twice, without and with what is doubted."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from oiv5_d2.conversion import masks
from oiv5_d2.conversion.image_store import Images
from oiv5_d2.drawing.colours import PAPER, Colour, colours_of
from oiv5_d2.drawing.shapes import Shape, draw
from oiv5_d2.drawing.sheets import Cell, LegendEntry, Sheet, lay_out
from oiv5_d2.drawing.text import Box
from oiv5_d2.evaluation.label_errors import Suspect
from oiv5_d2.evaluation.truth import Truth
from oiv5_d2.reporting.gallery import write_jpeg

logger = logging.getLogger(__name__)

LABEL_ERRORS_JPG = "label_errors.jpg"
HALF, GAP = (225, 300), 4  # (height, width) of each of a pair, and what is between
PAIRS_IN_A_ROW = 3
CONTEXT = 2.5  # sides of what is shown, in sides of the box
LEAST_SHARE = 0.35  # of the image's shorter side, that is shown at least
LINE = 0.03  # width of a detection's frame, in its longer sides
MAX_BYTES = 2_000_000


def look_for_images(truth_path: Path, truth: Truth) -> Images | None:
    """Return the images that a COCO file names, in a folder near it; None if there is none."""
    beside = (truth_path.parent, truth_path.parent / "images", truth_path.parent.parent / "images")
    first = truth.images[0].get("file_name", "") if truth.images else ""
    return next((Images(one) for one in beside if first and (one / first).is_file()), None)


def write_label_sheet(
    truth: Truth, suspects: Sequence[Suspect], images: Images, title: str, path: Path
) -> None:
    """Write suspects as JPEG: a cut-out of the image, and the same with annotation and suspect.

    Args:
        truth: the annotation.
        suspects: those to show, in their order.
        images: of the annotation; what is missing there is left out.
        title: of the sheet.
        path: of the JPEG.
    """
    colours = colours_of(truth.classes)
    cells = [
        show_suspect(number, one, truth, images, colours)
        for number, one in enumerate(suspects, 1)
        if truth.images[one.image]["file_name"] in images
    ]
    if not cells:
        logger.warning("No sheet of likely label errors: there are none, or no images")
        return
    legend = [
        *(LegendEntry(name, colour) for name, colour in colours.items()),
        LegendEntry("ignored", None),
    ]
    subtitle = (
        "image | its annotation (filled), and what makes it doubtful (tagged); likeliest first"
    )
    room = HALF[0], 2 * HALF[1] + GAP
    sheet = Sheet(title, subtitle, legend, PAIRS_IN_A_ROW, room)
    write_jpeg(path, lay_out(sheet, cells), MAX_BYTES)


def show_suspect(
    number: int, one: Suspect, truth: Truth, images: Images, colours: Mapping[str, Colour]
) -> Cell:
    """Return the place of a suspect, (H, W) at most `HALF`, twice; and what is said of it."""
    with Image.open(images.open(truth.images[one.image]["file_name"])) as file:
        pixels = np.asarray(file.convert("RGB"))
    window = choose_window(one.box, pixels.shape[:2])
    own = np.flatnonzero(truth.image == one.image).tolist()
    shapes = [_annotated(index, truth, one) for index in own]
    if one.score is not None:
        shapes.append(_found(one, truth.classes[one.category], pixels.shape[:2]))
    inside = [shape for shape in (_shift(shape, window) for shape in shapes) if shape is not None]
    x0, y0, x1, y1 = window
    halves = [draw(pixels[y0:y1, x0:x1], some, colours, HALF) for some in ([], inside)]
    bar = np.full((len(halves[0]), GAP, 3), PAPER, dtype=np.uint8)
    caption = f"{number}. {truth.classes[one.category]}: {one.reason}"
    return Cell(np.hstack([halves[0], bar, halves[1]]), caption, _describe(one, truth))


def _describe(one: Suspect, truth: Truth) -> str:
    image = truth.images[one.image]
    score = "" if one.score is None else f"score {one.score:.2f}, "
    credit = f"; photo: {image['author']}" if image.get("author") else ""  # as CC BY asks
    image_id = image.get("open_images_id") or image["id"]
    return f"{score}certainty {one.certainty:.2f}, {image_id}{credit}"


def _annotated(index: int, truth: Truth, one: Suspect) -> Shape:
    """Return an annotation; it has a tag if it is the one that is doubted."""
    name, is_doubted = truth.classes[truth.category[index]], one.annotation == index
    x, y, width, height = truth.boxes[index].tolist()
    mask = masks.decode(truth.masks[index]) if truth.masks.present[index] else None
    tag = name if is_doubted else ""
    return Shape(name, (x, y, x + width, y + height), mask, tag, bool(truth.is_crowd[index]))


def _found(one: Suspect, name: str, size: tuple[int, int]) -> Shape:
    """Return the detection that is at odds with the annotation as a thick frame."""
    x, y, width, height = one.box
    frame = np.zeros(size, dtype=np.bool_)
    line = max(1, round(LINE * max(width, height)))
    x0, y0, x1, y1 = (max(0, round(side)) for side in (x, y, x + width, y + height))
    frame[y0:y1, x0:x1] = True
    frame[y0 + line : y1 - line, x0 + line : x1 - line] = False
    return Shape(name, (x, y, x + width, y + height), frame, f"{name} {one.score:.2f}")


def choose_window(box: Sequence[float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return x0, y0, x1, y1 of what is shown around a box (xywh), of an image (height, width)."""
    x, y, width, height = box
    least = LEAST_SHARE * min(size) / HALF[0]
    scale = max(CONTEXT * width / HALF[1], CONTEXT * height / HALF[0], least)
    shown = min(scale * HALF[1], size[1]), min(scale * HALF[0], size[0])
    x0 = min(max(x + width / 2 - shown[0] / 2, 0), size[1] - shown[0])
    y0 = min(max(y + height / 2 - shown[1] / 2, 0), size[0] - shown[1])
    return round(x0), round(y0), round(x0 + shown[0]), round(y0 + shown[1])


def _shift(shape: Shape, window: tuple[int, int, int, int]) -> Shape | None:
    """Return a shape in the pixels of a window; None if it is outside."""
    x0, y0, x1, y1 = window
    box: Box = (
        max(shape.box[0], x0) - x0,
        max(shape.box[1], y0) - y0,
        min(shape.box[2], x1) - x0,
        min(shape.box[3], y1) - y0,
    )
    if box[0] >= box[2] or box[1] >= box[3]:
        return None
    mask = None if shape.mask is None else shape.mask[y0:y1, x0:x1]
    return shape._replace(box=box, mask=mask)
