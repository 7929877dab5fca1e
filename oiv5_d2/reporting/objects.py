"""Single objects, a cell each, and how they were drawn."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from oiv5_d2.drawing.shapes import Shape, draw, draw_dots
from oiv5_d2.drawing.sheets import Cell
from oiv5_d2.drawing.text import Box
from oiv5_d2.openimages.clicks import Drawing
from oiv5_d2.reporting.gallery import CELL
from oiv5_d2.reporting.truth import AnnotatedImage, Part, read_image, to_shapes

MARGIN = 0.15  # around an object, of its longer side
LEAST_MARGIN = 8  # pixels
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

    def cut(self, shape: Shape) -> Shape:
        """Return a shape of the image, without its tag, as one of this part."""
        mask = None if shape.mask is None else self.of(shape.mask)
        return Shape(shape.class_name, self.moved(shape.box), mask)


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


def _cell(
    part: Part, image: AnnotatedImage, one: Mapping[str, Any], pixels: Any, drawing: Drawing | None
) -> Any:
    height, width = pixels.shape[:2]
    shape = to_shapes(part, image._replace(annotations=[dict(one)]))[0]
    box = shape.box
    if drawing:
        x0, y0, x1, y1 = drawing.box
        box = x0 * width, y0 * height, x1 * width, y1 * height
    window = around(shape.box, box, pixels.shape)
    shape = window.cut(shape._replace(box=box))
    drawn = draw(window.of(pixels), [shape], part.colours, CELL)
    dots = []
    for click in drawing.clicks if drawing else ():
        x = (click.x * width - window.x0) / (window.x1 - window.x0)
        y = (click.y * height - window.y0) / (window.y1 - window.y0)
        dots.append((x, y, ON if click.is_object else OFF))
    return draw_dots(drawn, dots)


def around(one: Box, other: Box, shape: tuple[int, ...], least: float = LEAST_MARGIN) -> Window:
    """Return the part of an image that shows two xyxy boxes and something around them.

    Args:
        one: in pixels.
        other: in pixels.
        shape: of the image, (H, W) or (H, W, C).
        least: pixels on each side.
    """
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
