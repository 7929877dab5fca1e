"""What is wrong with a CSV, where, and what to do: one clear line.

The readers parse in bulk; only when a block is refused is it walked again here, row by row, to name
the line as an editor counts it.
"""

import csv
import io
from collections.abc import Collection, Iterator, Sequence

from oiv5_d2.openimages import release

_KNOWN_TABLES = {
    release.MASK_COLUMNS: "a mask table",
    release.BOX_COLUMNS: "a box table",
    (*release.BOX_COLUMNS, *release.V6_BOX_COLUMNS): "the box table of V6 or V7",
    release.IMAGE_LABEL_COLUMNS: "a table of image labels",
    release.IMAGE_COLUMNS: "a list of images",
    release.CLASS_COLUMNS: "the class table of V6 or V7",
}


def bad_line(name: str, line: int, what: str) -> ValueError:
    """Return the error for one line of one file. Lines are counted from 1, the header included."""
    return ValueError(f"{name}: line {line}: {what}. Fetch the file again")


def header_fault(header: bytes, columns: Sequence[str]) -> str | None:
    """Return how a header line differs from the table's columns, and what the file may be."""
    found = header.decode("utf-8-sig", errors="replace").rstrip("\r").split(",")
    if found == list(columns):
        return None
    if found == [""]:
        return "the file is empty"
    missing = [column for column in columns if column not in found]
    extra = [column for column in found if column not in columns]
    if len(missing) == len(columns):
        differences = "the header line is missing, or this is another file"
    else:
        differences = "; ".join(_list_differences(missing, extra))
    guess = _KNOWN_TABLES.get(tuple(found))
    return differences + (f" (it looks like {guess}; V5 is wanted)" if guess else "")


def _list_differences(missing: list[str], extra: list[str]) -> Iterator[str]:
    if missing:
        yield f"columns missing: {', '.join(missing)}"
    if extra:
        yield f"columns not of this table: {', '.join(extra)}"
    if not missing and not extra:
        yield "the columns are in another order, or twice"


def first_fault(
    block: bytes, columns: Sequence[str], numbers: Collection[str]
) -> tuple[int, str] | None:
    """Return the first line of a block, counted from 0, that is ragged or not a number, and why."""
    line = 0
    try:
        for line, row in _rows(block):
            if fault := _row_fault(row, columns, numbers):
                return line, fault
    except csv.Error as error:  # a field longer than the csv module takes, a NUL
        return line + 1, str(error)
    return None


def _row_fault(row: list[str], columns: Sequence[str], numbers: Collection[str]) -> str | None:
    if len(row) != len(columns):
        return f"{len(row)} fields instead of {len(columns)}"
    for column, text in zip(columns, row, strict=True):
        if column in numbers and text and not _is_number(text, column):
            return f"{column} is {text[:40]!r}, not a number"
    return None


def _is_number(text: str, column: str) -> bool:
    try:
        if column in release.ATTRIBUTES:
            return abs(int(text)) < 128
        float(text)
    except ValueError:
        return False
    return True


def line_of_row(block: bytes, row: int) -> int:
    """Return on which line, counted from 0, a block's row begins: quotes may hold line ends."""
    if b'"' not in block:
        return row
    return next(line for index, (line, _) in enumerate(_rows(block)) if index == row)


def _rows(block: bytes) -> Iterator[tuple[int, list[str]]]:
    """Yield the line on which each row begins, counted from 0, and its fields."""
    reader = csv.reader(io.StringIO(block.decode(errors="replace"), newline=""))
    line = 0
    for row in reader:
        yield line, row
        line = reader.line_num
