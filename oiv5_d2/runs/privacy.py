"""What may leave the machine: values without secrets, host names and absolute paths."""

import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HIDDEN = "(hidden)"
HOST = "(host)"
LOCAL = ("localhost", "127.0.0.1")

_SECRET_NAME = re.compile(
    r"secret|token|passw|credential|(api|access|account|private)_?key|(^|_)key_?id$", re.IGNORECASE
)
_MIN_SECRET = 8  # letters; a shorter value would be found in ordinary words
_MACHINE_KEYS = ("rdzv_endpoint", "local_addr")  # addresses of launch
_USER_IN_URL = re.compile(r"(?<=://)[^/@\s]+@")
_QUERY_OF_URL = re.compile(r"(\b[a-z0-9+]+://[^\s?]+)\?\S+")
_FILE_URL = re.compile(r"\bfile:/*(?=/)")
# Where a path can begin: not within a word, an address or a relative path.
_ABSOLUTE = re.compile(r"(?<![\w.:/~)\]}…-])/(?:[^\s'\",;:=|()\[\]{}]+)")


def public(value: Any, is_machine_told: bool = False) -> Any:
    """Return a configuration as it may be shown to others; a copy, of the same shape.

    Secrets are hidden by the name of their key, and wherever the value of an environment variable
    with such a name occurs. A path below the working directory becomes relative, any other its
    last part after "…/".

    Args:
        value: nested mappings and sequences of plain values.
        is_machine_told: leave host names and paths as they are, and hide secrets only.
    """
    secrets = [text for name, text in os.environ.items() if _is_secret(name, text)]
    return _public(value, sorted(secrets, key=len, reverse=True), is_machine_told)


def _is_secret(name: str, text: str) -> bool:
    return bool(_SECRET_NAME.search(name)) and len(text) >= _MIN_SECRET


def _public(value: Any, secrets: list[str], is_machine_told: bool) -> Any:
    if isinstance(value, Mapping):
        return {
            _public(key, secrets, is_machine_told): HIDDEN
            if one and _hides(str(key), one, is_machine_told)
            else _public(one, secrets, is_machine_told)
            for key, one in value.items()
        }
    if isinstance(value, list | tuple):
        return [_public(one, secrets, is_machine_told) for one in value]
    if not isinstance(value, str | Path):
        return value
    text = _without_secrets(str(value), secrets)
    return text if is_machine_told else _without_machine(text)


def _hides(key: str, value: Any, is_machine_told: bool) -> bool:
    """Return True for a setting whose value is not shown whatever it is."""
    if _SECRET_NAME.search(key):
        return isinstance(value, str)
    is_address = key in _MACHINE_KEYS and not str(value).startswith(LOCAL)
    return is_address and not is_machine_told


def _without_secrets(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return _QUERY_OF_URL.sub(rf"\1?{HIDDEN}", _USER_IN_URL.sub("", text))


def _without_machine(text: str) -> str:
    text = _ABSOLUTE.sub(lambda found: _shortened(found[0]), _FILE_URL.sub("", text))
    for name in {socket.getfqdn(), socket.gethostname()} - {*LOCAL, ""}:
        text = re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", HOST, text)
    return text


def _shortened(path: str) -> str:
    """Return an absolute path relative to the working directory, or its last part."""
    root = str(Path.cwd())
    if path == root or path.startswith(f"{root}/"):
        return path[len(root) + 1 :] or "."
    return f"…/{Path(path).name}"
