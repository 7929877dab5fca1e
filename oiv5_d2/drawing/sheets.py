"""Contact sheets: images in a grid of equal cells, with captions, a title and a legend."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from oiv5_d2.drawing.colours import FAINT_INK, IGNORED, INK, MAT, PAPER, Colour
from oiv5_d2.drawing.shapes import RgbImage
from oiv5_d2.drawing.text import BOLD, font, line_height, shorten
from oiv5_d2.problems import Kind, Problem

TITLE, TEXT = 26, 15  # letters, in pixels
MARGIN, GAP = 28, 16
SWATCH = 16
LINE = line_height(TEXT)


class Cell(NamedTuple):
    """One place of the sheet: an image, (h, w, 3) uint8 RGB, and two lines of text below it."""

    image: RgbImage
    caption: str
    detail: str


class LegendEntry(NamedTuple):
    """One entry of the legend; without a colour its swatch is hatched, as ignored regions are."""

    text: str
    colour: Colour | None


LegendRow = list[tuple[int, LegendEntry]]  # each with its x


class Sheet(NamedTuple):
    """What a contact sheet says above its cells, and their size: (height, width) in pixels."""

    title: str
    subtitle: str
    legend: Sequence[LegendEntry]
    columns: int
    cell: tuple[int, int]


def lay_out(sheet: Sheet, cells: Sequence[Cell]) -> RgbImage:
    """Return the sheet as (H, W, 3) uint8, RGB.

    An image smaller than its cell is centred on a mat, never stretched.

    Raises:
        Problem: EMPTY, there is no cell.
    """
    if not cells:
        raise Problem(Kind.EMPTY, sheet.title, "no image to show")
    columns = min(sheet.columns, len(cells))
    row_height = sheet.cell[0] + 2 * LINE + 6 + GAP
    least = 2 * MARGIN + round(font(TITLE, BOLD).getlength(sheet.title))
    width = max(least, 2 * MARGIN + columns * (sheet.cell[1] + GAP) - GAP)
    legend = _legend_rows(sheet.legend, width)
    top = MARGIN + line_height(TITLE) + LINE + len(legend) * (LINE + 6) + GAP
    height = top + -(-len(cells) // columns) * row_height + MARGIN - GAP
    page = Image.new("RGB", (width, height), PAPER)
    _write_head(page, sheet, legend)
    for i, cell in enumerate(cells):
        row, column = divmod(i, columns)
        corner = (MARGIN + column * (sheet.cell[1] + GAP), top + row * row_height)
        _paste(page, cell, corner, sheet.cell)
    return np.asarray(page)


def _paste(page: Image.Image, cell: Cell, corner: tuple[int, int], room: tuple[int, int]) -> None:
    x, y = corner
    height, width = cell.image.shape[:2]
    assert height <= room[0] and width <= room[1], (cell.caption, cell.image.shape, room)
    pen = ImageDraw.Draw(page)
    pen.rectangle((x, y, x + room[1] - 1, y + room[0] - 1), fill=MAT)
    place = (x + (room[1] - width) // 2, y + (room[0] - height) // 2)
    page.paste(Image.fromarray(cell.image), place)
    y += room[0] + 5
    pen.text((x, y), shorten(cell.caption, TEXT, room[1]), font=font(TEXT), fill=INK)
    pen.text((x, y + LINE), shorten(cell.detail, TEXT, room[1]), font=font(TEXT), fill=FAINT_INK)


def _write_head(page: Image.Image, sheet: Sheet, legend: Sequence[LegendRow]) -> None:
    pen = ImageDraw.Draw(page)
    pen.text((MARGIN, MARGIN), sheet.title, font=font(TITLE, BOLD), fill=INK)
    y = MARGIN + line_height(TITLE)
    subtitle = shorten(sheet.subtitle, TEXT, page.width - 2 * MARGIN)
    pen.text((MARGIN, y), subtitle, font=font(TEXT), fill=FAINT_INK)
    for row in legend:
        y += LINE + 6
        for x, entry in row:
            _write_entry(pen, entry, (x, y))


def _legend_rows(legend: Sequence[LegendEntry], width: int) -> list[LegendRow]:
    """Break the legend into rows for a sheet of `width` pixels."""
    rows: list[LegendRow] = []
    x = width
    for entry in legend:
        length = SWATCH + 8 + round(font(TEXT).getlength(entry.text))
        if x + length > width - MARGIN:
            rows.append([])
            x = MARGIN
        rows[-1].append((x, entry))
        x += length + 26
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
