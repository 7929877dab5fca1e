"""Class names and the tree of classes: which MID is which name, and what is a kind of what."""

import csv
import gzip
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from oiv5_d2.files import read_json
from oiv5_d2.keys import near
from oiv5_d2.openimages import release
from oiv5_d2.openimages.csv_faults import damaged, stray_byte
from oiv5_d2.openimages.tidy import SEPARATORS, open_text
from oiv5_d2.problems import Kind, Problem, Remedy

_LONGEST_LINE = 1 << 20

# The classes that this project is about, where a release's own table is not at hand.
TRAFFIC_MIDS = {
    "Person": "/m/01g317",
    "Traffic light": "/m/015qff",
    "Car": "/m/0k4j",
    "Traffic sign": "/m/01mqdt",
}


@dataclass(frozen=True)
class Classes:
    """The release's classes: a MID such as ``/m/0k4j``, the display name people use, and the tree.

    In the tree, Van is a kind of Car; a class may be in several places. Only `Subcategory` edges
    are kept: `Part` edges say what a thing is made of (a person has a face) and never make one
    class a kind of another.
    """

    names: Mapping[str, str]
    """Display name by MID, in the table's order."""
    kinds: Mapping[str, Collection[str]]
    """The MIDs directly below a MID."""

    @cached_property
    def mids(self) -> dict[str, str]:
        """MID by display name."""
        return {name: mid for mid, name in self.names.items()}

    def mid(self, name_or_mid: str) -> str:
        """Return a class's MID, whether given by display name (in any case) or by MID.

        Raises:
            Problem: SETTING, there is no such class; the detail has the nearest names.
        """
        return self.find([name_or_mid])[0]

    def find(self, names_or_mids: Iterable[str]) -> list[str]:
        """Return the MIDs of several classes; see `mid`. All unknown ones are told at once."""
        folded = {name.casefold(): mid for name, mid in self.mids.items()}
        found: list[str] = []
        unknown: list[str] = []
        for name in names_or_mids:
            mid = name if name in self.names else self.mids.get(name) or folded.get(name.casefold())
            (found if mid else unknown).append(mid or name)
        if unknown:
            faults = (f"unknown class{near(name, self.mids)}" for name in unknown)
            raise _wrong_class(", ".join(unknown), "; ".join(dict.fromkeys(faults)))
        return found

    def name(self, mid: str) -> str:
        """Return a class's display name; the MID itself where the table has no name for it."""
        return self.names.get(mid, mid)

    def children(self, mid: str) -> frozenset[str]:
        """Return every MID below `mid`, at any depth, without `mid` itself."""
        below: set[str] = set()
        waiting = list(self.kinds.get(mid, ()))
        while waiting:
            child = waiting.pop()
            if child not in below:
                below.add(child)
                waiting.extend(self.kinds.get(child, ()))
        return frozenset(below - {mid})

    def ancestors(self, mid: str) -> frozenset[str]:
        """Return every MID above `mid`, at any height, without `mid` itself."""
        return frozenset(above for above in self.kinds if mid in self.children(above))


def _wrong_class(name: str, detail: str) -> Problem:
    return Problem(Kind.SETTING, name, detail, key="data.classes", remedy=Remedy.CHANGE_SETTING)


def read_classes(csv_path: Path, json_path: Path) -> Classes:
    """Read the class table and the tree.

    Args:
        csv_path: ``MID,DisplayName`` rows, without a header (V5) or with one (V6).
        json_path: nested ``{LabelName, Subcategory, Part}``; it comes with the boxes.

    Raises:
        FileNotFoundError: a file is missing.
        Problem: DAMAGED, a row is not a MID and a name, a class is there twice, or the JSON is not
            such a tree.
    """
    return Classes(read_names(csv_path), _read_kinds(json_path))


def read_names(csv_path: Path) -> dict[str, str]:
    """Read the class table alone: display name by MID; see `read_classes`."""
    names: dict[str, str] = {}
    line = 1
    try:
        for line, row in _rows(csv_path):
            if line == 1 and tuple(row) == release.CLASS_COLUMNS:
                continue
            if stray := stray_byte("".join(row)):
                raise damaged(csv_path, line, f"a name {stray}", Remedy.SAVE_AS_UTF8)
            is_class = len(row) == 2 and row[0].startswith("/") and row[1].strip()
            if not is_class or row[0] in names:
                what = "not a row 'MID,DisplayName' with a MID of its own"
                raise damaged(csv_path, line, what)
            names[row[0]] = row[1].strip()
    except (csv.Error, EOFError, UnicodeError, gzip.BadGzipFile, zlib.error) as error:
        raise damaged(csv_path, line, str(error)) from error
    if not names:
        raise damaged(csv_path, 1, "the file is empty")
    return names


def _rows(csv_path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield line and fields of each row that is not empty, whatever stands between the fields."""
    with open_text(csv_path, errors="surrogateescape") as text:
        first = text.readline(_LONGEST_LINE)
        separator = next((each for each in SEPARATORS if first.count(each) == 1), SEPARATORS[0])
        reader = csv.reader(chain([first], text), delimiter=separator, strict=True)
        yield from ((reader.line_num, row) for row in reader if row)


def _read_kinds(json_path: Path) -> dict[str, set[str]]:
    kinds: dict[str, set[str]] = {}
    try:
        for parent, child in _edges(read_json(json_path, Remedy.FETCH_AGAIN)):
            kinds.setdefault(parent, set()).add(child)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"not a tree of LabelName and Subcategory: {error}"
        raise Problem(Kind.DAMAGED, json_path, what, remedy=Remedy.FETCH_AGAIN) from error
    return kinds


def _edges(node: dict[str, Any]) -> Iterator[tuple[str, str]]:
    children, parts = node.get("Subcategory", []), node.get("Part", [])
    if not isinstance(node["LabelName"], str) or not type(children) is type(parts) is list:
        raise TypeError(f"{node!r:.80}")
    for child in children:
        yield node["LabelName"], child["LabelName"]
        yield from _edges(child)
    for part in parts:
        yield from _edges(part)  # a part is no kind of its owner, but has kinds of its own


def roll_up(wanted: Iterable[str], classes: Classes, *, children: bool = True) -> dict[str, str]:
    """Return, for every MID that belongs to a wanted class, the MID of that wanted class.

    With `children`, a wanted class, given by display name or MID, takes in everything below it in
    the tree. Where wanted classes overlap (Person and Woman), an object goes to the most specific
    of them: a Woman to Woman, a Man to Person. A child of two wanted classes of which neither is
    below the other (a Helmet is Clothing and Sports equipment) goes to the one wanted first.

    Returns:
        wanted MID by MID, the wanted ones included, sorted by MID.

    Raises:
        Problem: SETTING, an unknown class, one wanted twice, or none.
    """
    mids = classes.find(wanted)
    if not mids:
        raise _wrong_class("data.classes=[]", "at least one is needed, such as Person")
    for mid in mids:
        if mids.count(mid) > 1:
            raise _wrong_class(classes.name(mid), "wanted twice")
    below = {mid: classes.children(mid) if children else frozenset() for mid in mids}
    # From the general to the specific: a class comes after every wanted class that it is below.
    general_first = sorted(reversed(mids), key=lambda mid: sum(mid in below[up] for up in mids))
    owner: dict[str, str] = {}
    for mid in general_first:
        owner.update(dict.fromkeys((mid, *below[mid]), mid))
    return dict(sorted(owner.items()))
