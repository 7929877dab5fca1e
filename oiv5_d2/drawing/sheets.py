"""Contact sheets: images in a grid of equal cells, with captions, a title and a legend."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from oiv5_d2.drawing.colours import FAINT_INK, IGNORED, INK, MAT, PAPER, Colour
from oiv5_d2.drawing.text import BOLD, REGULAR, font, line_height, shorten
from oiv5_d2.problems import Kind, Problem

TITLE, TEXT = 26, 15  # letters, in pixels
MARGIN, GAP = 28, 16
SWATCH = 16


class Cell(NamedTuple):
    """One place of the sheet: an image, (h, w, 3) uint8 RGB, and up to two lines below it."""

    image: NDArray[np.uint8]
    caption: str
    detail: str = ""


class LegendEntry(NamedTuple):
    """One entry of the legend; without a colour its swatch is hatched, as ignored regions are."""

    text: str
    colour: Colour | None


class Sheet(NamedTuple):
    """What a contact sheet says.

    Attributes:
        title: one line in large letters.
        subtitle: one line below it.
        legend: what the colours mean.
        columns: cells in a row.
        cell: (height, width) of the room for one image, in pixels.
    """

    title: str
    subtitle: str
    legend: Sequence[LegendEntry]
    columns: int
    cell: tuple[int, int]


def lay_out(sheet: Sheet, cells: Sequence[Cell]) -> NDArray[np.uint8]:
    """Return the sheet as (H, W, 3) uint8, RGB.

    An image smaller than its cell is centred on a mat, never stretched.

    Raises:
        Problem: EMPTY, there is no cell.
    """
    if not cells:
        raise Problem(Kind.EMPTY, sheet.title, "no image to show")
    columns = min(sheet.columns, len(cells))
    rows = -(-len(cells) // columns)
    caption = line_height(TEXT) * (2 if any(c.detail for c in cells) else 1) + 6
    width = max(_min_width(sheet), 2 * MARGIN + columns * sheet.cell[1] + (columns - 1) * GAP)
    head = _head_height(sheet, width)
    height = head + rows * (sheet.cell[0] + caption + GAP) + MARGIN - GAP
    page = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(page)
    _write_head(pen, sheet, width)
    for i, cell in enumerate(cells):
        x = MARGIN + i % columns * (sheet.cell[1] + GAP)
        y = head + i // columns * (sheet.cell[0] + caption + GAP)
        _paste(page, pen, cell, (x, y), sheet.cell)
    return np.asarray(page)


def side_by_side(
    left: NDArray[np.uint8], right: NDArray[np.uint8], gap: int = 4
) -> NDArray[np.uint8]:
    """Return two images of one height with a white bar of `gap` pixels between them."""
    bar = np.full((left.shape[0], gap, 3), PAPER, dtype=np.uint8)
    return np.concatenate([left, bar, right], axis=1)


def _paste(
    page: Image.Image,
    pen: ImageDraw.ImageDraw,
    cell: Cell,
    corner: tuple[int, int],
    room: tuple[int, int],
) -> None:
    x, y = corner
    height, width = cell.image.shape[:2]
    assert height <= room[0] and width <= room[1], (cell.caption, cell.image.shape, room)
    pen.rectangle((x, y, x + room[1] - 1, y + room[0] - 1), fill=MAT)
    place = (x + (room[1] - width) // 2, y + (room[0] - height) // 2)
    page.paste(Image.fromarray(cell.image), place)
    for row, (text, ink) in enumerate(((cell.caption, INK), (cell.detail, FAINT_INK))):
        place = (x, y + room[0] + 5 + row * line_height(TEXT))
        pen.text(place, shorten(text, TEXT, room[1]), font=font(TEXT), fill=ink)


def _min_width(sheet: Sheet) -> int:
    return 2 * MARGIN + round(font(TITLE, BOLD).getlength(sheet.title))


def _head_height(sheet: Sheet, width: int) -> int:
    lines = len(_legend_rows(sheet.legend, width))
    head = MARGIN + line_height(TITLE) + line_height(TEXT) * bool(sheet.subtitle)
    return head + lines * (line_height(TEXT) + 6) + GAP


def _write_head(pen: ImageDraw.ImageDraw, sheet: Sheet, width: int) -> None:
    y = MARGIN
    pen.text((MARGIN, y), sheet.title, font=font(TITLE, BOLD), fill=INK)
    y += line_height(TITLE)
    if sheet.subtitle:
        text = shorten(sheet.subtitle, TEXT, width - 2 * MARGIN)
        pen.text((MARGIN, y), text, font=font(TEXT, REGULAR), fill=FAINT_INK)
        y += line_height(TEXT)
    for row in _legend_rows(sheet.legend, width):
        y += 6
        for x, entry in row:
            _write_entry(pen, entry, (x, y))
        y += line_height(TEXT)


def _legend_rows(legend: Sequence[LegendEntry], width: int) -> list[list[tuple[int, LegendEntry]]]:
    """Break the legend into rows of (x, entry)."""
    rows: list[list[tuple[int, LegendEntry]]] = []
    x = width
    for entry in legend:
        length = SWATCH + 8 + round(font(TEXT).getlength(entry.text)) + 26
        if x + length > width - MARGIN + 26:
            rows.append([])
            x = MARGIN
        rows[-1].append((x, entry))
        x += length
    return rows


def _write_entry(pen: ImageDraw.ImageDraw, entry: LegendEntry, corner: tuple[int, int]) -> None:
    x, y = corner
    box = (x, y + 1, x + SWATCH, y + 1 + SWATCH)
    if entry.colour is None:
        pen.rectangle(box, fill=FAINT_INK, outline=IGNORED)
        for shift in range(-SWATCH + 5, SWATCH, 6):
            start = (x + max(shift, 0), y + 1 + SWATCH + min(shift, 0))
            end = (x + SWATCH + min(shift, 0), y + 1 + max(shift, 0))
            pen.line((start, end), fill=IGNORED, width=2)
    else:
        pen.rounded_rectangle(box, radius=3, fill=entry.colour)
    pen.text((x + SWATCH + 8, y), entry.text, font=font(TEXT), fill=INK)
