"""A table of text, for every screen and page."""

from collections.abc import Sequence
from typing import NamedTuple


class Table(NamedTuple):
    """A table of text: columns of words, aligned to the left, and of figures, to the right.

    Prose reads better in lines than in columns: the first two cells of a row are its subject.
    """

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    is_prose: bool = False
    words_at: int = 0
    """Another column of words."""
    note: str = ""
    """A line below it."""
    num_names: int = 1
    """How many of the first columns are words."""

    def is_text(self, index: int) -> bool:
        """Return True if a column has words."""
        return index < self.num_names or index == self.words_at


def to_text(table: Table) -> str:
    """Return the table in aligned columns, without a line end."""
    columns = []
    for i, cells in enumerate(zip(table.columns, *table.rows, strict=True)):
        width = max(map(len, cells))
        align = str.ljust if table.is_text(i) else str.rjust
        columns.append([align(cell, width) for cell in cells])
    return "\n".join("  ".join(cells).rstrip() for cells in zip(*columns, strict=True))
