"""Text on images: the typeface, and name tags that hide neither one another nor small objects."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from oiv5_d2.drawing.colours import Colour, ink_on

Box = tuple[float, float, float, float]  # xyxy_abs

REGULAR, BOLD = "DejaVuSans.ttf", "DejaVuSans-Bold.ttf"  # matplotlib brings them along
OPACITY = 225  # of 255
# A tag that would cover more than these shares of another tag or object is left out: its colour
# already names the class.
MOST_OF_TAG, MOST_OF_OBJECT, MOST_BY_MINOR = 0.02, 0.5, 0.25
MINOR_SIZE = 0.8


@lru_cache(maxsize=64)
def font(size: int, face: str = REGULAR) -> ImageFont.FreeTypeFont:
    """Return the typeface at `size` pixels."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", face)), size)


def line_height(size: int) -> int:
    """Return the distance of two lines in pixels."""
    return round(size * 1.35)


def shorten(text: str, size: int, width: float) -> str:
    """Return `text`, or its beginning with an ellipsis, so that it fits in `width` pixels."""
    shorter = (text[:end].rstrip() + "…" for end in range(len(text), 0, -1))
    return next((t for t in chain([text], shorter) if font(size).getlength(t) <= width), "…")


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


def draw_tags(image: NDArray[np.uint8], tags: Sequence[Tag]) -> NDArray[np.uint8]:
    """Write on a copy of `image` the tags that find room."""
    height, width = image.shape[:2]
    canvas = Image.fromarray(image)
    layer = Image.new("RGBA", canvas.size, (0, 0, 0, 0))
    pen = ImageDraw.Draw(layer)
    for tag in place_tags(tags, height, width):
        size = text_size(height, width, tag.minor)
        pen.rounded_rectangle(tag.box, radius=size / 4, fill=(*tag.colour, OPACITY))
        middle = ((tag.box[0] + tag.box[2]) / 2, (tag.box[1] + tag.box[3]) / 2)
        pen.text(middle, tag.text, font=font(size), fill=(*ink_on(tag.colour), 255), anchor="mm")
    return np.asarray(Image.alpha_composite(canvas.convert("RGBA"), layer).convert("RGB"))


def place_tags(tags: Sequence[Tag], height: int, width: int) -> list[Tag]:
    """Return the tags that find room, that of the largest object first; `box` is then their own."""
    placed: list[Tag] = []
    for tag in sorted((t for t in tags if t.text), key=lambda t: (t.minor, -area(t.box))):
        others = [other.box for other in tags if other is not tag]
        taken = [other.box for other in placed]
        places = list(_candidates(tag, height, width))
        harms = [_harm(place, tag, others, taken) + 0.02 * i for i, place in enumerate(places)]
        if min(harms) < np.inf:
            placed.append(tag._replace(box=places[harms.index(min(harms))]))
    return placed


def text_size(height: int, width: int, minor: bool = False) -> int:
    """Return the letters' size in pixels that suits an image of this size."""
    size = int(np.clip(round(min(height, width) / 26), 10, 30))
    return round(size * MINOR_SIZE) if minor else size


def _harm(place: Box, tag: Tag, others: Sequence[Box], taken: Sequence[Box]) -> float:
    """Return the shares of objects that a tag hides there, added up; infinity if too much."""
    on_tags = [overlap(place, box) / area(place) for box in taken]
    on_objects = [overlap(place, box) / max(area(box), 1.0) for box in others]
    on_itself = overlap(place, tag.box) / max(area(tag.box), 1.0)
    is_allowed = (
        max(on_tags, default=0.0) <= MOST_OF_TAG
        and max(on_objects, default=0.0) <= (MOST_BY_MINOR if tag.minor else MOST_OF_OBJECT)
        and on_itself <= MOST_OF_OBJECT
    )
    return sum(on_objects) + on_itself if is_allowed else np.inf


def _candidates(tag: Tag, image_height: int, image_width: int) -> Iterator[Box]:
    """Yield places around and inside the box's corners, best first, pushed into the image."""
    size = text_size(image_height, image_width, tag.minor)
    width, height = font(size).getlength(tag.text) + 0.7 * size, 1.4 * size
    x0, y0, x1, y1 = tag.box
    above, left, right, bottom = y0 - height, x0 - width, x1 - width, y1 - height
    corners = [(x0, above), (x0, y0), (right, above), (x0, y1), (right, y0)]
    corners += [(x1, y0), (left, y0), (right, y1), (x0, bottom), (right, bottom)]
    for x, y in corners:
        x = min(max(x, 0.0), max(image_width - width, 0.0))
        y = min(max(y, 0.0), max(image_height - height, 0.0))
        yield x, y, x + width, y + height


def area(box: Box) -> float:
    """Return a box's area in square pixels."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def overlap(a: Box, b: Box) -> float:
    """Return the common area of two boxes in square pixels."""
    return area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
