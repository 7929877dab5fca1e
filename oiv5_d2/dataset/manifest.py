"""The manifest: one row a wanted file, with what became of it, and where it came from."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from oiv5_d2.dataset.outcomes import CORRUPT, FAILED, MISSING, PRESENT, Known
from oiv5_d2.openimages.files import whole_file

IMAGE, MASK = "image", "mask"
MANIFEST_CSV = "manifest.csv"
MANIFEST_COLUMNS = [
    "Kind", "Split", "Path", "State", "Reason", "Bytes", "BLAKE3", "Source", "Fetched",
]  # fmt: skip
_NUM_SHOWN = 3


def read_manifest(path: Path) -> pd.DataFrame:
    """Read a manifest: all columns str but Bytes: int64.

    Kind is "image" or "mask"; Path is the file's own name; State is "present", "missing" (the
    source does not have it), "corrupt" (what came is damaged) or "failed" (it could not be had now;
    a retry may help); Reason says why. BLAKE3 is of the file's bytes, Source where it came from (a
    mask: the zip), Fetched when it was written (a mask: its zip), in UTC; the last is empty for
    what is not there.
    """
    types = dict.fromkeys(MANIFEST_COLUMNS, "str") | {"Bytes": "int64"}
    return pd.read_csv(path, dtype=types, keep_default_na=False)


def write_manifest(rows: pd.DataFrame, path: Path) -> None:
    """Write a manifest, its rows sorted by what they are of."""
    rows = rows.sort_values(MANIFEST_COLUMNS[:3], ignore_index=True)[MANIFEST_COLUMNS]
    with whole_file(path) as part_path:
        rows.to_csv(part_path, index=False, lineterminator="\n")


def known_images(path: Path) -> Mapping[str, Known]:
    """Return the pictures that an earlier run checked, by ``{split}/{name}``; none without one."""
    rows = read_manifest(path) if path.exists() else pd.DataFrame()
    if "BLAKE3" not in rows:  # an older program's manifest has another checksum
        return {}
    rows = rows[(rows["Kind"] == IMAGE) & (rows["State"] == PRESENT)]
    keys, known = (
        rows["Split"] + "/" + rows["Path"],
        zip(rows["Bytes"], rows["BLAKE3"], strict=True),
    )
    return {key: Known(*of_key) for key, of_key in zip(keys, known, strict=True)}


def written_at(path: Path) -> str:
    """Return when a file was written, in UTC to the second, as ISO 8601 has it."""
    return datetime.fromtimestamp(int(path.stat().st_mtime), UTC).isoformat()


def num_to_retry(rows: pd.DataFrame) -> int:
    """Return how many files failed or came damaged; those that the source lacks stay lacking."""
    return int(rows["State"].isin([FAILED, CORRUPT]).sum())


def refuse_too_many(rows: pd.DataFrame, max_missing: float, path: Path) -> None:
    """Raise if more files than allowed could not be had.

    Args:
        rows: of a manifest.
        max_missing: the share of all files that may be missing, corrupt or failed, in [0, 1].
        path: where the manifest lies.

    Raises:
        ValueError: there are more; the message has some of them and the remedy.
    """
    bad = rows[rows["State"] != PRESENT]
    if len(bad) <= max_missing * len(rows):
        return
    shown = "; ".join(
        f"{row.Split}/{row.Path} ({row.State}: {row.Reason})"
        for row in bad.head(_NUM_SHOWN).itertuples()
    )
    if len(bad) > _NUM_SHOWN:
        shown += "; ..."
    num_missing = int((bad["State"] == MISSING).sum())
    raise ValueError(
        f"{len(bad)} of {len(rows)} files ({len(bad) / len(rows):.1%}, {num_missing} of them not in"
        f" the source) could not be had, more than max_missing={max_missing:g} allows: {shown}. All"
        f" are in {path}. Mend the source and run again (what was fetched stays), or raise"
        " max_missing"
    )
