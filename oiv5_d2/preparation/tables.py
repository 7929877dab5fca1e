"""A plan, and what became of the files, as tables and lines for the screen."""

from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd

from oiv5_d2.acquisition.manifest import State
from oiv5_d2.preparation.plan import Plan, SplitNeed
from oiv5_d2.table import Table

_NUM_REASONS = 12  # that are shown, of why files are not there


def plan_tables(plan: Plan) -> list[Table]:
    """Return what each part will contain, and what is to be fetched, one line a split."""
    return [table for table in (_contents(plan), _to_fetch(plan)) if table.rows]


def not_fetched(manifest: pd.DataFrame) -> Table:
    """Return which files are not there, how many, and why, the most first.

    Args:
        manifest: as `manifest.read_manifest` returns it.
    """
    bad = manifest[manifest["State"] != State.PRESENT]
    groups = bad.groupby(["Kind", "Split", "State", "Reason"])["Path"].agg(["size", "min"])
    groups = groups.sort_values("size", ascending=False, kind="stable").reset_index()
    rows = [
        (f"{row.Kind}s of {row.Split}", str(row.size), f"{row.State}: {row.Reason}", str(row.min))
        for row in groups[:_NUM_REASONS].itertuples(index=False)
    ]
    return Table("Files that are not there", ("files", "number", "why", "such as"), rows, True)


def files_line(manifest: pd.DataFrame) -> str:
    """Return how many files are there, and how many are not."""
    num_of = manifest["State"].value_counts()
    states = ", ".join(f"{num_of.get(state, 0):,} {state}" for state in State)
    return f"{len(manifest):,} files ({_megabytes(manifest['Bytes'].sum())}): {states}"


def verified_line(report: Mapping[str, Any], keeping: Collection[str]) -> str:
    """Return how many images parts have only for their verified labels; "" if none.

    Args:
        report: an audit's.
        keeping: the parts that keep such images.
    """
    images = {part: report["parts"][part]["images"] for part in keeping}
    number = {part: one["usable"] - one["with_targets"] for part, one in images.items()}
    added = ", ".join(f"{part} {num:,}" for part, num in number.items() if num)
    return added and f"Images without a training target, kept for their verified labels: {added}"


def _contents(plan: Plan) -> Table:
    title = "Contents; of each class: training targets, on so many images"
    parts = plan.parts
    if not parts:
        return Table(title, (), [])
    classes = [
        (f"  {name}", *(f"{part.masks_of[name]:,} on {part.images_of[name]:,}" for part in parts))
        for name in parts[0].masks_of
    ]
    rows = [
        ("images", *(f"{part.num_images:,}" for part in parts)),
        ("  without a training target", *(f"{part.num_without_target:,}" for part in parts)),
        ("training targets", *(f"{part.num_masks:,}" for part in parts)),
        *classes,
        ("ignored objects", *(f"{part.num_ignored:,}" for part in parts)),
    ]
    return Table(title, ("", *(part.part for part in parts)), rows)


def _to_fetch(plan: Plan) -> Table:
    columns = ("split", "images", "bytes", "missing", "masks", "bytes", "requests", "missing")
    rows = [(split.split, *_figures(split)) for split in plan.splits]
    return Table("To fetch", columns, rows)


def _figures(split: SplitNeed) -> tuple[str, ...]:
    images, masks = split.images, split.masks
    about = "" if images.num_asked == images.num_images else "about "
    return (
        f"{images.num_images:,}",
        f"{about}{_megabytes(images.num_bytes)}",
        f"{images.num_absent:,}",
        f"{masks.num_masks:,}",
        _megabytes(masks.num_bytes),
        f"{masks.num_requests:,}",
        f"{masks.num_missing:,}",
    )


def _megabytes(num_bytes: float) -> str:
    return f"{num_bytes / 1e6:,.1f} MB"
