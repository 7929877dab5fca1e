"""The manifest: what became of each wanted file, and where it came from.

It is an SQLite file in the data folder, so that a killed run loses at most its last batch, and is
exported as ``manifest.csv`` at the end. Its rows also show which files these tools have written:
only those may be replaced or removed.
"""

import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum, auto
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
from pyarrow import csv as pa_csv

from oiv5_d2.files import whole_file
from oiv5_d2.problems import Kind, Problem, Remedy

IMAGE, MASK = "image", "mask"
MANIFEST_SQLITE, MANIFEST_CSV = ".stamps/manifest.sqlite", "manifest.csv"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    kind TEXT, split TEXT, name TEXT, state TEXT, reason TEXT, num_bytes INTEGER, checksum TEXT,
    source TEXT, fetched TEXT, detail TEXT, PRIMARY KEY (kind, split, name)
) WITHOUT ROWID
"""
COLUMNS = [
    "Kind", "Split", "Path", "State", "Reason", "Detail", "Bytes", "BLAKE3", "Source", "Fetched",
]  # fmt: skip
_EXPORT = """
SELECT kind AS Kind, split AS Split, name AS Path, state AS State, reason AS Reason,
    detail AS Detail, num_bytes AS Bytes, checksum AS BLAKE3, source AS Source, fetched AS Fetched
FROM files ORDER BY kind, split, name
"""
_BATCH_SECONDS = 1.0  # the most that a killed run has to check again


class State(StrEnum):
    """What became of a file."""

    PRESENT = auto()
    MISSING = auto()  # the source does not have it
    CORRUPT = auto()  # what came, or what is there, is damaged
    FAILED = auto()  # it could not be fetched now; a retry may help


class Outcome(NamedTuple):
    """What became of one wanted file, and why."""

    name: str  # without its folder or zip
    state: State
    reason: Kind | None = None
    """Why it is not there: a problem's kind. FOREIGN: what is there is damaged and stays, because
    these tools did not write it. UNFINISHED: a run that was stopped had asked for it."""
    num_bytes: int = 0
    checksum: str = ""  # BLAKE3 as 64 hex digits; "" for a file that is not there
    source: str = ""
    """Where it came from or was looked for; "" for one that was there before these tools ran."""
    fetched: str = ""  # when it was written, as `moment` has it; "" for a file that is not there
    detail: str = ""  # the facts in a few words, such as "the file is empty"


def outcome_of(name: str, problem: Problem, source: str) -> Outcome:
    """Return the outcome of a file that could not be fetched because of a problem."""
    states = dict.fromkeys((Kind.DAMAGED, Kind.MISMATCH), State.CORRUPT)
    states[Kind.ABSENT] = State.MISSING
    state = states.get(problem.kind, State.FAILED)
    return Outcome(name, state, problem.kind, source=source, detail=problem.detail)


def moment(seconds: float) -> str:
    """Return a time since the epoch in UTC, to the second, in ISO 8601."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat()


def read_manifest(path: Path) -> pd.DataFrame:
    """Read ``manifest.csv``: all columns str but Bytes: int64; Path is an `Outcome`'s name.

    Raises:
        FileNotFoundError: there is no such file.
        Problem: DAMAGED, `Manifest.export` did not write it, or it was changed.
    """
    types = {**dict.fromkeys(COLUMNS, pa.string()), "Bytes": pa.int64()}
    try:
        rows = pa_csv.read_csv(
            str(path),
            parse_options=pa_csv.ParseOptions(newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(column_types=types, strings_can_be_null=False),
        )
        if rows.column_names != COLUMNS or rows["Bytes"].null_count:
            raise ValueError(f"its columns are not {', '.join(COLUMNS)}")
        table: pd.DataFrame = rows.to_pandas()
        return table
    except ValueError as error:  # Arrow's own among them
        detail = str(error).splitlines()[0]
        raise Problem(Kind.DAMAGED, path, detail, remedy=Remedy.PREPARE_AGAIN) from error


@contextmanager
def open_manifest(data_dir: Path) -> Iterator["Manifest"]:
    """Open the manifest of a data folder; both are made if need be.

    Raises:
        Problem: DAMAGED, BUSY or DISK_FULL, about the manifest's file.
    """
    path = data_dir / MANIFEST_SQLITE
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    try:
        connection.execute(_SCHEMA)
        _check(connection)
        yield Manifest(connection)
    except (sqlite3.Error, pd.errors.DatabaseError, ValueError) as error:
        kind, remedy = {
            sqlite3.SQLITE_BUSY: (Kind.BUSY, Remedy.WAIT),
            sqlite3.SQLITE_FULL: (Kind.DISK_FULL, Remedy.FREE_DISK),
        }.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, (Kind.DAMAGED, Remedy.MOVE_AWAY))
        raise Problem(kind, path, str(error), remedy=remedy) from error
    finally:
        connection.close()


def _check(connection: sqlite3.Connection) -> None:
    """Raise ValueError if a row could not be found by its key, or the table has other columns."""
    (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    columns = [name for _, name, *_ in connection.execute("PRAGMA table_info(files)")]
    if columns != ["kind", "split", *Outcome._fields]:
        raise ValueError(f"its columns are {', '.join(columns)}")
    if found != "ok":
        raise ValueError(found)


@dataclass
class Manifest:
    """The rows of all files that were ever wanted in a data folder; see `open_manifest`."""

    _connection: sqlite3.Connection

    def record(self, kind: str, split: str, outcomes: Iterable[Outcome]) -> None:
        """Write rows, a batch a second; a file's earlier row is replaced."""
        last = time.monotonic()
        for outcome in outcomes:
            row = (kind, split, *outcome)
            self._connection.execute(f"REPLACE INTO files VALUES ({'?, ' * 9}?)", row)
            if time.monotonic() - last > _BATCH_SECONDS:
                self._connection.commit()
                last = time.monotonic()
        self._connection.commit()

    def known(self, kind: str, split: str) -> dict[str, Outcome]:
        """Return what earlier runs recorded, by the file's name."""
        query = "SELECT * FROM files WHERE kind = ? AND split = ?"
        return {
            name: Outcome(name, State(state), Kind(reason) if reason else None, *others)
            for _, _, name, state, reason, *others in self._connection.execute(query, (kind, split))
        }

    def export(self, files: pd.DataFrame, path: Path) -> pd.DataFrame:
        """Write the rows of files (Kind, Split and Name) as sorted CSV; return them.

        The rows of others stay in the manifest, as their files do: when they are wanted again, it
        is known that these tools have written them.
        """
        rows = pd.read_sql_query(_EXPORT, self._connection)
        wanted = files[["Kind", "Split", "Name"]].rename(columns={"Name": "Path"})
        rows = rows.merge(wanted, on=["Kind", "Split", "Path"])
        with whole_file(path) as temporary:
            rows.to_csv(temporary, index=False, lineterminator="\n")
        return rows


def num_to_retry(rows: pd.DataFrame) -> int:
    """Return how many files failed or are damaged; missing ones do not count."""
    return int(rows["State"].isin([State.FAILED, State.CORRUPT]).sum())
