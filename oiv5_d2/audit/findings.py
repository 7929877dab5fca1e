"""What an audit's figures mean for the user: how serious it is, and what to do."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from oiv5_d2.conversion.records import EMPTY_MASK, MISSING_MASK, UNREADABLE_MASK, VANISHED_MASK
from oiv5_d2.problems import Kind, Problem, Remedy

ERROR, WARNING, NOTE = "error", "warning", "note"
SEVERITIES = (ERROR, WARNING, NOTE)

MANY = 0.05  # of a part's images or masks; the real release loses fewer
FEW_TO_EVALUATE = 50  # objects of a class: with fewer, its AP jumps with every single one
_NUM_SHOWN = 3
_AGAIN = "Prepare again with force=true."
_LOOK = "Look at them with tools/show_data.py; data.min_predicted_iou leaves bad masks out."


class Finding(NamedTuple):
    """One thing that an audit found. ``part`` is "" if it concerns several."""

    severity: str
    kind: str
    """What it is about, in one word for programs: "same_id", "tiny", ..."""
    part: str
    what: str
    remedy: str


def find(report: Mapping[str, Any]) -> list[Finding]:
    """Return what an audit's figures mean, the most serious first.

    Args:
        report: what `audit` measured: train_parts, parts, leakage.
    """
    findings = list(_leaks(report["leakage"]))
    for part, described in report["parts"].items():
        findings += _images(part, described["images"])
        findings += _masks(part, described)
        if part in report["train_parts"]:
            findings += _training(part, described, report["classes"])
        else:
            findings += _evaluation(part, described["classes"])
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def refuse_errors(findings: Iterable[Mapping[str, str]], max_errors: int, path: Path) -> None:
    """Check that an audit, written to `path`, found no more errors than allowed.

    Raises:
        Problem: TOO_MANY; the detail has the first of them.
    """
    errors = [
        f"{finding['part']}: {finding['what']}".removeprefix(": ")
        for finding in findings
        if finding["severity"] == ERROR
    ]
    if len(errors) > max_errors:
        shown = "; ".join(errors[:_NUM_SHOWN]) + ("; ..." if len(errors) > _NUM_SHOWN else "")
        detail = f"{len(errors)} errors, max_errors={max_errors}: {shown}"
        raise Problem(Kind.TOO_MANY, path, detail, key="max_errors", remedy=Remedy.FOLLOW_FINDINGS)


def _leaks(leakage: Mapping[str, Any]) -> Iterator[Finding]:
    verdicts = {
        "same_id": (
            ERROR,
            "images are in several parts",
            "A model would be evaluated on images that it was trained on: cut the parts out of one"
            " split with data.shares.",
        ),
        "same_bytes": (
            WARNING,
            "images are in several parts, byte for byte, under different ids",
            "Scores on them are too good: remove them from one part's source.",
        ),
        "copies": (NOTE, "images have a copy in their own part", "Nothing to do."),
    }
    for key, (severity, what, remedy) in verdicts.items():
        groups = [" = ".join("/".join(place) for place in group) for group in leakage[key]]
        if groups:
            yield Finding(severity, key, "", f"{len(groups)} {what}: {_shown(groups)}", remedy)


def _images(part: str, images: Mapping[str, Any]) -> Iterator[Finding]:
    causes = {
        "missing": "They were removed after the conversion.",
        "unreadable": "Training would stop at them.",
    }
    for kind, entries in images["faults"].items():
        shown = _shown(f"{entry['open_images_id']} {entry['detail']}".strip() for entry in entries)
        what = f"{len(entries)} image files are wrong ({kind}): {shown}"
        remedy = f"{causes.get(kind, 'They changed after the conversion.')} {_AGAIN}"
        yield Finding(ERROR, kind, part, what, remedy)
    left_out = images["left_out"]
    if left_out:
        shown = _shown(f"{entry['open_images_id']} {entry['reason']}" for entry in left_out)
        what = f"{len(left_out)} of {images['wanted']} images were left out ({shown})"
        severity = WARNING if len(left_out) > MANY * images["wanted"] else NOTE
        remedy = "Harmless if few; otherwise fix the source."
        yield Finding(severity, "left_out", part, what, remedy)


def _masks(part: str, described: Mapping[str, Any]) -> Iterator[Finding]:
    num_targets, ignored = described["objects"]["targets"], described["objects"]["ignored"]
    num_lost = sum(ignored.get(reason, 0) for reason in (MISSING_MASK, UNREADABLE_MASK))
    if num_lost:
        what = f"{num_lost} masks are missing or unreadable; their objects are ignored"
        severity = WARNING if num_lost > MANY * (num_targets + num_lost) else NOTE
        remedy = "manifest.csv names them: fix the source."
        yield Finding(severity, "lost_masks", part, what, remedy)
    num_empty = sum(ignored.get(reason, 0) for reason in (EMPTY_MASK, VANISHED_MASK))
    if num_empty:
        what = f"{num_empty} masks are empty; their objects are ignored"
        yield Finding(NOTE, "empty_masks", part, what, "Nothing to do: the release has such masks.")
    tiny, fit, outside = (described[key] for key in ("tiny", "mask_box_iou", "outside_box"))
    if tiny["num_masks"]:
        limits = f"{tiny['below_pixels']} px or {tiny['below_share']:.2%} of their image"
        what = f"{tiny['num_masks']} masks are smaller than {limits}: {_worst(tiny)}"
        yield Finding(NOTE, "tiny", part, what, _LOOK)
    if fit["num_poor"]:
        what = f"{fit['num_poor']} masks have an IoU below {fit['poor_below']} with their box"
        yield Finding(WARNING, "poor_fit", part, f"{what}: {_worst(fit, fit['num_poor'])}", _LOOK)
    if outside["num_far"]:
        share = f"over {outside['far_above']:.0%} of their pixels outside their box"
        what = f"{outside['num_far']} masks have {share}: {_worst(outside, outside['num_far'])}"
        yield Finding(WARNING, "outside_box", part, what, _LOOK)


def _training(part: str, described: Mapping[str, Any], classes: list[str]) -> Iterator[Finding]:
    for name, each in described["classes"].items():
        if not each["targets"]:
            remedy = "It cannot be learned: choose other data.classes, or more images."
            yield Finding(ERROR, "no_target", part, f"class {name} has no training target", remedy)
    balance = described["balance"]
    if balance["ratio"] > balance["worst_ratio"]:
        settings, shares = balance["recommended"], balance["mixes"][0]["shares"]
        rarest = min((share, name) for share, name in zip(shares, classes, strict=True) if share)[1]
        what = (
            f"the most frequent class has {balance['ratio']:.0f} times the objects of {rarest}; "
            f"above {balance['worst_ratio']:.0f}, the rarest is hardly learned"
        )
        chosen = " ".join(f"d2.{key}={value}" for key, value in settings.items() if key != "ratio")
        remedy = f"Add {chosen}: that makes it {settings['ratio']:.0f} times."
        yield Finding(WARNING, "imbalance", part, what, remedy)
    num_ignored = sum(described["objects"]["ignored"].values())
    if num_ignored:
        share = num_ignored / (num_ignored + described["objects"]["targets"])
        what = f"{num_ignored} real objects ({share:.0%}) are ignored"
        remedy = "Nothing to do yet: Detectron2 drops them in training, as if they were background."
        yield Finding(NOTE, "ignored", part, what, remedy)


def _evaluation(part: str, classes: Mapping[str, Any]) -> Iterator[Finding]:
    absent = [name for name, each in classes.items() if not each["targets"]]
    if absent:
        what = f"no object to evaluate: {', '.join(absent)}"
        remedy = "These classes have no AP here, and the means leave them out."
        yield Finding(WARNING, "nothing_to_evaluate", part, what, remedy)
    numbers = {name: each["targets"] for name, each in classes.items()}
    few = [f"{name} {number}" for name, number in numbers.items() if 0 < number < FEW_TO_EVALUATE]
    if few:
        what = f"fewer than {FEW_TO_EVALUATE} objects to evaluate: {', '.join(few)}"
        remedy = "Small differences of their AP are noise."
        yield Finding(NOTE, "few_to_evaluate", part, what, remedy)


def _worst(described: Mapping[str, Any], number: int | None = None) -> str:
    """Return the first of the worst masks, at most `number`, in words."""
    worst = described["worst"][:number]
    return _shown(f"{entry['mask_path']} {entry['value']:g}" for entry in worst)


def _shown(items: Iterable[str]) -> str:
    """Return the first few items in words."""
    listed = list(items)
    more = ", ..." if len(listed) > _NUM_SHOWN else ""
    return ", ".join(listed[:_NUM_SHOWN]) + more
