"""Commands for a person to type, with the same choice of data as the one at hand."""

import shlex
from collections.abc import Iterable


def prepare_command(choice: str, overrides: Iterable[str]) -> str:
    """Return the command that prepares data, ready for a shell.

    Args:
        choice: the file of ``configs/data``.
        overrides: a command line's words; those under ``data`` belong to the choice.
    """
    return shlex.join(["python", "tools/prepare_data.py", *data_words(choice, overrides)])


def data_words(choice: str, overrides: Iterable[str]) -> list[str]:
    """Return the words of a command line that choose the same data, for any tool."""
    return [f"data={choice}", *(word for word in overrides if word.startswith("data."))]
