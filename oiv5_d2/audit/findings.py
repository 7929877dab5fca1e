"""What an audit's figures mean for the user: how bad it is, and what to do."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

ERROR, WARNING, NOTE = "error", "warning", "note"
SEVERITIES = (ERROR, WARNING, NOTE)

MANY = 0.05  # of a part's images or masks: below, losses are the real release's usual ones
FEW_TO_JUDGE = 50  # objects of a class: with fewer its AP jumps with every single one
_NUM_SHOWN = 3
_LOST_MASKS = ("missing mask", "unreadable mask")
_EMPTY_MASKS = ("empty mask", "mask vanishes when resized")
_AGAIN = "prepare again with force=true"
_LOOK = "look at them with tools/show_data.py; data.min_predicted_iou can leave bad masks out"


class Finding(NamedTuple):
    """One thing that an audit found. ``part`` is "" for what concerns several."""

    severity: str
    part: str
    what: str
    remedy: str


def find(report: Mapping[str, Any]) -> list[Finding]:
    """Judge an audit's figures, the worst first.

    Args:
        report: what `audit` measured: train_parts, parts, leakage.
    """
    findings = list(_leaks(report["leakage"]))
    for part, described in report["parts"].items():
        findings += _pictures(part, described["images"])
        findings += _masks(part, described)
        if part in report["train_parts"]:
            findings += _training(part, described, report["classes"])
        else:
            findings += _judging(part, described["classes"])
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def refuse_errors(findings: Iterable[Mapping[str, str]], max_errors: int, path: Path) -> None:
    """Raise if an audit found more errors than allowed.

    Args:
        findings: the audit's, as it wrote them.
        max_errors: how many of them may be errors.
        path: where the audit lies.

    Raises:
        ValueError: there are more; the message has some of them and the remedy.
    """
    errors = [
        f"{finding['part']}: {finding['what']}".removeprefix(": ")
        for finding in findings
        if finding["severity"] == ERROR
    ]
    if len(errors) > max_errors:
        shown = "; ".join(errors[:_NUM_SHOWN]) + ("; ..." if len(errors) > _NUM_SHOWN else "")
        raise ValueError(
            f"errors that the audit found: {len(errors)}, more than max_errors={max_errors} allows:"
            f" {shown}. All are in {path}, each with its remedy: follow it, or raise max_errors"
        )


def _leaks(leakage: Mapping[str, Any]) -> Iterator[Finding]:
    verdicts = {
        "same_image_id": (
            ERROR,
            "images that are in several parts",
            "a model would be judged on what it has seen: cut the parts out of one split by shares",
        ),
        "same_bytes": (
            WARNING,
            "pictures that are byte for byte in several parts under other ids",
            "scores on them flatter: take them out of one part's source, or say so with the scores",
        ),
        "copies": (NOTE, "pictures that have a copy in their own part", "none is needed"),
    }
    for key, (severity, what, remedy) in verdicts.items():
        groups = [" = ".join("/".join(place) for place in group) for group in leakage[key]]
        if groups:
            yield Finding(severity, "", f"{len(groups)} {what}: {_shown(groups)}", remedy)


def _pictures(part: str, images: Mapping[str, Any]) -> Iterator[Finding]:
    remedies = {
        "missing": f"they went after conversion: {_AGAIN}",
        "size": f"they changed after conversion: {_AGAIN}",
        "turned": f"they changed after conversion: {_AGAIN}",
        "unreadable": f"training would stop at them: {_AGAIN}, which decodes every picture",
    }
    for kind, entries in images["faults"].items():
        shown = _shown(f"{entry['image_id']} {entry['detail']}".strip() for entry in entries)
        what = f"pictures on disk that are at fault ({kind}): {len(entries)}: {shown}"
        yield Finding(ERROR, part, what, remedies[kind])
    left_out = images["left_out"]
    if left_out:
        shown = _shown(f"{entry['image_id']} {entry['reason']}" for entry in left_out)
        what = f"images left out: {len(left_out)} of {images['wanted']}: {shown}"
        severity = WARNING if len(left_out) > MANY * images["wanted"] else NOTE
        yield Finding(severity, part, what, "none if they are few; else mend the source")


def _masks(part: str, described: Mapping[str, Any]) -> Iterator[Finding]:
    num_learnt, ignored = described["objects"]["to_learn"], described["objects"]["ignored"]
    num_lost = sum(ignored.get(reason, 0) for reason in _LOST_MASKS)
    if num_lost:
        what = f"masks missing or unreadable: {num_lost}; their objects are ignored"
        severity = WARNING if num_lost > MANY * (num_learnt + num_lost) else NOTE
        yield Finding(severity, part, what, "manifest.csv names them: mend the source")
    num_empty = sum(ignored.get(reason, 0) for reason in _EMPTY_MASKS)
    if num_empty:
        what = f"masks that are empty: {num_empty}; their objects are ignored"
        yield Finding(NOTE, part, what, "none is needed: the release has such masks")
    tiny, fit, outside = (described[key] for key in ("tiny", "mask_box_iou", "outside_box"))
    if tiny["num_masks"]:
        limits = f"{tiny['below_pixels']} px or {tiny['below_share']:.2%} of their picture"
        what = f"masks below {limits}: {_worst(tiny, tiny['num_masks'])}"
        yield Finding(NOTE, part, what, _LOOK)
    if fit["num_poor"]:
        limit = f"masks with an IoU below {fit['poor_below']} with their box"
        yield Finding(WARNING, part, f"{limit}: {_worst(fit, fit['num_poor'])}", _LOOK)
    if outside["num_far"]:
        limit = f"masks with over {outside['far_above']:.0%} of their pixels outside their box"
        yield Finding(WARNING, part, f"{limit}: {_worst(outside, outside['num_far'])}", _LOOK)


def _training(part: str, described: Mapping[str, Any], classes: list[str]) -> Iterator[Finding]:
    for name, each in described["classes"].items():
        if not each["to_learn"]:
            remedy = "it can't be learnt: choose other data.classes, or more images"
            yield Finding(ERROR, part, f"class {name} has no object to learn", remedy)
    balance = described["balance"]
    if balance["ratio"] > balance["worst_ratio"]:
        settings, shares = balance["recommended"], balance["mixes"][0]["shares"]
        rarest = min((share, name) for share, name in zip(shares, classes, strict=True) if share)[1]
        what = (
            f"the most frequent class has {balance['ratio']:.0f} times the objects of {rarest}; "
            f"above {balance['worst_ratio']:.0f} the rarest is hardly learnt"
        )
        chosen = " ".join(f"d2.{key}={value}" for key, value in settings.items() if key != "ratio")
        yield Finding(WARNING, part, what, f"{chosen} makes it {settings['ratio']:.0f} times")
    num_ignored = sum(described["objects"]["ignored"].values())
    if num_ignored:
        share = num_ignored / (num_ignored + described["objects"]["to_learn"])
        what = f"real objects that are not to be learnt: {num_ignored} ({share:.0%} of all)"
        remedy = "none yet: Detectron2 drops them in training, which makes them background"
        yield Finding(NOTE, part, what, remedy)


def _judging(part: str, classes: Mapping[str, Any]) -> Iterator[Finding]:
    absent = [name for name, each in classes.items() if not each["to_learn"]]
    if absent:
        what = f"classes without an object to judge by: {', '.join(absent)}"
        yield Finding(WARNING, part, what, "they have no AP there: read means with care")
    few = [
        f"{name} {each['to_learn']}"
        for name, each in classes.items()
        if 0 < each["to_learn"] < FEW_TO_JUDGE
    ]
    if few:
        what = f"classes with fewer than {FEW_TO_JUDGE} objects to judge by: {', '.join(few)}"
        yield Finding(NOTE, part, what, "take small differences of their AP for noise")


def _worst(described: Mapping[str, Any], number: int) -> str:
    """Return the number and the first of its worst in words."""
    worst = described["worst"][:number]
    shown = _shown(f"{entry['mask_path']} {entry['value']:g}" for entry in worst)
    return f"{number}: {shown}"


def _shown(items: Iterable[str]) -> str:
    """Return the first few items in words."""
    listed = list(items)
    more = ", ..." if len(listed) > _NUM_SHOWN else ""
    return ", ".join(listed[:_NUM_SHOWN]) + more
