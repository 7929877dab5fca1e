"""Anti-aliased text on images, in the typeface that matplotlib brings along."""

from functools import lru_cache
from pathlib import Path

import matplotlib
from PIL import ImageFont

REGULAR, BOLD = "DejaVuSans.ttf", "DejaVuSans-Bold.ttf"


@lru_cache(maxsize=64)
def font(size: int, face: str = REGULAR) -> ImageFont.FreeTypeFont:
    """Return the typeface at `size` pixels."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", face)), size)


def line_height(size: int) -> int:
    """Return the distance of two lines in pixels."""
    return round(size * 1.35)


def shorten(text: str, size: int, width: float, face: str = REGULAR) -> str:
    """Return `text`, or its beginning with an ellipsis, so that it fits in `width` pixels."""
    if font(size, face).getlength(text) <= width:
        return text
    kept = text
    while kept and font(size, face).getlength(kept.rstrip() + "…") > width:
        kept = kept[:-1]
    return kept.rstrip() + "…"
