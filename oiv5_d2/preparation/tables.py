"""Tables for people to read: an audit in words and figures. To draw them is the tools' business."""

from collections.abc import Sequence

import pandas as pd

from oiv5_d2.acquisition.mask_zips.ranges import FEW_REQUESTS, MOST_EXCESS, ZipPlan
from oiv5_d2.acquisition.outcomes import CORRUPT, FAILED, MISSING, PRESENT, kind_of_reason
from oiv5_d2.console.quantities import size
from oiv5_d2.preparation.plan import Plan
from oiv5_d2.table import Table

_HOW_ZIPS_ARE_READ = (
    f"A zip comes whole where that is at most {MOST_EXCESS:.0%} more than what is wanted of it, or"
    f" its wanted parts are more than {FEW_REQUESTS:,} and cost more; otherwise by range."
)

_NUM_REASONS = 12  # shown of those why files could not be had


def not_fetched(manifest: pd.DataFrame) -> Table:
    """Return which kinds of files could not be had, how many, and why, the most first."""
    bad = manifest[manifest["State"] != PRESENT]
    bad = bad.assign(Reason=bad["Reason"].map(kind_of_reason))
    counted = bad.groupby(["Kind", "Split", "State", "Reason"])["Path"].agg(["size", "min"])
    counted = counted.sort_values("size", ascending=False, kind="stable").reset_index()
    rows = [
        (f"{row.Kind}s of {row.Split}", str(row.size), f"{row.State}: {row.Reason}", str(row.min))
        for row in counted[:_NUM_REASONS].itertuples(index=False)
    ]
    rest = counted[_NUM_REASONS:]
    if len(rest):
        why = f"{len(rest):,} more reasons, see the manifest"
        rows.append(("all others", str(rest["size"].sum()), why, str(rest["min"].min())))
    return Table("Files that could not be had", ("files", "number", "why", "such as"), rows, True)


def files_line(manifest: pd.DataFrame) -> str:
    """Return how many files are there, and how many are not."""
    num_of = manifest["State"].value_counts()
    present = f"{num_of.get(PRESENT, 0):,} {PRESENT} ({size(manifest['Bytes'].sum())})"
    absent = [f"{num_of.get(state, 0):,} {state}" for state in (MISSING, CORRUPT, FAILED)]
    return f"{len(manifest):,} files: {', '.join([present, *absent])}"


def plan_tables(plan: Plan) -> list[Table]:
    """Return what is wanted, by part and class, and what has to be fetched for it, by file."""
    found = [_wanted(plan), _image_needs(plan), _zip_needs(plan)]
    return [table for table in found if table.rows]


def _wanted(plan: Plan) -> Table:
    title = "What is wanted; of each class: masks to learn, on so many pictures"
    parts = plan.needs
    if not parts:
        return Table(title, (), [])
    classes = [
        (f"  {name}", *(f"{need.masks_of[name]:,} on {need.images_of[name]:,}" for need in parts))
        for name in parts[0].masks_of
    ]
    rows = [
        ("pictures", *(f"{need.num_images:,}" for need in parts)),
        ("masks to learn", *(f"{need.num_masks:,}" for need in parts)),
        *classes,
        ("objects to ignore", *(f"{need.num_ignored:,}" for need in parts)),
    ]
    return Table(title, ("", *(need.part for need in parts)), rows)


def _image_needs(plan: Plan) -> Table:
    rows: list[tuple[str, ...]] = []
    for need in plan.images:
        asked = "all" if need.num_asked == need.num_files else f"{need.num_asked:,}"
        num_bytes = ("" if need.is_exact else "about ") + size(need.num_bytes)
        failed = f"{need.num_failed:,}: {need.why}" if need.num_failed else "0"
        figures = (f"{need.num_files:,}", num_bytes, asked, f"{need.num_absent:,}")
        rows.append((need.split, *figures, failed))
    every = ("split", "files", "bytes", "asked for their size", "of these not there", "failed")
    columns, rows = _without_zeros(every, rows)
    words_at = len(columns) - 1 if "failed" in columns else 0
    return Table(f"Pictures to fetch from {plan.locations[1]}", columns, rows, words_at=words_at)


def _zip_needs(plan: Plan) -> Table:
    rows: list[tuple[str, ...]] = []
    for need in plan.zips:
        name = f"{need.split}-{need.digit}"
        if need.plan is None:
            rows.append((name, f"{need.num_wanted:,}", "-", "-", "-", "-", need.why))
            continue
        each = need.plan
        figures = (f"{each.num_wanted:,}", f"{each.num_absent:,}", size(each.zip_bytes))
        rows.append((name, *figures, size(each.bytes_to_fetch), _way(each), each.why))
    all_columns = ("zip", "wanted", "not in it", "its bytes", "to fetch", "how", "why")
    columns, rows = _without_zeros(all_columns, rows)
    title = f"Mask zips at {plan.locations[0]}"
    return Table(title, columns, rows, words_at=len(columns) - 1, note=_HOW_ZIPS_ARE_READ)


def _without_zeros(
    columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Leave out the columns that have nothing but 0."""
    kept = [index for index in range(len(columns)) if {row[index] for row in rows} - {"0", "-"}]
    return tuple(columns[i] for i in kept), [tuple(row[i] for i in kept) for row in rows]


def _way(plan: ZipPlan) -> str:
    if plan.is_here:
        return "from here"
    if not plan.by_range:
        return "whole"
    return "1 range" if plan.num_requests == 1 else f"{plan.num_requests:,} ranges"


def to_fetch(plan: Plan) -> list[str]:
    """Return a line for each store, with files and bytes to fetch from it."""
    lines = []
    if plan.images:
        about = "" if all(need.is_exact for need in plan.images) else "about "
        num_bytes = about + size(plan.image_bytes)
        lines.append(f"{plan.num_images:,} pictures, {num_bytes}, from {plan.locations[1]}")
    num_zips = sum(need.plan is None or not need.plan.is_here for need in plan.zips)
    if num_zips:
        masks = f"{plan.num_masks:,} masks out of {num_zips:,} zips"
        how = f"in {plan.num_zip_requests:,} requests"
        lines.append(f"{masks}, {size(plan.mask_bytes)}, {how}, from {plan.locations[0]}")
    return lines
