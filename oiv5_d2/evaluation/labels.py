"""Names and MIDs of labels, from what is at hand beside a COCO file."""

import json
from pathlib import Path
from typing import Any

from oiv5_d2.openimages.classes import TRAFFIC_MIDS, read_names


def read_mids(truth_path: Path, table_path: Path | None) -> dict[str, str]:
    """Return MIDs by display name.

    Args:
        truth_path: a COCO file; if it is part of a prepared folder, its subset has names as well.
        table_path: a release's table of classes, ``MID,DisplayName``.

    Raises:
        FileNotFoundError: there is no such table.
        Problem: DAMAGED, the table.
    """
    part = f"{truth_path.name.split('.')[0]}.json"
    names = read_label_names(truth_path.absolute().parents[1] / "subset" / part)
    if table_path is not None:
        names |= read_names(table_path)
    return {**TRAFFIC_MIDS, **{name: mid for mid, name in names.items()}}


def read_label_names(subset_path: Path) -> dict[str, str]:
    """Return display names by MID of the labels in a saved subset; none if there is no file."""
    names: dict[str, str] = {}

    def note(node: dict[str, Any]) -> dict[str, Any]:
        for name, value in node.items():
            if isinstance(value, dict) and "mid" in value:
                names[value["mid"]] = name
        return node

    if subset_path.is_file():
        json.loads(subset_path.read_text(encoding="utf-8"), object_hook=note)
    return names
