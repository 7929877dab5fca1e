"""Commands to print, as they have to be typed in the folder where the user is."""

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PLAIN = re.compile(r"[\w./+@%-]+", re.ASCII)  # Hydra takes it without quotes


def command(tool: str, *words: str) -> str:
    """Return the command that starts a tool, quoted for a shell.

    Args:
        tool: a script's name, such as "train_net".
        words: what follows, as Hydra reads them.
    """
    return shlex.join([_python(), _here(ROOT / "tools" / f"{tool}.py"), *words])


def setting(key: str, value: object) -> str:
    """Return a word that sets a key to a text, quoted if Hydra would read it as something else."""
    text = str(value)
    if _PLAIN.fullmatch(text):
        return f"{key}={text}"
    return f"{key}='" + text.replace("'", r"\'") + "'"


def _python() -> str:
    """Return ``python`` if a shell finds the one that runs this, otherwise where that is."""
    found, ours = shutil.which("python"), sys.executable
    if not ours or (found and _identity(found) == _identity(ours)):
        return "python"
    return _here(Path(ours))


def _identity(python: str) -> tuple[str, str]:
    # A virtual environment's is a link, so its folder counts as well.
    return os.path.realpath(python), os.path.realpath(os.path.dirname(python))


def _here(path: Path) -> str:
    """Return a path as short as it can be: from the current folder if it is below that."""
    path = Path(os.path.abspath(path))
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
