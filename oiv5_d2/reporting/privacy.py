"""Keep what names a machine or a person out of what is committed: absolute paths."""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

# A slash that begins a path: not one inside a URL, a relative path or a word such as I/O.
ABSOLUTE = re.compile(r"(?<![\w:/.~-])(?:file:/{2})?/[^\s'\",;\])}]*")


def shorten_paths(text: str, root: Path) -> str:
    """Return `text` with paths below `root` made relative and other absolute ones cut to a name."""
    relative = text.replace(f"{root}/", "").replace(str(root), ".")
    return ABSOLUTE.sub(lambda found: PurePosixPath(found.group()).name or "/", relative)


def shorten_all(value: Any, root: Path) -> Any:
    """Return nested mappings and lists with `shorten_paths` done to every string in them."""
    if isinstance(value, str):
        return shorten_paths(value, root)
    if isinstance(value, Mapping):
        return {key: shorten_all(one, root) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [shorten_all(one, root) for one in value]
    return value
