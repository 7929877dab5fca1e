"""Large text files, read piece by piece: files of predictions may be larger than the memory."""

import gzip
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

BLOCK = 1 << 22  # characters that are read at once
_GZIP = b"\x1f\x8b"
_SPACE = re.compile(r"\s*")


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a text file, gzipped or not, whatever its name.

    Raises:
        FileNotFoundError: there is none.
    """
    with path.open("rb") as file:
        is_gzip = file.read(len(_GZIP)) == _GZIP
        file.seek(0)
        data = gzip.GzipFile(fileobj=file) if is_gzip else file
        with io.TextIOWrapper(data, "utf-8-sig", newline="") as text:
            yield text


def read_items(file: TextIO, block: int = BLOCK) -> Iterator[Any]:
    """Yield the objects of a JSON list; no more than one block of the file is in memory.

    Args:
        file: at the list's beginning.
        block: characters that are read at once.

    Raises:
        ValueError: it is not a list of objects, or it is cut short.
    """
    text = _Text(file, block)
    text.expect("[")
    if text.peek() == "]":
        text.expect("]")
    else:
        yield text.item()
        while text.peek() == ",":
            text.expect(",")
            yield text.item()
        text.expect("]")
    if text.peek():
        raise ValueError("there is something after the list")


class _Text:
    """A file's text from the place on that was not parsed yet."""

    def __init__(self, file: TextIO, block: int) -> None:
        self._file, self._block = file, block
        self._text, self._at = "", 0
        self._parse = json.JSONDecoder().raw_decode

    def peek(self) -> str:
        """Return the next character that is no space; "" at the end."""
        while True:
            match = _SPACE.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text) or not self._read():
                return self._text[self._at : self._at + 1]

    def expect(self, character: str) -> None:
        """Go over a character."""
        if self.peek() != character:
            raise ValueError(f"{character!r} expected, not {self.peek()!r}")
        self._at += 1

    def item(self) -> Any:
        """Return the next object."""
        if self.peek() != "{":
            raise ValueError(f"an object expected, not {self.peek()!r}")
        while True:
            try:
                value, self._at = self._parse(self._text, self._at)
            except json.JSONDecodeError:
                if not self._read():
                    raise
            else:
                return value

    def _read(self) -> bool:
        """Read one block more; False at the end."""
        more = self._file.read(self._block)
        self._text, self._at = self._text[self._at :] + more, 0
        return bool(more)
