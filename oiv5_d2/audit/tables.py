"""An audit as tables for the screen."""

from collections.abc import Mapping, Sequence
from typing import Any

from oiv5_d2.audit.measure import SIZES
from oiv5_d2.table import Table


def tables(report: Mapping[str, Any]) -> list[Table]:
    """Return an audit's tables, the findings last; tables without rows are left out."""
    parts = report["parts"]
    classes = report["classes"]
    found = [
        _images(parts),
        _objects(parts, classes),
        _by_class(parts, classes),
        _ignored(parts),
        _masks(parts),
        *(_mixes(part, parts[part]["balance"], classes) for part in report["train_parts"]),
        _findings(report["findings"]),
    ]
    return [table for table in found if table.rows]


def short_tables(report: Mapping[str, Any]) -> list[Table]:
    """Return the counts by class and the findings only."""
    found = [_objects(report["parts"], report["classes"]), _findings(report["findings"])]
    return [table for table in found if table.rows]


def _images(parts: Mapping[str, Any]) -> Table:
    columns = ("part", "wanted", "left out", "usable", "with targets", "faulty")
    rows = []
    for part, described in parts.items():
        images = described["images"]
        num_faulty = sum(map(len, images["faults"].values()))
        usable = (images["usable"], images["with_targets"], num_faulty)
        rows.append((part, *map(str, (images["wanted"], len(images["left_out"]), *usable))))
    return Table("Images", columns, rows)


def _objects(parts: Mapping[str, Any], classes: Sequence[str]) -> Table:
    """Return training targets by class and, indented, by released label, in each part."""
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
    return Table("Training targets (small/medium/large)", ("class", *parts), rows)


def _by_size(entry: Mapping[str, Any] | None) -> str:
    if entry is None or not entry["targets"]:
        return "0"
    return f"{entry['targets']:,} ({'/'.join(str(entry['sizes'][size]) for size in SIZES)})"


def _by_class(parts: Mapping[str, Any], classes: Sequence[str]) -> Table:
    rows = [
        (name, *(f"{described['classes'][name]['images']:,}" for described in parts.values()))
        for name in classes
    ]
    return Table("Images with a training target", ("class", *parts), rows)


def _ignored(parts: Mapping[str, Any]) -> Table:
    ignored = [described["objects"]["ignored"] for described in parts.values()]
    rows = [
        (reason, *(str(each.get(reason, 0)) for each in ignored))
        for reason in sorted({reason for each in ignored for reason in each})
    ]
    return Table("Ignored objects, by reason", ("reason", *parts), rows)


def _masks(parts: Mapping[str, Any]) -> Table:
    fit = ("part", "least IoU with box", "5 % of them", "median")
    columns = (*fit, "outside box", "tiny", "with predicted IoU", "its median")
    rows = []
    for part, described in parts.items():
        predicted = described["predicted_iou"]
        quantiles = [_decimal(described["mask_box_iou"][key]) for key in ("min", "p5", "median")]
        numbers = [described[key]["num_masks"] for key in ("outside_box", "tiny")]
        counted = map(str, (*numbers, predicted["num"]))
        rows.append((part, *quantiles, *counted, _decimal(predicted["median"])))
    return Table("Masks of training targets", columns, rows)


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
