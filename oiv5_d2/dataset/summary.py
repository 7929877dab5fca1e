"""Tables for people to read: an audit in words and figures. To draw them is the tools' business."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from oiv5_d2.dataset.inspection import SIZES
from oiv5_d2.dataset.mask_zips.ranges import FEW_REQUESTS, MOST_EXCESS, ZipPlan
from oiv5_d2.dataset.outcomes import CORRUPT, FAILED, MISSING, PRESENT, kind_of_reason
from oiv5_d2.dataset.plan import Plan
from oiv5_d2.quantities import size

_HOW_ZIPS_ARE_READ = (
    f"A zip comes whole where that is at most {MOST_EXCESS:.0%} more than what is wanted of it, or"
    f" its wanted parts are more than {FEW_REQUESTS:,} and cost more; otherwise by range."
)

_NUM_REASONS = 12  # shown of those why files could not be had


class Table(NamedTuple):
    """A table of text. The first column is words, the others are figures unless ``is_prose``.

    Prose is better told in lines than in columns: the first two cells are what it is about.
    """

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    is_prose: bool = False
    words_at: int = 0
    """Another column of words."""
    note: str = ""
    """A line below it."""


def tables(report: Mapping[str, Any]) -> list[Table]:
    """Return what `audit` found as tables, the findings last; tables without rows are left out."""
    parts = report["parts"]
    found = [
        _pictures(parts),
        _objects(parts, report["classes"]),
        _images(parts, report["classes"]),
        _not_learnt(parts),
        _masks(parts),
        *(
            _mixes(part, parts[part]["balance"], report["classes"])
            for part in report["train_parts"]
        ),
        _findings(report["findings"]),
    ]
    return [table for table in found if table.rows]


def short_tables(report: Mapping[str, Any]) -> list[Table]:
    """Return the classes' counts and the findings alone."""
    found = [_objects(report["parts"], report["classes"]), _findings(report["findings"])]
    return [table for table in found if table.rows]


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


def _pictures(parts: Mapping[str, Any]) -> Table:
    columns = ("part", "wanted", "left out", "usable", "with objects to learn", "faulty")
    rows = []
    for part, described in parts.items():
        images = described["images"]
        num_faulty = sum(len(entries) for entries in images["faults"].values())
        figures = (
            images["wanted"],
            len(images["left_out"]),
            images["usable"],
            images["with_objects_to_learn"],
            num_faulty,
        )
        rows.append((part, *map(str, figures)))
    return Table("Pictures", columns, rows)


def _objects(parts: Mapping[str, Any], classes: Sequence[str]) -> Table:
    """Return objects to learn by class and, indented, by released label, in each part."""
    rows = []
    for name in classes:
        each = [described["classes"][name] for described in parts.values()]
        rows.append((name, *(_by_size(entry) for entry in each)))
        labels = sorted({label for entry in each for label in entry["labels"]})
        if labels != [name]:
            rows += [
                (f"  {label}", *(_by_size(entry["labels"].get(label)) for entry in each))
                for label in labels
            ]
    return Table("Objects to learn (small/medium/large ones)", ("class", *parts), rows)


def _by_size(entry: Mapping[str, Any] | None) -> str:
    if entry is None or not entry["to_learn"]:
        return "0"
    return f"{entry['to_learn']:,} ({'/'.join(str(entry['sizes'][size]) for size in SIZES)})"


def _images(parts: Mapping[str, Any], classes: Sequence[str]) -> Table:
    rows = [
        (name, *(f"{described['classes'][name]['images']:,}" for described in parts.values()))
        for name in classes
    ]
    return Table("Images with an object to learn", ("class", *parts), rows)


def _not_learnt(parts: Mapping[str, Any]) -> Table:
    ignored = [described["objects"]["ignored"] for described in parts.values()]
    rows = [
        (reason, *(str(each.get(reason, 0)) for each in ignored))
        for reason in sorted({reason for each in ignored for reason in each})
    ]
    return Table("Objects kept as ignored, by reason", ("reason", *parts), rows)


def _masks(parts: Mapping[str, Any]) -> Table:
    columns = (
        "part",
        "least IoU with box",
        "5 % of them",
        "median",
        "outside box",
        "tiny",
        "with predicted IoU",
        "its median",
    )
    rows = []
    for part, described in parts.items():
        fit, predicted = described["mask_box_iou"], described["predicted_iou"]
        figures = (
            *(_decimal(fit[key]) for key in ("min", "p5", "median")),
            str(described["outside_box"]["num_masks"]),
            str(described["tiny"]["num_masks"]),
            str(predicted["num"]),
            _decimal(predicted["median"]),
        )
        rows.append((part, *figures))
    return Table("Masks to learn", columns, rows)


def _mixes(part: str, balance: Mapping[str, Any], classes: Sequence[str]) -> Table:
    """Return what samplers show; those that change nothing are left out."""
    columns = ("shown", *classes, "most : least", "most repeats")
    chosen = balance["recommended"]["DATALOADER.REPEAT_THRESHOLD"]
    rows: list[tuple[str, ...]] = []
    for kind, key in [("", "mixes"), (", no root", "mixes_without_square_root")]:
        for mix in balance[key]:
            name = f"t = {mix['threshold']}{kind}" if mix["threshold"] else "each image once"
            mark = " *" if not kind and mix["threshold"] == chosen else ""
            shares = [f"{share:.1%}" for share in mix["shares"]]
            figures = (*shares, f"{mix['ratio']:.1f}", f"{mix['most_repeats']:.1f}")
            if mark or not rows or figures not in (rows[0][1:], rows[-1][1:]):
                rows.append((name + mark, *figures))
    title = f"Class mix when training on {part} (t is REPEAT_THRESHOLD, * recommended)"
    return Table(title, columns, rows)


def _findings(findings: list[Mapping[str, str]]) -> Table:
    rows = [(f["severity"], f["part"], f["what"], f["remedy"]) for f in findings]
    return Table("Findings", ("severity", "part", "what", "remedy"), rows, is_prose=True)


def _decimal(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
