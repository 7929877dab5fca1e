"""The terminal, or the file in its place: what tools print, and how tables are drawn."""

import logging
import sys
from typing import TextIO

from rich.console import Console
from rich.highlighter import NullHighlighter
from rich.logging import RichHandler
from rich.table import Table
from rich.text import Text

from oiv5_d2 import table

OURS = "oiv5_d2"  # how the names of our loggers begin
LONGEST_WORD = 12  # characters of a word that is not folded in a column of text
LOG_WIDTH = 160  # columns, without a terminal


class Screen(Console):
    """A console that leaves it to `report_errors` what happens when nobody reads the output."""

    def on_broken_pipe(self) -> None:
        """Go on with the error that is being handled."""
        raise


class Lines(logging.StreamHandler[TextIO]):
    """A log of lines that does the same."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Go on with the error that is being handled, if it is that one."""
        if isinstance(sys.exc_info()[1], BrokenPipeError):
            raise
        super().handleError(record)


# Without markup: a list such as [train,validation] is text.
console = Screen(width=None if sys.stdout.isatty() else LOG_WIDTH, soft_wrap=False, markup=False)


def draw(table: table.Table) -> None:
    """Print a table, or prose as lines. On a narrow terminal long words are folded; figures never.

    Of prose each row is a line, and its last cell, a remedy or an example, another one: it may be a
    command, which nobody could copy out of a narrow column.
    """
    if table.is_prose:
        console.print(Text(table.title, style="italic"))
        for first, second, what, *remedies in table.rows:
            console.print(f"- {first}, {second}: {what}".replace(", :", ":"))
            for remedy in remedies:
                console.print(f"    {remedy}", soft_wrap=True)
        return
    drawn = Table()
    for index, (header, width) in enumerate(zip(table.columns, widths(table), strict=True)):
        if table.is_text(index):
            drawn.add_column(header, overflow="fold", min_width=width)
        else:
            drawn.add_column(header, overflow="fold", justify="right", width=width)
    for row in table.rows:
        drawn.add_row(*map(Text, row))
    console.print(Text(table.title, style="italic"), soft_wrap=True)  # not as narrow as the table
    console.print(drawn)
    if table.note:
        console.print(table.note)


def widths(table: table.Table) -> list[int]:
    """Return the columns' (least) widths in characters, as narrow as the screen requires."""
    whole, broken = [], []  # headers whole, or broken between words
    cells = [_longest(table, index) for index in range(len(table.columns))]
    for header, width in zip(table.columns, cells, strict=True):
        whole.append(max(width, len(header)))
        broken.append(max(width, *map(len, header.split()), 0))
    room = console.width - 3 * len(cells) - 1  # beside the frame
    return next((each for each in (whole, broken) if sum(each) <= room), cells)


def _longest(table: table.Table, index: int) -> int:
    """Return the length of a column's longest figure, or longest word up to a limit."""
    cells = [row[index] for row in table.rows]
    if not table.is_text(index):
        return max(map(len, cells))
    return min(LONGEST_WORD, max(len(word) for cell in cells for word in cell.split() or [""]))


def size(num_bytes: float) -> str:
    """Return bytes in B, kB, MB or GB."""
    unit = "B"
    for larger in ("kB", "MB", "GB"):
        if num_bytes < 1000:
            break
        num_bytes, unit = num_bytes / 1000, larger
    return f"{num_bytes:.0f} B" if unit == "B" else f"{num_bytes:.1f} {unit}"


def duration(seconds: float) -> str:
    """Return a time in seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def set_up_logging() -> None:
    """Log to the screen: beside the bars on a terminal, as plain lines where there is none.

    Libraries are heard from a warning on; what they say besides, and our details, is for log files.
    """
    handler: logging.Handler = Lines(sys.stdout)
    if console.is_terminal:
        handler = RichHandler(
            console=console,
            show_time=False,
            show_level=False,
            show_path=False,
            highlighter=NullHighlighter(),
        )
    handler.setLevel(logging.INFO)
    handler.addFilter(_is_for_people)
    handler.setFormatter(_Sentence())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


class _Sentence(logging.Formatter):
    """The message alone, or after its level from a warning on."""

    def format(self, record: logging.LogRecord) -> str:
        level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        return f"{level}{record.getMessage()}"


def _is_for_people(record: logging.LogRecord) -> bool:
    is_loud = record.levelno >= logging.WARNING and record.name != "py.warnings"
    return record.name.startswith(OURS) or is_loud
