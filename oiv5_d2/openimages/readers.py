"""Typed, streaming readers of the release's CSVs: a gigabyte is read in the memory of one block.

Each reader yields pandas DataFrames, one a block of the file, whose columns carry the release's own
names. Everything that comes from outside is checked here, once, so that the rooms above need not:
the header, the number of fields, numbers, coordinates, and names that later become file names.
A block is cut at the end of a line and handed to Arrow's CSV parser, so line numbers in messages
are exact, and a pipe or a network stream serves as well as a file.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as pa_csv

from oiv5_d2.openimages import release
from oiv5_d2.openimages.csv_faults import bad_line, first_fault, header_fault, line_of_row
from oiv5_d2.openimages.image_ids import ImageIds

BLOCK_BYTES = 8 << 20
# An open quote makes everything after it one field; a file is given up after this many bytes of it.
_LONGEST_FIELD = 64 << 20
_OPEN_QUOTE = "a quote is opened and not closed"

_FLOATS = ("XMin", "XMax", "YMin", "YMax", "BoxXMin", "BoxXMax", "BoxYMin", "BoxYMax")
_TYPES = {
    **dict.fromkeys(_FLOATS, pa.float64()),
    **dict.fromkeys(("PredictedIoU", "Confidence", "Rotation"), pa.float64()),
    **dict.fromkeys(release.ATTRIBUTES, pa.int8()),
}
_MAY_BE_EMPTY = ("PredictedIoU", "Rotation")
_IMAGE_ID = "^[0-9a-f]{16}$"
_MASK_PATH = r"^[0-9A-Za-z_-][0-9A-Za-z_.-]*\.png$"


class ByteStream(Protocol):
    """What a reader needs of an open binary file, a pipe or a network stream."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; no bytes at the end."""
        ...


class _Table(NamedTuple):
    """How one of the release's tables is checked."""

    columns: tuple[str, ...]
    check: Callable[[pa.Table], "_Fault | None"]
    dropped: tuple[str, ...] = ()


class _Fault(NamedTuple):
    """The first row of a block, counted from 0, that breaks a rule, and the rule."""

    row: int
    what: str


