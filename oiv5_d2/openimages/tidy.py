"""Tables that somebody exported, edited or compressed, written anew as the release has them.

A table of one's own may come out of a spreadsheet, a database, R or pandas. What can be understood
without a guess is taken: UTF-8 or UTF-16, gzip, any of four separators, quoted headers, columns in
another order or more of them, empty lines, a last line without an end, ids in capital letters,
``1.0`` for ``1``, and boxes that leave the image by a rounding error. `readers` reads the result.
"""

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO, cast

from oiv5_d2.files import whole_file
from oiv5_d2.openimages import release
from oiv5_d2.openimages.csv_faults import MAY_BE_EMPTY, NUMBERS, damaged, header_fault, row_fault
from oiv5_d2.problems import Problem, Remedy

ROUNDING = 1e-6  # that a box may leave its image by; the release has six decimals

SEPARATORS = ",;\t|"
_GZIP = b"\x1f\x8b"
_WIDE = ((b"\xff\xfe\0\0", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_EXCEL = re.compile(r"sep=.[\r\n]*")  # a first line that says what stands between fields
# What pandas makes of a column with an empty cell, and what it and R make of yes and no.
_WHOLE = {"-1.0": "-1", "0.0": "0", "1.0": "1", "true": "1", "false": "0"}
_NO_VALUE = {"na", "nan", "null", "none"}
_JPG, _PNG = re.compile(r"\.jpe?g$", re.IGNORECASE), re.compile(r"\.png$", re.IGNORECASE)
_FOLDERS = re.compile(r"^.*[/\\]", re.DOTALL)
_SIDES = [(f"{side}Min", f"{side}Max") for side in ("X", "Y", "BoxX", "BoxY")]

_LONGEST_LINE = 1 << 20

Row = list[str]


def is_as_released(path: Path, columns: Sequence[str]) -> bool:
    """Return True if a file's header and end are the release's; its rows are not read."""
    with path.open("rb") as file:
        first = file.readline(1 << 20)
        file.seek(-1, 2) if first else None
        return not header_fault(first, columns) and file.read() == b"\n"


def write_tidy(path: Path, columns: Sequence[str], to: Path) -> None:
    """Write a table anew, with the release's columns in their order.

    Args:
        path: the table; it is only read.
        columns: the release's, of this table.
        to: where the new one goes.

    Raises:
        Problem: DAMAGED, with the line: it lacks a column, or a row has other fields than the
            header, or it is not text. Values are not checked: `find_fault` does that.
    """
    with whole_file(to) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        try:
            writer.writerows(row for _, row in _rows(path, columns))
        except UnicodeError:  # with the line, and which byte it is
            raise find_fault(path, columns) from None


def find_fault(path: Path, columns: Sequence[str]) -> Problem:
    """Return the problem of the first bad line of a table that `write_tidy` or a reader refused."""
    for line, row in _rows(path, columns, errors="surrogateescape"):
        if fault := row_fault(row, columns, columns):
            return damaged(path, line, *fault)
    return damaged(path, 1, "some of it is no text", Remedy.SAVE_AS_UTF8)


def _rows(path: Path, columns: Sequence[str], errors: str = "strict") -> Iterator[tuple[int, Row]]:
    """Yield each row's line, as an editor counts it, and its values in the release's order."""
    line = 1
    if what := _foreign_format(path):
        raise damaged(path, 1, what, Remedy.FIX_SOURCE)
    try:
        with open_text(path, errors) as text:
            first = text.readline(_LONGEST_LINE)
            while _EXCEL.fullmatch(first) or (first and not first.strip()):
                line, first = line + 1, text.readline(_LONGEST_LINE)
            separator, header = _split_header(path, first, columns)
            names = _split(first, separator)  # again where two tables were joined
            pick = itemgetter(*map(header.index, columns))
            reader = csv.reader(text, delimiter=separator, strict=True)
            above = line
            line += 1
            for row in reader:
                if row and len(row) == len(header) + 1 and line == above + 1:
                    header = _with_one_more(header, row, columns)
                    pick = itemgetter(*map(header.index, columns))
                if row and len(row) != len(header):
                    what = f"{len(row)} fields instead of {len(header)}"
                    raise damaged(path, line, what, Remedy.FIX_LINE)
                if row and row != names:
                    yield line, _tidy(pick(row), columns, separator)
                line = reader.line_num + above + 1
    except csv.Error as error:
        raise damaged(path, line, str(error), Remedy.FIX_LINE) from error
    except (EOFError, OSError, zlib.error) as error:  # of gzip
        raise damaged(path, line, str(error), Remedy.FIX_SOURCE) from error


def _foreign_format(path: Path) -> str:
    """Return what a file is that is no table, "" if it may be one."""
    with path.open("rb") as file:
        start = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page, or a server's error, in place of a table"
    if start.startswith((b"pk\3\4", b"\xd0\xcf\x11\xe0")):
        return "it is a zip or an Excel workbook: unpack it, or save the table as CSV"
    return ""


def _with_one_more(header: Row, row: Row, columns: Sequence[str]) -> Row:
    """Return the header of rows with a field more: lines end in a separator, or R names each row.

    R does not name the column of its names.
    """
    values = dict(zip(header, row, strict=False))
    is_ended = not row[-1] and not row_fault([values[name] for name in columns], columns, columns)
    return [*header, ""] if is_ended else ["", *header]


@contextmanager
def open_text(path: Path, errors: str = "strict") -> Iterator[io.TextIOWrapper]:
    """Open a text of UTF-8 or UTF-16, gzipped or not, without changing its line ends.

    Args:
        path: of the file.
        errors: how bytes that are no text are read, as `open` has it.
    """
    with path.open("rb") as raw:
        is_packed = raw.read(2) == _GZIP
        raw.seek(0)
        binary = cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if is_packed else raw
        start = binary.read(4)
        binary.seek(0)
        encoding = next((name for mark, name in _WIDE if start.startswith(mark)), "utf-8-sig")
        if b"\0" in start[:2] and encoding == "utf-8-sig":  # no mark: a letter of 16 bits
            encoding = "utf-16-le" if start[:1] != b"\0" else "utf-16-be"
        if encoding != "utf-8-sig":  # those know no way to keep a stray byte
            errors = "replace" if errors == "surrogateescape" else errors
        with closing(io.TextIOWrapper(binary, encoding, errors, newline="")) as text:
            yield text


def _split_header(path: Path, line: str, columns: Sequence[str]) -> tuple[str, Row]:
    """Return the separator and the header's names; what more there is than wanted is allowed."""
    known = {column.lower(): column for column in columns}
    for separator in SEPARATORS:
        names = [known.get(name.strip().lower(), name) for name in _split(line, separator)]
        if all(names.count(column) == 1 for column in columns):
            return separator, names
    plain = ",".join(_split(line, ",") or [line])
    fault = header_fault(plain.encode(errors="replace"), columns) or "a column is there twice"
    raise damaged(path, 1, fault, Remedy.FIX_SOURCE)


def _split(line: str, separator: str) -> Row:
    """Return a line's fields; none if a quote in it is not closed."""
    try:
        return next(csv.reader([line], delimiter=separator, strict=True), [])
    except csv.Error:
        return []


def _tidy(values: Sequence[str], columns: Sequence[str], separator: str) -> Row:
    """Return a row's values as the release would have them, where that is no guess."""
    row = dict(zip(columns, map(str.strip, values), strict=True))
    if separator != ",":  # such as a spreadsheet's in German: 0,5 for 0.5
        row |= {name: row[name].replace(",", ".") for name in NUMBERS & row.keys()}
    id_ = _JPG.sub("", row["ImageID"])
    row["ImageID"] = id_.lower()
    if "MaskPath" in row:
        name = _PNG.sub(".png", _FOLDERS.sub("", row["MaskPath"]))
        # A mask's name begins with its image's id.
        row["MaskPath"] = id_.lower() + name[len(id_) :] if id_ and name.startswith(id_) else name
    for column in release.ATTRIBUTES:
        if column in row:
            row[column] = _WHOLE.get(row[column].lower(), row[column])
    for column in MAY_BE_EMPTY:
        if row.get(column, "").lower() in _NO_VALUE:
            row[column] = ""
    for low, high in _SIDES:
        if low in row:
            row[low], row[high] = _ordered(row[low], row[high])
    return list(row.values())


def _ordered(low: str, high: str) -> tuple[str, str]:
    """Return a side's ends, corrected by at most `ROUNDING` so that 0 <= low <= high <= 1."""
    try:
        start, stop = float(low), float(high)
    except ValueError:
        return low, high  # refused later, with the line
    low, high = _inside(low, start), _inside(high, stop)
    return (low, low) if stop < start <= stop + ROUNDING else (low, high)


def _inside(text: str, value: float) -> str:
    if -ROUNDING <= value < 0:
        return "0"
    return "1" if 1 < value <= 1 + ROUNDING else text
