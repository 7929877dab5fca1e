"""The manifest: one row a wanted file, with what became of it, and where it came from."""

import csv
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TextIO

import pandas as pd

from oiv5_d2.acquisition.outcomes import CORRUPT, FAILED, PRESENT, Known, Outcome, kind_of_reason
from oiv5_d2.files import whole_file

IMAGE, MASK = "image", "mask"
MANIFEST_CSV = "manifest.csv"
MANIFEST_COLUMNS = [
    "Kind", "Split", "Path", "State", "Reason", "Bytes", "BLAKE3", "Source", "Fetched",
]  # fmt: skip


class Absence(NamedTuple):
    """What files that could not be had have in common."""

    kind: str
    split: str
    state: str
    reason: str
    """See `kind_of_reason`."""


def read_manifest(path: Path) -> pd.DataFrame:
    """Read a manifest: all columns str but Bytes: int64.

    Kind is "image" or "mask"; Path is the file's own name; State is "present", "missing" (the
    source does not have it), "corrupt" (what came is damaged) or "failed" (it could not be had now;
    a retry may help); Reason says why. BLAKE3 is of the file's bytes, Source where it came from (a
    mask: the zip), Fetched when it was written (a mask: its zip), in UTC; the last is empty for
    what is not there.
    """
    types = dict.fromkeys(MANIFEST_COLUMNS, "str") | {"Bytes": "int64"}
    return pd.read_csv(path, dtype=types, keep_default_na=False)


class ManifestWriter:
    """Rows of a manifest, written one by one: the memory does not grow with the files.

    Rows have to come in the order of Kind, Split and Path.
    """

    def __init__(self, file: TextIO) -> None:
        self._rows = csv.writer(file, lineterminator="\n")
        self._rows.writerow(MANIFEST_COLUMNS)
        self.num_of: Counter[tuple[str, str, str]] = Counter()
        """Files by Kind, Split and State."""
        self.num_bytes = 0
        """Bytes of all files that are there."""
        self.absent: Counter[Absence] = Counter()
        """Files that are not there, by what they have in common."""
        self.example_of: dict[Absence, str] = {}
        """Where the first of them was looked for."""

    def add(self, kind: str, split: str, outcome: Outcome) -> None:
        """Write a row."""
        self._rows.writerow((kind, split, *outcome))
        self.num_of[kind, split, outcome.state] += 1
        self.num_bytes += outcome.num_bytes
        if outcome.state != PRESENT:
            absence = Absence(kind, split, outcome.state, kind_of_reason(outcome.reason))
            self.absent[absence] += 1
            self.example_of.setdefault(absence, outcome.source)

    def num_in(self, state: str, kinds: Collection[str] = (IMAGE, MASK)) -> int:
        """Return how many files of these kinds are in a state."""
        counts = self.num_of.items()
        return sum(n for (kind, _, its), n in counts if its == state and kind in kinds)


@contextmanager
def write_manifest(path: Path) -> Iterator[ManifestWriter]:
    """Write a manifest, which appears at the end of the block, whole."""
    with whole_file(path) as part_path, part_path.open("w", encoding="utf-8", newline="") as file:
        yield ManifestWriter(file)


class KnownImages:
    """The pictures that an earlier run checked, out of its manifest, row by row.

    Args:
        path: the manifest, if there is one.
    """

    def __init__(self, path: Path) -> None:
        self._rows = _present_images(path)
        self._key, self._known = next(self._rows, _NO_MORE)

    def look_up(self, key: str) -> Known | None:
        """Return what is known of ``{split}/{name}``; keys have to come in order."""
        while self._key < key:
            self._key, self._known = next(self._rows, _NO_MORE)
        return self._known if self._key == key else None


_NO_MORE = ("\U0010ffff", Known(0, "", "", ""))  # after all keys


def _present_images(path: Path) -> Iterator[tuple[str, Known]]:
    if not path.exists():
        return
    # What somebody's editor spoilt is left out: those pictures are checked anew. An editor may mark
    # the file as UTF-8, write another encoding, or leave a quote that makes the rest one field.
    opened = path.open(encoding="utf-8-sig", errors="replace", newline="")
    with opened as file, suppress(csv.Error):
        rows = csv.DictReader(file, restval="")
        if not set(MANIFEST_COLUMNS) <= set(rows.fieldnames or ()):
            return  # an older program's manifest has another checksum
        for row in rows:
            is_picture = (row["Kind"], row["State"]) == (IMAGE, PRESENT)
            if is_picture and _is_sound(row):
                known = Known(int(row["Bytes"]), row["BLAKE3"], row["Source"], row["Fetched"])
                yield f"{row['Split']}/{row['Path']}", known


def _is_sound(row: dict[str, str]) -> bool:
    is_readable = "\ufffd" not in row["Source"]  # it would be written again
    return row["Bytes"].isdecimal() and row["BLAKE3"].isalnum() and is_readable


def num_to_retry(rows: pd.DataFrame) -> int:
    """Return how many files failed or came damaged; those that the source lacks stay lacking."""
    return int(rows["State"].isin([FAILED, CORRUPT]).sum())
