"""Builds the package for an editable install only: configs/ and tools/ are not in a wheel.

hatchling does the work; in its place, a wheel is refused before anything is downloaded for it.
"""

import importlib
from typing import Any, NoReturn


def build_wheel(*_: object) -> NoReturn:
    """Refuse."""
    raise SystemExit(
        "oiv5_d2 needs its checkout, which has configs/ and tools/: clone it, then run "
        "`python tools/install.py` there (pip) or `make install` (uv)."
    )


prepare_metadata_for_build_wheel = build_wheel


def __getattr__(hook: str) -> Any:
    """Return hatchling's own hook of that name."""
    return getattr(importlib.import_module("hatchling.build"), hook)
