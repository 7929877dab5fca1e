"""Single objects, a cell each, and how they were drawn; images before and after masks are cut."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from oiv5_d2.conversion import masks
from oiv5_d2.conversion.occlusion import cut
from oiv5_d2.conversion.outlines import Outlines
from oiv5_d2.drawing.shapes import Shape, draw, draw_dots
from oiv5_d2.drawing.sheets import Cell
from oiv5_d2.drawing.text import Box, overlap
from oiv5_d2.openimages.clicks import Drawing
from oiv5_d2.reporting.gallery import CELL, describe
from oiv5_d2.reporting.truth import AnnotatedImage, Part, read_image, to_shapes

MARGIN = 0.15  # around an object, of its longer side
LEAST_MARGIN, ROOM = 8, 60  # pixels; around what was cut
ON, OFF = (40, 220, 70), (235, 50, 50)  # clicks on the object, and beside it


class Window(NamedTuple):
    """A part of an image, in pixels; the far edges are exclusive."""

    x0: int
    y0: int
    x1: int
    y1: int

    def moved(self, box: Box) -> Box:
        """Return an xyxy box of the image as one of this part."""
        x0, y0, x1, y1 = box
        return x0 - self.x0, y0 - self.y0, x1 - self.x0, y1 - self.y0

    def of(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return this part of an image or mask, (H, W) or (H, W, C)."""
        return pixels[self.y0 : self.y1, self.x0 : self.x1]


def object_cells(
    part: Part,
    images: Iterable[AnnotatedImage],
    classes: Sequence[str],
    drawings: Mapping[str, Drawing] | None = None,
) -> Iterator[Cell]:
    """Yield a cell for each training target: its mask and its box, cut out of its image.

    Args:
        part: that the images are of.
        images: whose objects are shown.
        classes: show objects of these only; all if empty.
        drawings: how masks were drawn, by MaskPath. If given, the box is
            the one that the annotator began with, with the clicks: green on the object, red beside
            it, with their number, and objects that are not in it are left out.
    """
    for image in images:
        pixels = read_image(part, image)
        for one in image.objects:
            drawing = (drawings or {}).get(one.get("mask_path", ""))
            name = part.classes[one["category_id"]]
            if (classes and name not in classes) or (drawings is not None and drawing is None):
                continue
            yield Cell(
                _cell(part, image, one, pixels, drawing),
                f"{image.record['open_images_id']} {name}",
                _describe(one, drawing),
            )


def cut_cells(part: Part, images: Iterable[AnnotatedImage], order: str) -> Iterator[Cell]:
    """Yield two cells an image with masks that overlap, most first: before and after they are cut.

    Each shows the place where most was cut, with the objects there.
    """
    Outlines(occlusion=order)  # which refuses an unknown one
    pairs = []
    for image in images:
        size = image.record["height"], image.record["width"]
        before = [
            {**one, "segmentation": masks.to_rle(one["segmentation"], *size)}
            for one in image.objects
        ]
        after = cut(before, order, *size)
        num_cut = [one.get("cut_pixels", 0) for one in after]
        if any(num_cut):
            lost = _box_of_lost(before, after, num_cut.index(max(num_cut)))
            pairs.append((sum(num_cut), image, lost, (before, after)))
    for number, image, lost, states in sorted(pairs, key=lambda pair: -pair[0]):
        pixels, id_ = read_image(part, image), image.record["open_images_id"]
        window = _around(lost, lost, pixels.shape, ROOM)
        titles = "before", f"after, {order} in front: {number:,} px cut in the image"
        for annotations, title in zip(states, titles, strict=True):
            shapes = [
                _moved(shape, window)
                for shape in to_shapes(part, image._replace(annotations=annotations))
                if overlap(shape.box, window) and not shape.ignored
            ]
            drawn = draw(window.of(pixels), shapes, part.colours, CELL)
            yield Cell(drawn, f"{id_}, {title}", describe(shapes))


def _box_of_lost(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]], index: int
) -> Box:
    """Return the xyxy box around the pixels that an object lost."""
    was, left = (masks.decode(some[index]["segmentation"]) for some in (before, after))
    lost = was if after[index]["iscrowd"] else was & ~left
    x, y, w, h = masks.tight_box(lost)
    return x, y, x + w, y + h


def _moved(shape: Shape, window: "Window") -> Shape:
    mask = None if shape.mask is None else window.of(shape.mask)
    return Shape(shape.class_name, window.moved(shape.box), mask)


def _cell(
    part: Part, image: AnnotatedImage, one: Mapping[str, Any], pixels: Any, drawing: Drawing | None
) -> Any:
    height, width = pixels.shape[:2]
    shape = to_shapes(part, image._replace(annotations=[dict(one)]))[0]
    box = shape.box
    if drawing:
        x0, y0, x1, y1 = drawing.box
        box = x0 * width, y0 * height, x1 * width, y1 * height
    window = _around(shape.box, box, pixels.shape)
    shape = _moved(shape._replace(box=box), window)
    drawn = draw(window.of(pixels), [shape], part.colours, CELL)
    dots = []
    for click in drawing.clicks if drawing else ():
        x = (click.x * width - window.x0) / (window.x1 - window.x0)
        y = (click.y * height - window.y0) / (window.y1 - window.y0)
        dots.append((x, y, ON if click.is_object else OFF))
    return draw_dots(drawn, dots)


def _around(one: Box, other: Box, shape: tuple[int, ...], least: float = LEAST_MARGIN) -> Window:
    """Return the part of an image that shows two xyxy boxes and something around them."""
    height, width = shape[:2]
    x0, y0 = min(one[0], other[0]), min(one[1], other[1])
    x1, y1 = max(one[2], other[2]), max(one[3], other[3])
    margin = max(least, MARGIN * max(x1 - x0, y1 - y0))
    return Window(
        max(0, int(x0 - margin)),
        max(0, int(y0 - margin)),
        min(width, int(x1 + margin) + 1),
        min(height, int(y1 + margin) + 1),
    )


def _describe(one: Mapping[str, Any], drawing: Drawing | None) -> str:
    words = [f"{one['area']:,} px"]
    if one.get("predicted_iou") is not None:
        words.append(f"predicted IoU {one['predicted_iou']:.2f}")
    if drawing:
        words.append(f"{len(drawing.clicks)} clicks")
    return ", ".join(words)
