"""Dotted keys of nested settings, and the known ones nearest to a wrong one."""

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from oiv5_d2.problems import Kind, Problem


def near(key: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean a or b?"`` with the known names nearest to ``key``, or ""."""
    names = {name.lower(): name for name in sorted(known)}
    last = key.lower().rpartition(".")[2]
    same_end = [name for name in names if name.rpartition(".")[2] == last]
    close = difflib.get_close_matches(key.lower(), names, n=2, cutoff=0.7)
    best = [names[name] for name in dict.fromkeys([*same_end, *close])][:2]
    return f"; did you mean {' or '.join(best)}?" if best else ""


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Yield (dotted key, value) of nested mappings; an empty one is a leaf of its own."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def check_known(keys: Iterable[str], known: Collection[str]) -> None:
    """Refuse the first dotted key that is not a known one.

    Raises:
        Problem: SETTING, with the nearest known keys.
    """
    for key in keys:
        if key not in known:
            raise Problem(Kind.SETTING, key, f"unknown key{near(key, known)}", key=key)
