"""What is wrong with one of the release's CSVs, and on which line.

The reader checks whole blocks at a time. If one is refused, the file is read again here, row by row
with the csv module, to find the line as an editor counts it.
"""

import csv
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from oiv5_d2.openimages import release
from oiv5_d2.problems import Kind, Problem, Remedy

NUMBERS = frozenset({
    "PredictedIoU", "Confidence", "Rotation", *release.ATTRIBUTES,
    *(f"{box}{axis}{end}" for box in ("", "Box") for axis in "XY" for end in ("Min", "Max")),
})  # fmt: skip
MAY_BE_EMPTY = frozenset({"PredictedIoU", "Rotation"})
SHARES = frozenset({"Confidence", "PredictedIoU"})
MASK_PATH = r"^[0-9A-Za-z_-]+(\.[0-9A-Za-z_-]+)*\.png$"
"""Names of masks become file names: none may lead out of the data folder."""

_LONGEST_SHOWN = 60
_KNOWN_TABLES = {
    release.MASK_COLUMNS: "a mask table",
    release.BOX_COLUMNS: "a box table",
    release.V6_BOX_COLUMNS: "the box table of V6 or V7",
    release.IMAGE_LABEL_COLUMNS: "a table of image labels",
    release.IMAGE_COLUMNS: "a list of images",
    release.CLASS_COLUMNS: "the class table of V6 or V7",
}


class Fault(NamedTuple):
    """What is wrong with a row, and what helps if the table is one's own."""

    what: str
    remedy: Remedy = Remedy.FIX_LINE


def damaged(path: Path, line: int, what: str, remedy: Remedy = Remedy.FETCH_AGAIN) -> Problem:
    """Return the problem of one line of one file, counted from 1 with the header."""
    return Problem(Kind.DAMAGED, path, f"line {line}: {what}", remedy=remedy)


def check_ends(path: Path, header: Sequence[str]) -> None:
    """Check the first line and that the last one is whole.

    Raises:
        Problem: DAMAGED.
    """
    with path.open("rb") as file:
        first = file.readline(1 << 20)
        if fault := header_fault(first, header):
            raise damaged(path, 1, fault)
        file.seek(-1, 2)
        if file.read() != b"\n":
            file.seek(0)
            raise damaged(path, sum(1 for _ in file), "the file ends in the middle of a line")


def check_quotes(path: Path) -> None:
    """Check that the last quoted value is closed: it would contain all lines that follow.

    Raises:
        Problem: DAMAGED, with the line on which that row begins.
    """
    line = 1
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            for _ in reader:
                line = reader.line_num + 1
        except csv.Error as error:
            raise damaged(path, line, f"{error} (a quote that is not closed?)") from error


def find_fault(path: Path, header: Sequence[str], columns: Sequence[str], reason: str) -> Problem:
    """Return the problem of the first bad line.

    Args:
        path: a file that was refused.
        header: its columns.
        columns: those that were read.
        reason: what the reader said, for a fault that only the reader sees.
    """
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file)
        next(reader, None)
        line = 2
        try:
            for row in reader:
                if fault := row_fault(row, header, columns):
                    return damaged(path, line, fault.what)
                line = reader.line_num + 1
        except csv.Error as error:  # a field that never ends
            return damaged(path, line, f"{error} (a quote that is not closed?)")
    return Problem(Kind.DAMAGED, path, reason, remedy=Remedy.FETCH_AGAIN)


def header_fault(first: bytes, header: Sequence[str]) -> str | None:
    """Return how the first line differs from the table's columns, and what the file could be."""
    found = first.decode("utf-8-sig", errors="replace").rstrip("\r\n").split(",")
    if found == list(header):
        return None
    if found == [""]:
        return "the file is empty"
    columns = {
        "missing": [column for column in header if column not in found],
        "not of this table": [column for column in found if column not in header],
    }
    differences = [f"columns {which}: {', '.join(some)}" for which, some in columns.items() if some]
    if columns["missing"] == list(header):
        differences = ["the header line is missing, or this is another file"]
    guess = _KNOWN_TABLES.get(tuple(found))
    what = "; ".join(differences) or "the columns are in another order, or twice"
    return what + (f" (it looks like {guess})" if guess else "")


def row_fault(row: Sequence[str], header: Sequence[str], columns: Sequence[str]) -> Fault | None:
    """Return what is wrong with a row, in the columns that are read; None if nothing is."""
    if len(row) != len(header):
        return Fault(f"{len(row)} fields instead of {len(header)}")
    values = {name: text for name, text in zip(header, row, strict=True) if name in columns}
    for column, text in values.items():
        if fault := _value_fault(column, text):
            return fault._replace(what=f"{column} {_shown(text)} {fault.what}")
    for side in ("X", "Y", "BoxX", "BoxY"):
        if f"{side}Min" in values:
            low, high = values[f"{side}Min"], values[f"{side}Max"]
            if not 0 <= float(low) <= float(high) <= 1:  # a NaN compares false
                return Fault(f"{side}Min {low} and {side}Max {high} are not 0 <= min <= max <= 1")
    return None


def _shown(text: str) -> str:
    """Return a value in quotes, cut if long, with a question mark for what is no text."""
    return repr(text[:_LONGEST_SHOWN].encode(errors="replace").decode())


def stray_byte(text: str) -> str:
    """Return which byte of a text, read with ``surrogateescape``, is not UTF-8; "" if none."""
    stray = re.search("[\udc80-\udcff]", text)
    return f"is not UTF-8 (byte 0x{ord(stray[0]) - 0xDC00:02x})" if stray else ""


def _value_fault(column: str, text: str) -> Fault | None:
    if what := stray_byte(text):
        return Fault(what, Remedy.SAVE_AS_UTF8)
    if column == "ImageID" and not re.fullmatch("[0-9a-f]{16}", text):
        is_upper = re.fullmatch("[0-9a-fA-F]{16}", text)
        what = "has capital letters" if is_upper else "is not 16 hex digits"
        return Fault(what, Remedy.OWN_IMAGES)
    if column == "LabelName" and not text.startswith("/"):
        return Fault("is not a MID, such as /m/0k4j")
    if column == "MaskPath" and not re.fullmatch(MASK_PATH, text):
        return Fault("is not a plain name ending in .png")
    if column in release.ATTRIBUTES and text not in ("-1", "0", "1"):
        return Fault("is not 1, 0 or -1")
    if column in NUMBERS and (text or column not in MAY_BE_EMPTY):
        return _number_fault(column, text)
    return None


def _number_fault(column: str, text: str) -> Fault | None:
    try:
        number = float(text)
    except ValueError:
        return Fault("is not a number")
    if not math.isfinite(number) or "_" in text:  # Python alone takes 1_0
        return Fault("is not a number")
    if column in SHARES and not 0 <= number <= 1:
        return Fault("is not from 0 to 1")
    return None
