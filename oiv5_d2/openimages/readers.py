"""A streaming reader of the release's CSVs: a gigabyte is read in the memory of a few blocks.

Input is checked here, so that the rooms above need not: the header, the number of fields, numbers,
coordinates, and names that later become file names.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as pa_csv

from oiv5_d2.openimages import csv_faults, release
from oiv5_d2.openimages.ids import IdSet, parse_ids

_BLOCK_BYTES = 256 << 10
_BLOCKS_A_CHECK = 8
_FRAME_ROWS = 16 << 10  # a frame for each block would cost more than the reading
_CLICKS, _LABEL = "Clicks", "LabelName"
# Columns that are always read, and checked in all rows. Others are checked in the rows that stay.
_BOXES = [(f"{side}Min", f"{side}Max") for side in ("X", "Y", "BoxX", "BoxY")]
_CHECKED = {"ImageID", *release.ATTRIBUTES, *(column for pair in _BOXES for column in pair)}

Filter = Callable[[pa.Table], pa.ChunkedArray]


def read_rows(
    path: Path,
    header: Sequence[str],
    columns: Sequence[str] | None = None,
    keep: Mapping[str, Iterable[str]] | None = None,
    advance: Callable[[int], object] = lambda num_bytes: None,
) -> Iterator[pd.DataFrame]:
    """Yield the wanted rows of one of the release's tables, in at least one frame.

    Columns have the release's names and these types: text is str; coordinates are float64 fractions
    of the image's width and height, 0 <= min <= max <= 1; the five attributes are int8, 1 yes, 0
    no, -1 not known; Confidence is float64, PredictedIoU and Rotation likewise, NaN where empty.

    Args:
        path: the file.
        header: the columns that it has, as in `release.ReleaseFile.columns`.
        columns: those to return, in that order; None for all but the long Clicks.
        keep: for ImageID or another column of text, the values whose rows are returned; a row must
            match every column.
        advance: called with the number of bytes newly read.

    Raises:
        FileNotFoundError: there is no such file.
        Problem: DAMAGED, with the line: a wrong header, a ragged row, a file that ends in the
            middle of a line or of a quoted value, a value out of its range, an ImageID or MaskPath
            that could lead out of the data folder.
    """
    csv_faults.check_ends(path, header)
    columns = list(columns or (name for name in header if name != _CLICKS))
    filters = [_membership(column, values) for column, values in (keep or {}).items()]
    used = [name for name in header if name in {*columns, *(keep or ()), *_CHECKED}]
    try:
        kept = (_keep(rows, filters, columns) for rows in _blocks(path, used, advance))
        yield from _frames(kept, _schema(columns))
    except (ValueError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise csv_faults.find_fault(path, header, used, reason) from error


def _schema(columns: Iterable[str]) -> pa.Schema:
    types = dict.fromkeys(csv_faults.NUMBERS, pa.float64())
    types |= dict.fromkeys(release.ATTRIBUTES, pa.int8())
    return pa.schema([(column, types.get(column, pa.string())) for column in columns])


def _blocks(
    path: Path, columns: Sequence[str], advance: Callable[[int], object]
) -> Iterator[pa.Table]:
    """Yield the file's rows, typed but not checked, some at a time."""
    schema = _schema(columns)
    # Not closed here: Arrow may still be reading ahead. The last of the two to let go closes it.
    file = pa.OSFile(str(path))
    batches = pa_csv.open_csv(
        file,
        # With one thread a block is finished before the next is begun: less memory, less CPU.
        pa_csv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False),
        pa_csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        pa_csv.ConvertOptions(
            column_types=schema,
            include_columns=columns,
            null_values=[""],
            strings_can_be_null=False,
        ),
    )
    num_quotes = 0
    with path.open("rb") as again:  # what Arrow has read is in memory, and is counted at once
        while some := list(islice(batches, _BLOCKS_A_CHECK)):
            yield pa.Table.from_batches(some, schema)
            content = again.read(file.tell() - again.tell())
            num_quotes += content.count(b'"')
            advance(len(content))
        content = again.read()
        advance(len(content))
    if (num_quotes + content.count(b'"')) % 2:  # Arrow takes one that is never closed for text
        csv_faults.check_quotes(path)


def _membership(column: str, values: Iterable[str]) -> Filter:
    """Return which rows have one of the given values, as a function of the rows."""
    if column == "ImageID":  # often a million; Arrow would hash them again for every block
        ids = IdSet.of(values)
        return lambda rows: pa.chunked_array([ids.contain_numbers(parse_ids(rows[column]))])
    value_set = pa.array(list(values), pa.string())
    return lambda rows: pc.is_in(rows[column], value_set=value_set)


def _keep(rows: pa.Table, filters: Sequence[Filter], columns: Sequence[str]) -> pa.Table:
    """Return the rows that stay; ValueError if any row is bad."""
    _check_all(rows)
    for is_kept in filters:
        rows = rows.filter(is_kept(rows))
    rows = rows.select(columns)
    _check_kept(rows)
    return rows


def _frames(tables: Iterable[pa.Table], schema: pa.Schema) -> Iterator[pd.DataFrame]:
    waiting, num_frames = [schema.empty_table()], 0
    for rows in tables:
        waiting.append(rows)
        if sum(map(len, waiting)) >= _FRAME_ROWS:
            yield pa.concat_tables(waiting).to_pandas()
            waiting, num_frames = [schema.empty_table()], num_frames + 1
            pa.default_memory_pool().release_unused()  # or it keeps tens of MB for later
    if len(waiting) > 1 or not num_frames:
        yield pa.concat_tables(waiting).to_pandas()


def _check_all(rows: pa.Table) -> None:
    for column in _CHECKED & set(rows.column_names):
        if rows[column].null_count:
            raise ValueError(f"{column} is empty")
    parse_ids(rows["ImageID"])
    if _LABEL in rows.column_names and not pc.all(pc.starts_with(rows[_LABEL], "/")).as_py():
        raise ValueError(f"{_LABEL} is not a MID")
    for low_name, high_name in _BOXES:
        if low_name in rows.column_names:
            low, high = rows[low_name].to_numpy(), rows[high_name].to_numpy()
            if not ((low >= 0) & (low <= high) & (high <= 1)).all():  # a NaN compares false
                raise ValueError(f"{low_name} or {high_name} is out of its range")
    for column in release.ATTRIBUTES:
        if column in rows.column_names and (np.abs(rows[column].to_numpy()) > 1).any():
            raise ValueError(f"{column} is out of its range")


def _check_kept(rows: pa.Table) -> None:
    for column in csv_faults.NUMBERS & set(rows.column_names):
        if column not in csv_faults.MAY_BE_EMPTY and rows[column].null_count:
            raise ValueError(f"{column} is empty")
        numbers = rows[column].drop_null().to_numpy()
        if not np.isfinite(numbers).all():
            raise ValueError(f"{column} is not a number")
        if column in csv_faults.SHARES and ((numbers < 0) | (numbers > 1)).any():
            raise ValueError(f"{column} is out of its range")
    if "MaskPath" in rows.column_names:
        is_plain = pc.match_substring_regex(rows["MaskPath"], csv_faults.MASK_PATH)
        if pc.any(pc.invert(is_plain)).as_py():
            raise ValueError("MaskPath is not a plain name")
