"""The steps of `inside` as one picture: a row of boxes and masks, a row of activations."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from torch import nn

from oiv5_d2.drawing.colours import FAINT_INK, Colour, colours_of
from oiv5_d2.drawing.shapes import RgbImage, Shape, draw, fit
from oiv5_d2.drawing.sheets import Cell, LegendEntry, Sheet, lay_out
from oiv5_d2.inference.inside import Candidates, Floats, Inside, look_inside
from oiv5_d2.inference.pictures import draw_objects
from oiv5_d2.inference.prediction import write_jpeg
from oiv5_d2.inference.predictor import Detection, Predictor
from oiv5_d2.inference.sources import Picture, read_picture
from oiv5_d2.jobs import Show

ROOM = (420, 560)  # (height, width) of a cell
OTHER = "about nothing that was found"
BRIGHTEST = 99.5  # percentile of an activation from which on it is drawn brightest
DIMMED = 0.5  # brightness of the image below the small masks
GREY_SHARE = 0.25  # of the image in a map, so that one sees where things are


def write_strips(
    model: nn.Module,
    predictor: Predictor,
    pictures: Sequence[Picture],
    thresholds: Mapping[str, float],
    folder: Path,
    show: Show,
) -> list[Path]:
    """Write the strip of each image and return their paths.

    Args:
        model: in evaluation mode.
        predictor: of the model: how it wants its images.
        pictures: the images.
        thresholds: the least score of what counts as found, by class.
        folder: that is written to.
        show: shows the progress.

    Raises:
        Problem: UNSUPPORTED, the model is of another kind; or an image cannot be read.
    """
    colours, paths = colours_of(predictor.classes), []
    least = [thresholds[name] for name in predictor.classes]
    with show("Strips", {"images": len(pictures)}) as advance:
        for one in pictures:
            image = read_picture(one.path)
            inside = look_inside(model, predictor.to_input(image), least)
            found = predictor.to_detections(inside.found)
            paths.append(folder / f"{one.name}.jpg")
            write_jpeg(paths[-1], draw_strip(one.name, image, inside, found, colours))
            advance(1)
    return paths


def draw_strip(
    name: str,
    image: RgbImage,
    inside: Inside,
    found: Sequence[Detection],
    colours: Mapping[str, Colour],
) -> RgbImage:
    """Return the steps side by side, (H, W, 3) uint8 RGB.

    Args:
        name: of the image.
        image: (H, W, 3) uint8 RGB.
        inside: its steps.
        found: the same detections as in `inside`, in their order.
        colours: by class, in the model's order.
    """
    room = fit(image.shape[:2], ROOM)
    results = _results(image, inside.small_masks, found, colours)
    steps = [*_steps(image, inside, found, colours), *results]
    maps = [_map(image, level, inside) for level in inside.activations]
    legend = [LegendEntry(one, colour) for one, colour in colours.items()]
    legend.append(LegendEntry(OTHER, FAINT_INK))
    subtitle = (
        "What the model does, step by step; below: how strongly the levels of its pyramid react"
    )
    sheet = Sheet(f"Inside: {name}", subtitle, legend, len(steps), room)
    return lay_out(sheet, [_fitted(one, room) for one in (*steps, *maps)])


def _steps(
    image: RgbImage, inside: Inside, found: Sequence[Detection], colours: Mapping[str, Colour]
) -> list[Cell]:
    """Return the steps of the RPN."""
    anchors, refined, proposals = inside.anchors, inside.refined, inside.proposals
    several = f"{len(anchors.boxes)} of {anchors.total:,} anchors match an object found"
    best = f"the {len(refined.boxes)} of {refined.total:,} that score best, moved"
    kept = f"the {len(proposals.boxes)} best of {proposals.total:,} that are left"
    return [
        Cell(_draw_boxes(image, one, found, colours), caption, detail)
        for one, caption, detail in (
            (anchors, "anchors", several),
            (refined, "proposals", best),
            (proposals, "after NMS", kept),
        )
    ]


def _results(
    image: RgbImage, small: Floats, found: Sequence[Detection], colours: Mapping[str, Colour]
) -> list[Cell]:
    """Return the boxes, and the masks before and after they are resized."""
    bare = [one._replace(rle=None) for one in found]
    cells = [Cell(draw_objects(image, bare, colours), "boxes", f"{len(found)}, each moved again")]
    if len(small):
        sides = f"{small.shape[2]} x {small.shape[1]} numbers a box: the surer, the brighter"
        cells.append(Cell(_draw_small(image, small, found, colours), "mask head", sides))
    return [*cells, Cell(draw_objects(image, found, colours), "masks", "resized, from 0.5 on")]


def _draw_small(
    image: RgbImage, small: Floats, found: Sequence[Detection], colours: Mapping[str, Colour]
) -> RgbImage:
    """Return the image in grey with the squares of each mask over its box, the best on top."""
    canvas = _greyed(image).astype(np.float32) * DIMMED
    for one, mask in reversed([*zip(found, small, strict=True)]):
        x0, y0, x1, y1 = (round(side) for side in one.box)
        window = canvas[y0:y1, x0:x1]
        if window.size:
            size = window.shape[1], window.shape[0]
            share = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)[..., None]
            window += (np.array(colours[one.class_name], dtype=np.float32) - window) * share
    boxes = [Shape(one.class_name, one.box) for one in found]
    return draw(canvas.round().astype(np.uint8), boxes, colours, image.shape[:2])


def _draw_boxes(
    image: RgbImage, some: Candidates, found: Sequence[Detection], colours: Mapping[str, Colour]
) -> RgbImage:
    """Return the image with boxes in the colour of the object that each is about."""
    names = [OTHER if about < 0 else found[about].class_name for about in some.about.tolist()]
    corners = [(box[0], box[1], box[2], box[3]) for box in some.boxes.tolist()]
    shapes = [Shape(name, box) for name, box in zip(names, corners, strict=True)]
    # What is about an object comes last, above the rest.
    layers = [one for one in shapes if one.class_name == OTHER]
    below = draw(image, layers, {OTHER: FAINT_INK}, image.shape[:2])
    rest = [one for one in shapes if one.class_name != OTHER]
    return draw(below, rest, colours, image.shape[:2])


def _map(image: RgbImage, level: str, inside: Inside) -> Cell:
    """Return how strongly a level reacts: dark is least, yellow is most."""
    values, stride = inside.activations[level], inside.strides[level]
    low, top = float(values.min()), float(np.percentile(values, BRIGHTEST))
    shades = ((values - low) / max(top - low, 1e-9) * 255).clip(0, 255).astype(np.uint8)
    size = image.shape[1], image.shape[0]
    large = cv2.resize(shades, size, interpolation=cv2.INTER_NEAREST)
    coloured = cv2.cvtColor(cv2.applyColorMap(large, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    mixed = cv2.addWeighted(_greyed(image), GREY_SHARE, coloured, 1 - GREY_SHARE, 0)
    height, width = values.shape
    detail = f"{width} x {height} features, one each {stride} px"
    return Cell(np.asarray(mixed, dtype=np.uint8), level, detail)


def _greyed(image: RgbImage) -> RgbImage:
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return np.asarray(grey, dtype=np.uint8)


def _fitted(cell: Cell, room: tuple[int, int]) -> Cell:
    small = cv2.resize(cell.image, room[::-1], interpolation=cv2.INTER_AREA)
    return cell._replace(image=np.asarray(small, dtype=np.uint8))