def read_masks(
    source: Path | ByteStream,
    *,
    columns: Sequence[str] | None = None,
    keep: Mapping[str, Iterable[str]] | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[pd.DataFrame]:
    """Yield the mask table; the long Clicks column is never kept.

    Args:
        source: a file, or an open binary stream (a stream is read but not closed).
        columns: which columns to return, in that order; None for all. All rows and the columns
            that matter for safety are checked in any case.
        keep: for a column, the values whose rows are returned; a row must match every column.
            The column with the fewest values first is fastest.
        block_bytes: how much of the file is in memory at a time.

    Yields:
        MaskPath, ImageID, LabelName, BoxID: str; BoxXMin, BoxXMax, BoxYMin, BoxYMax: float64
        fractions of the picture's width and height, 0 <= min <= max <= 1; PredictedIoU: float64,
        NaN where the release has none.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a wrong header, a ragged or truncated row, a value out of its range, a MaskPath
            or ImageID that could leave the data folder. The message names file, line and remedy.
    """
    return _read(source, _MASKS, columns, keep, block_bytes)


def read_boxes(
    source: Path | ByteStream,
    *,
    columns: Sequence[str] | None = None,
    keep: Mapping[str, Iterable[str]] | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[pd.DataFrame]:
    """Yield the box table. Arguments and errors as in `read_masks`.

    Yields:
        ImageID, Source, LabelName: str; Confidence: float64; XMin, XMax, YMin, YMax: float64
        fractions, 0 <= min <= max <= 1; the five attributes: int8, 1 yes, 0 no, -1 not known.
    """
    return _read(source, _BOXES, columns, keep, block_bytes)


def read_image_labels(
    source: Path | ByteStream,
    *,
    columns: Sequence[str] | None = None,
    keep: Mapping[str, Iterable[str]] | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[pd.DataFrame]:
    """Yield the labels that people verified. Arguments and errors as in `read_masks`.

    Yields:
        ImageID, Source, LabelName: str; Confidence: float64, 1 present, 0 absent.
    """
    return _read(source, _IMAGE_LABELS, columns, keep, block_bytes)


def read_images(
    source: Path | ByteStream,
    *,
    columns: Sequence[str] | None = None,
    keep: Mapping[str, Iterable[str]] | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[pd.DataFrame]:
    """Yield the list of images. Arguments and errors as in `read_masks`.

    Yields:
        the release's twelve columns, all str ("" where empty) but Rotation: float64 degrees, NaN
        where the release has none.
    """
    return _read(source, _IMAGES, columns, keep, block_bytes)


def schema(columns: Iterable[str]) -> pa.Schema:
    """Return the Arrow types in which the readers give these columns."""
    return pa.schema({column: _TYPES.get(column, pa.string()) for column in columns})


def _read(
    source: Path | ByteStream,
    table: _Table,
    columns: Sequence[str] | None,
    keep: Mapping[str, Iterable[str]] | None,
    block_bytes: int,
) -> Iterator[pd.DataFrame]:
    if isinstance(source, Path):
        with source.open("rb") as file:
            yield from _frames(file, str(source), table, columns, keep, block_bytes)
    else:
        name = str(getattr(source, "name", "stream"))
        yield from _frames(source, name, table, columns, keep, block_bytes)


def _frames(
    file: ByteStream,
    name: str,
    table: _Table,
    columns: Sequence[str] | None,
    keep: Mapping[str, Iterable[str]] | None,
    block_bytes: int,
) -> Iterator[pd.DataFrame]:
    filters = [(column, _membership(column, values)) for column, values in (keep or {}).items()]
    for line, block in _rows(file, name, table.columns, block_bytes):
        rows = _parse(block, name, line, table)
        for column, is_kept in filters:
            rows = rows.filter(is_kept(rows[column]))
        yield rows.select(list(columns) if columns else rows.column_names).to_pandas()


def _membership(column: str, values: Iterable[str]) -> Callable[[pa.ChunkedArray], pa.Array]:
    """Return which of a column's values are among the given ones, as a function of the column."""
    if column == "ImageID":  # often a million; Arrow would hash them again for every block
        image_ids = ImageIds.of(values)
        return lambda rows: pa.array(image_ids.contain(rows))
    value_set = pa.array(list(values), pa.string())
    return lambda rows: pc.is_in(rows, value_set=value_set)


def _rows(
    file: ByteStream, name: str, columns: Sequence[str], block_bytes: int
) -> Iterator[tuple[int, bytes]]:
    """Yield blocks of rows, each with the line number of its first, once the header is right.

    There is always a block, if without a row, so that there is always a DataFrame with its columns.
    """
    blocks = _blocks(file, name, block_bytes)
    line, first = next(blocks, (1, b"\n"))
    header, _, rest = first.partition(b"\n")
    if fault := header_fault(header, columns):
        raise bad_line(name, line, fault)
    yield line + 1, rest
    yield from blocks


def _blocks(file: ByteStream, name: str, block_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Cut a file at line ends into blocks of about `block_bytes`, with their line numbers."""
    line, rest = 1, b""
    while chunk := file.read(block_bytes):
        rest += chunk
        if cut := _last_row_end(rest):
            yield line, rest[:cut]
            line += rest.count(b"\n", 0, cut)
            rest = rest[cut:]
        elif len(rest) > block_bytes + _LONGEST_FIELD:
            raise bad_line(name, line, _OPEN_QUOTE)
    if rest.endswith(b"\n"):
        raise bad_line(name, line, _OPEN_QUOTE)
    if rest:
        # Refused even with all its fields: most bytes are Clicks, the likeliest place for a cut.
        raise bad_line(name, line + rest.count(b"\n"), "the file ends in the middle of a line")


def _last_row_end(text: bytes) -> int:
    """Return how many bytes of `text` are whole rows. A line end inside quotes ends no row."""
    end = text.rfind(b"\n") + 1
    quoted = text.count(b'"', 0, end) % 2
    while quoted and end:
        previous = text.rfind(b"\n", 0, end - 1) + 1
        quoted ^= text.count(b'"', previous, end) % 2
        end = previous
    return end


def _parse(block: bytes, name: str, line: int, table: _Table) -> pa.Table:
    """Return a block's rows, typed and checked. `line` is its first line's number in the file."""
    kept = [column for column in table.columns if column not in table.dropped]
    types = schema(kept)
    if not block:
        return types.empty_table()
    try:
        rows = pa_csv.read_csv(
            pa.BufferReader(block),
            pa_csv.ReadOptions(column_names=table.columns, block_size=len(block) + 1),
            pa_csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
            pa_csv.ConvertOptions(
                column_types=types,
                include_columns=kept,
                null_values=[""],
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid as error:
        numbers = {column for column in kept if column in _TYPES}
        offset, fault = first_fault(block, table.columns, numbers) or (0, repr(str(error)))
        raise bad_line(name, line + offset, fault) from error
    if fault_row := _first_empty(rows) or table.check(rows):
        raise bad_line(name, line + line_of_row(block, fault_row.row), fault_row.what)
    return rows


def _first_empty(rows: pa.Table) -> _Fault | None:
    for column in rows.column_names:
        if rows[column].null_count and column not in _MAY_BE_EMPTY:
            return _first(pc.is_null(rows[column]), f"{column} is empty")
    return None


def _first(is_bad: pa.ChunkedArray, what: str) -> _Fault | None:
    row = pc.index(is_bad, True).as_py()
    return None if row < 0 else _Fault(row, what)


def _check_masks(rows: pa.Table) -> _Fault | None:
    return (
        _check_names(rows, "ImageID", _IMAGE_ID, "is not 16 hex digits")
        or _check_names(rows, "MaskPath", _MASK_PATH, "is not a plain name ending in .png")
        or _check_boxes(rows, "Box")
    )


def _check_box_rows(rows: pa.Table) -> _Fault | None:
    return (
        _check_names(rows, "ImageID", _IMAGE_ID, "is not 16 hex digits")
        or _check_boxes(rows, "")
        or _check_attributes(rows)
    )


def _check_image_ids(rows: pa.Table) -> _Fault | None:
    return _check_names(rows, "ImageID", _IMAGE_ID, "is not 16 hex digits")


def _check_names(rows: pa.Table, column: str, pattern: str, what: str) -> _Fault | None:
    """Refuse names that could lead out of the data folder: they become file names."""
    names = rows[column]
    bad = pc.invert(pc.match_substring_regex(names, pattern))
    if column == "MaskPath":
        bad = pc.or_(bad, pc.match_substring(names, ".."))
    fault = _first(bad, "")
    return fault and _Fault(fault.row, f"{column} {names[fault.row].as_py()[:60]!r} {what}")


def _check_boxes(rows: pa.Table, prefix: str) -> _Fault | None:
    for axis in "XY":
        low, high = rows[f"{prefix}{axis}Min"], rows[f"{prefix}{axis}Max"]
        ordered = pc.and_(pc.greater_equal(low, 0.0), pc.less_equal(low, high))
        # A NaN compares false, so it is caught as well.
        fault = _first(pc.invert(pc.and_(ordered, pc.less_equal(high, 1.0))), "")
        if fault:
            values = f"{prefix}{axis}Min {low[fault.row]} and {prefix}{axis}Max {high[fault.row]}"
            return _Fault(fault.row, f"{values} do not keep to 0 <= min <= max <= 1")
    return None


def _check_attributes(rows: pa.Table) -> _Fault | None:
    for column in release.ATTRIBUTES:
        values = rows[column]
        fault = _first(pc.greater(pc.abs(values), 1), "")
        if fault:
            return _Fault(fault.row, f"{column} is {values[fault.row]}, not 1, 0 or -1")
    return None


_MASKS = _Table(release.MASK_COLUMNS, _check_masks, dropped=("Clicks",))
_BOXES = _Table(release.BOX_COLUMNS, _check_box_rows)
_IMAGE_LABELS = _Table(release.IMAGE_LABEL_COLUMNS, _check_image_ids)
_IMAGES = _Table(release.IMAGE_COLUMNS, _check_image_ids)
