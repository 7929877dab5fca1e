"""The manifest: what became of each wanted file, and where it came from.

It is an SQLite file in the data folder, so that a killed run loses at most its last batch, and is
exported as ``manifest.csv`` at the end. Its rows also say which files these tools have written:
only those may be replaced or removed.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum, auto
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from oiv5_d2.files import whole_file
from oiv5_d2.problems import Kind, Problem, Remedy

IMAGE, MASK = "image", "mask"
MANIFEST_SQLITE, MANIFEST_CSV = ".stamps/manifest.sqlite", "manifest.csv"
MANIFEST_COLUMNS = [
    "Kind", "Split", "Path", "State", "Reason", "Detail", "Bytes", "BLAKE3", "Source", "Fetched",
]  # fmt: skip
_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    kind TEXT, split TEXT, name TEXT, state TEXT, reason TEXT, num_bytes INTEGER, checksum TEXT,
    source TEXT, fetched TEXT, detail TEXT, PRIMARY KEY (kind, split, name)
) WITHOUT ROWID;
CREATE TEMP TABLE wanted (
    kind TEXT, split TEXT, name TEXT, PRIMARY KEY (kind, split, name)
) WITHOUT ROWID;
"""
_WANTED = "FROM files JOIN wanted USING (kind, split, name)"


class State(StrEnum):
    """What became of a file."""

    PRESENT = auto()
    MISSING = auto()  # the source does not have it
    CORRUPT = auto()  # what came, or what lies there, is damaged
    FAILED = auto()  # it could not be fetched now; a retry may help


class Reason(StrEnum):
    """Why a file is not there: a problem's kind, or one of the manifest's own."""

    NONE = ""
    ABSENT = auto()
    CHANGED = auto()
    DAMAGED = auto()
    FOREIGN = auto()  # what lies there is damaged, and not written by these tools: it stays
    REFUSED = auto()
    UNFINISHED = auto()  # it was asked for by a run that was stopped
    UNREACHABLE = auto()
    UNSUPPORTED = auto()


class Outcome(NamedTuple):
    """What became of one wanted file, and why."""

    name: str
    """The file's own name, without its folder or zip."""
    state: State
    reason: Reason = Reason.NONE
    num_bytes: int = 0
    checksum: str = ""
    """BLAKE3 as 64 hex digits; "" for a file that is not there."""
    source: str = ""
    """Where it came from or was looked for; "" for one that was there before these tools ran."""
    fetched: str = ""
    """When it was written, as `moment` has it; "" for a file that is not there."""
    detail: str = ""
    """The facts in a few words, such as "the file is empty"."""


class Count(NamedTuple):
    """How many wanted files have these things in common."""

    kind: str
    split: str
    state: State
    reason: Reason
    num_files: int
    num_bytes: int
    example: str
    """The source of one of them."""
    detail: str
    """Of one of them."""


def outcome_of(name: str, problem: Problem, source: str) -> Outcome:
    """Return the outcome of a file that could not be fetched because of a problem."""
    state = {Kind.ABSENT: State.MISSING, Kind.DAMAGED: State.CORRUPT}.get(
        problem.kind, State.FAILED
    )
    return Outcome(name, state, Reason(problem.kind), source=source, detail=problem.detail)


def moment(seconds: float) -> str:
    """Return a time since the epoch in UTC, to the second, in ISO 8601."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat()


def read_manifest(path: Path) -> pd.DataFrame:
    """Read ``manifest.csv``: all columns str but Bytes: int64.

    Path is the file's own name. State and Reason are as `State` and `Reason` have them, Detail has
    the facts. BLAKE3 is of the file's bytes, Source where it came from (a mask: the zip), Fetched
    when it was written (a mask: its zip), in UTC; BLAKE3 and Fetched are empty for what is not
    there, Source is for what was there before.
    """
    types = dict.fromkeys(MANIFEST_COLUMNS, "str") | {"Bytes": "int64"}
    return pd.read_csv(path, dtype=types, keep_default_na=False)


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
        connection.executescript(_SCHEMA)
        yield Manifest(connection)
    except sqlite3.Error as error:
        raise _problem(path, error) from error
    finally:
        connection.close()


def _problem(path: Path, error: sqlite3.Error) -> Problem:
    kind, remedy = {
        sqlite3.SQLITE_BUSY: (Kind.BUSY, Remedy.WAIT),
        sqlite3.SQLITE_FULL: (Kind.DISK_FULL, Remedy.FREE_DISK),
    }.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, (Kind.DAMAGED, Remedy.MOVE_AWAY))
    return Problem(kind, path, str(error), remedy=remedy)


class Manifest:
    """The rows of all files that were ever wanted in a data folder; see `open_manifest`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def want(self, files: pd.DataFrame) -> None:
        """Say which files count and are exported.

        The rows of others stay, as their files do: when they are wanted again, it is known that
        these tools have written them.

        Args:
            files: with the columns Kind, Split and Name.
        """
        rows = files[["Kind", "Split", "Name"]].itertuples(index=False, name=None)
        with self._connection as batch:
            batch.execute("DELETE FROM wanted")
            batch.executemany("INSERT OR IGNORE INTO wanted VALUES (?, ?, ?)", rows)

    def record(self, kind: str, split: str, outcomes: Iterable[Outcome]) -> None:
        """Write rows in one transaction; a file's earlier row is replaced."""
        rows = ((kind, split, *outcome) for outcome in outcomes)
        with self._connection as batch:
            batch.executemany(f"INSERT OR REPLACE INTO files VALUES ({'?, ' * 9}?)", rows)

    def known(self, kind: str, split: str) -> dict[str, Outcome]:
        """Return what earlier runs recorded, by the file's name."""
        rows = self._connection.execute(
            "SELECT name, state, reason, num_bytes, checksum, source, fetched, detail FROM files"
            " WHERE kind = ? AND split = ?",
            (kind, split),
        )
        return {row[0]: Outcome(row[0], State(row[1]), Reason(row[2]), *row[3:]) for row in rows}

    def counts(self) -> list[Count]:
        """Count the wanted files by kind, split, state and reason, the most first."""
        rows = self._connection.execute(
            "SELECT kind, split, state, reason, COUNT(*), SUM(num_bytes), MIN(source), MIN(detail)"
            f" {_WANTED} GROUP BY kind, split, state, reason ORDER BY COUNT(*) DESC, 1, 2, 3, 4"
        )
        return [
            Count(k, s, State(state), Reason(reason), *row) for k, s, state, reason, *row in rows
        ]

    def export(self, path: Path) -> None:
        """Write the wanted files' rows as CSV, sorted by kind, split and name."""
        rows = pd.read_sql_query(
            "SELECT kind, split, name, state, reason, detail, num_bytes, checksum, source, fetched"
            f" {_WANTED} ORDER BY kind, split, name",
            self._connection,
        ).set_axis(MANIFEST_COLUMNS, axis="columns")
        with whole_file(path) as temporary:
            rows.to_csv(temporary, index=False, lineterminator="\n")


def num_to_retry(rows: pd.DataFrame) -> int:
    """Return how many files failed or are damaged; those that the source lacks do not count."""
    return int(rows["State"].isin([State.FAILED, State.CORRUPT]).sum())
