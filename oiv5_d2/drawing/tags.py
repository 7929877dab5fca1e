"""Name tags beside objects, placed so that they hide neither one another nor small objects."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from oiv5_d2.drawing.colours import Colour, ink_on
from oiv5_d2.drawing.text import font

Box = tuple[float, float, float, float]  # xyxy_abs

OPACITY = 225  # of 255
# A tag that would cover more than these shares of another tag or object is left out: its colour
# already names the class.
MOST_OF_TAG, MOST_OF_OBJECT, MOST_BY_MINOR = 0.02, 0.5, 0.25
MINOR_SIZE = 0.8


class Tag(NamedTuple):
    """What to write beside a box.

    Attributes:
        text: empty only keeps the box free of other tags.
        box: xyxy_abs.
        colour: behind the text.
        minor: smaller, placed after all others, and sooner left out.
    """

    text: str
    box: Box
    colour: Colour
    minor: bool = False


class Placed(NamedTuple):
    """A tag that found room: its own box (xyxy_abs) and its letters' size in pixels."""

    tag: Tag
    box: Box
    size: int


def draw_tags(image: NDArray[np.uint8], tags: Sequence[Tag]) -> NDArray[np.uint8]:
    """Write on a copy of `image` the tags that find room."""
    canvas = Image.fromarray(image)
    layer = Image.new("RGBA", canvas.size, (0, 0, 0, 0))
    pen = ImageDraw.Draw(layer)
    for placed in place_tags(tags, *image.shape[:2]):
        _write(pen, placed)
    return np.asarray(Image.alpha_composite(canvas.convert("RGBA"), layer).convert("RGB"))


def place_tags(tags: Sequence[Tag], height: int, width: int) -> list[Placed]:
    """Find each tag its place, largest object first; those that would hide too much have none."""
    size = text_size(height, width)
    placed: list[Placed] = []
    for tag in sorted((t for t in tags if t.text), key=lambda t: (t.minor, -area(t.box))):
        letters = round(size * MINOR_SIZE) if tag.minor else size
        taken = [other.box for other in placed]
        box = _find_place(tag, tags, taken, letters, (height, width))
        if box is not None:
            placed.append(Placed(tag, box, letters))
    return placed


def text_size(height: int, width: int) -> int:
    """Return the letters' size in pixels that suits an image of this size."""
    return int(np.clip(round(min(height, width) / 26), 10, 30))


def _write(pen: ImageDraw.ImageDraw, placed: Placed) -> None:
    tag, (x0, y0, x1, y1), size = placed
    pen.rounded_rectangle((x0, y0, x1, y1), radius=size / 4, fill=(*tag.colour, OPACITY))
    middle = ((x0 + x1) / 2, (y0 + y1) / 2)
    pen.text(middle, tag.text, font=font(size), fill=(*ink_on(tag.colour), 255), anchor="mm")


def _find_place(
    tag: Tag, tags: Sequence[Tag], taken: Sequence[Box], size: int, image: tuple[int, int]
) -> Box | None:
    """Return the least harmful place for a tag, or None when each would hide too much."""
    others = [other.box for other in tags if other is not tag]
    most_of_object = MOST_BY_MINOR if tag.minor else MOST_OF_OBJECT
    best, best_cost = None, np.inf
    for preference, place in enumerate(_candidates(tag, size, image)):
        on_tags = max((overlap(place, t) / area(place) for t in taken), default=0.0)
        on_objects = [overlap(place, box) / max(area(box), 1.0) for box in others]
        on_itself = overlap(place, tag.box) / max(area(tag.box), 1.0)
        if on_tags > MOST_OF_TAG or max(on_objects, default=0.0) > most_of_object:
            continue
        if on_itself > MOST_OF_OBJECT:
            continue
        cost = sum(on_objects) + on_itself + 0.02 * preference
        if cost < best_cost:
            best, best_cost = place, cost
    return best


def _candidates(tag: Tag, size: int, image: tuple[int, int]) -> Iterable[Box]:
    """Yield places around and inside the box's corners, pushed back into the image."""
    width, height = font(size).getlength(tag.text) + 0.7 * size, 1.4 * size
    x0, y0, x1, y1 = tag.box
    corners = [
        (x0, y0 - height),
        (x0, y0),
        (x1 - width, y0 - height),
        (x0, y1),
        (x1 - width, y0),
        (x1, y0),
        (x0 - width, y0),
        (x1 - width, y1),
        (x0, y1 - height),
        (x1 - width, y1 - height),
    ]
    for x, y in corners:
        left = min(max(x, 0.0), max(image[1] - width, 0.0))
        top = min(max(y, 0.0), max(image[0] - height, 0.0))
        yield left, top, left + width, top + height


def area(box: Box) -> float:
    """Return a box's area in square pixels."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def overlap(a: Box, b: Box) -> float:
    """Return the common area of two boxes in square pixels."""
    return area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
