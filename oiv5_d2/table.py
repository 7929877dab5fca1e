"""A table of text, for every screen and page."""

from collections.abc import Sequence
from typing import NamedTuple


class Table(NamedTuple):
    """A table of text. The first column is words, the others are figures unless ``is_prose``.

    Prose is better told in lines than in columns: the first two cells are what it is about.
    """

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    is_prose: bool = False
    words_at: int = 0
    """Another column of words."""
    note: str = ""
    """A line below it."""
