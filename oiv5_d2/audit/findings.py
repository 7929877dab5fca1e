"""What an audit checks: what is odd in the data, how serious it is, and what to do.

A check is a function of one `Part`, listed in `CHECKS`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from oiv5_d2.audit.figures import AUDIT_JSON, Measured
from oiv5_d2.conversion.records import EMPTY_MASK, MISSING_MASK, UNREADABLE_MASK, VANISHED_MASK
from oiv5_d2.problems import Kind, Problem, Remedy

ERROR, WARNING, NOTE = "error", "warning", "note"
SEVERITIES = (ERROR, WARNING, NOTE)

MANY = 0.05  # of a part's images or masks; the real release loses fewer
MOST = 0.5
FEW_TO_EVALUATE = 50  # objects of a class: with fewer, its AP jumps with every single one
_NUM_SHOWN = 3
_AGAIN = "Prepare again with force=true."
_CHECK_MASKS = "Look at some in tools/show_data.py."
_LOOK = "Look at them with tools/show_data.py; data.min_predicted_iou leaves bad masks out."


class Finding(NamedTuple):
    """One thing that an audit found. ``part`` is "" if it concerns several."""

    severity: str
    kind: str
    """What it is about, in one word for programs: "same_id", "tiny", ..."""
    part: str
    what: str
    remedy: str


class Part(NamedTuple):
    """What a check looks at.

    Attributes:
        name: of the part.
        is_trained: it is one for training.
        classes: display names, in category order.
        figures: from `figures.describe`, as they are written to ``audit.json``.
        measured: every image, object and image file, for what the figures do not say.
    """

    name: str
    is_trained: bool
    classes: Sequence[str]
    figures: Mapping[str, Any]
    measured: Measured


def find(report: Mapping[str, Any], measured: Mapping[str, Measured]) -> list[Finding]:
    """Return what is odd in the data, the most serious first.

    Args:
        report: what `audit` measured: classes, train_parts, parts, leakage.
        measured: each part.
    """
    findings = list(_leaks(report["leakage"]))
    for name, figures in report["parts"].items():
        is_trained = name in report["train_parts"]
        part = Part(name, is_trained, report["classes"], figures, measured[name])
        findings += (finding for check in CHECKS for finding in check(part))
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
        number = f"{len(errors)} error{'s' if len(errors) > 1 else ''}"
        detail = f"{number}, max_errors={max_errors}: {_shown(errors, '; ')}"
        raise Problem(Kind.TOO_MANY, path, detail, key="max_errors", remedy=Remedy.FOLLOW_FINDINGS)


def _leaks(leakage: Mapping[str, Any]) -> Iterator[Finding]:
    verdicts = {
        "same_id": (
            ERROR,
            "images are in several parts",
            "A model would be evaluated on images that it was trained on: remove them from one"
            " part, or cut the parts out of one split of a release with data.shares.",
        ),
        "same_bytes": (
            WARNING,
            "images are in several parts, byte for byte, under different ids",
            "Scores on them are too good: remove them from one part's source.",
        ),
    }
    for key, (severity, what, remedy) in verdicts.items():
        groups = [" = ".join(" ".join(place) for place in group) for group in leakage[key]]
        if groups:
            yield Finding(severity, key, "", f"{len(groups)} {what}: {_shown(groups)}", remedy)


def _wrong_files(part: Part) -> Iterator[Finding]:
    causes = {
        "missing": "They were removed after the conversion.",
        "unreadable": "Training would stop at them.",
    }
    for kind, entries in part.figures["images"]["faults"].items():
        shown = _shown(f"{entry['open_images_id']} {entry['detail']}".strip() for entry in entries)
        what = f"{len(entries)} image files are wrong ({kind}): {shown}"
        remedy = f"{causes.get(kind, 'They changed after the conversion.')} {_AGAIN}"
        yield Finding(ERROR, kind, part.name, what, remedy)


def _left_out(part: Part) -> Iterator[Finding]:
    wanted, left_out = (part.figures["images"][key] for key in ("wanted", "left_out"))
    if left_out:
        shown = _shown(f"{entry['open_images_id']} {entry['reason']}" for entry in left_out)
        what = f"{len(left_out)} of {wanted} images were left out ({shown})"
        severity = WARNING if len(left_out) > MANY * wanted else NOTE
        remedy = "Harmless if few; otherwise fix the source."
        yield Finding(severity, "left_out", part.name, what, remedy)


def _copies(part: Part) -> Iterator[Finding]:
    ids_of: dict[str, list[str]] = {}
    for file in part.measured.files:
        ids_of.setdefault(file.sha256, []).append(file.open_images_id)
    groups = [ids for digest, ids in ids_of.items() if digest and len(ids) > 1]
    if groups:
        num_images = sum(map(len, groups))
        shown = _shown(" = ".join(ids) for ids in groups)
        what = f"{num_images} images are the same as another, byte for byte: {shown}"
        severity = ERROR if num_images > MANY * len(part.measured.files) else WARNING
        remedy = "If it is a picture that says 'not available', fetch them again or remove them."
        yield Finding(severity, "copies", part.name, what, remedy)


def _other_shape(part: Part) -> Iterator[Finding]:
    odd = part.figures["images"]["other_shape"]
    if odd:
        shown = _shown(f"{entry['open_images_id']} {entry['shape']}" for entry in odd)
        what = f"{len(odd)} images have another shape than their masks: {shown}"
        remedy = "They were turned, cropped or padded after the release: use its own images."
        yield Finding(ERROR, "other_shape", part.name, what, remedy)


def _lost_masks(part: Part) -> Iterator[Finding]:
    num_lost = _num_ignored(part, MISSING_MASK, UNREADABLE_MASK)
    if num_lost:
        what = f"{num_lost} masks are missing or unreadable; their objects are ignored"
        num_masks = part.figures["objects"]["targets"] + num_lost
        severity = WARNING if num_lost > MANY * num_masks else NOTE
        remedy = "manifest.csv names them: fix the source."
        yield Finding(severity, "lost_masks", part.name, what, remedy)


def _empty_masks(part: Part) -> Iterator[Finding]:
    num_empty = _num_ignored(part, EMPTY_MASK, VANISHED_MASK)
    if num_empty:
        what = f"{num_empty} masks are empty; their objects are ignored"
        remedy = "Nothing to do: the release has such masks."
        severity = NOTE
        if num_empty > MOST * (num_empty + part.figures["objects"]["targets"]):
            severity, remedy = ERROR, f"Is the object above zero in the mask's grey? {_CHECK_MASKS}"
        yield Finding(severity, "empty_masks", part.name, what, remedy)


def _tiny(part: Part) -> Iterator[Finding]:
    tiny = part.figures["tiny"]
    if tiny["num_masks"]:
        limits = f"{tiny['below_pixels']} px or {tiny['below_share']:.2%} of their image"
        what = f"{tiny['num_masks']} masks are smaller than {limits}: {_worst(tiny)}"
        yield Finding(NOTE, "tiny", part.name, what, _LOOK)


def _poor_fit(part: Part) -> Iterator[Finding]:
    fit = part.figures["mask_box_iou"]
    if fit["num_poor"]:
        what = f"{fit['num_poor']} masks have an IoU below {fit['poor_below']} with their box"
        what = f"{what}: {_worst(fit, fit['num_poor'])}"
        if fit["num_poor"] > MOST * fit["num"]:
            remedy = f"Are they inverted, or of other images? {_CHECK_MASKS}"
            yield Finding(ERROR, "poor_fit", part.name, what, remedy)
        else:
            yield Finding(WARNING, "poor_fit", part.name, what, _LOOK)


def _outside_box(part: Part) -> Iterator[Finding]:
    outside = part.figures["outside_box"]
    if outside["num_far"]:
        share = f"over {outside['far_above']:.0%} of their pixels outside their box"
        what = f"{outside['num_far']} masks have {share}: {_worst(outside, outside['num_far'])}"
        yield Finding(WARNING, "outside_box", part.name, what, _LOOK)


def _nothing_to_learn(part: Part) -> Iterator[Finding]:
    for category, (name, each) in enumerate(part.figures["classes"].items()):
        if not part.is_trained or each["targets"]:
            continue
        what, objects = f"class {name} has no training target", part.measured.objects
        remedy = "It cannot be learned: choose other data.classes, or more images."
        reasons = objects.loc[objects["Category"] == category, "Reason"].value_counts()
        if len(reasons):
            shown = ", ".join(f"{reason} {number}" for reason, number in reasons.items())
            what = f"{what}; its objects are ignored: {shown}"
            remedy = "Only objects with masks, and without iscrowd, are learned in full."
        yield Finding(ERROR, "no_target", part.name, what, remedy)


def _imbalance(part: Part) -> Iterator[Finding]:
    balance = part.figures["balance"]
    if part.is_trained and balance["ratio"] > balance["worst_ratio"]:
        settings, shares = balance["recommended"], balance["mixes"][0]["shares"]
        rarest = min((n, name) for n, name in zip(shares, part.classes, strict=True) if n)[1]
        what = (
            f"the most frequent class has {balance['ratio']:.0f} times the objects of {rarest}; "
            f"above {balance['worst_ratio']:.0f}, the rarest is hardly learned"
        )
        chosen = " ".join(f"d2.{key}={value}" for key, value in settings.items() if key != "ratio")
        remedy = f"Add {chosen}: that makes it {settings['ratio']:.0f} times."
        yield Finding(WARNING, "imbalance", part.name, what, remedy)


def _ignored(part: Part) -> Iterator[Finding]:
    num_ignored = _num_ignored(part, *part.figures["objects"]["ignored"])
    if part.is_trained and num_ignored:
        share = num_ignored / (num_ignored + part.figures["objects"]["targets"])
        what = f"{num_ignored} real objects ({share:.0%}) are ignored"
        remedy = (
            "Detectron2 trains on them as background; annotation=partial does not,"
            " see docs/partial_annotation.md."
        )
        yield Finding(NOTE, "ignored", part.name, what, remedy)


def _nothing_to_evaluate(part: Part) -> Iterator[Finding]:
    absent = [name for name, each in part.figures["classes"].items() if not each["targets"]]
    if absent and not part.is_trained:
        what = f"no object to evaluate: {', '.join(absent)}"
        remedy = "These classes have no AP here, and the means leave them out."
        yield Finding(WARNING, "nothing_to_evaluate", part.name, what, remedy)


def _few_to_evaluate(part: Part) -> Iterator[Finding]:
    numbers = {name: each["targets"] for name, each in part.figures["classes"].items()}
    few = [f"{name} {number}" for name, number in numbers.items() if 0 < number < FEW_TO_EVALUATE]
    if few and not part.is_trained:
        what = f"fewer than {FEW_TO_EVALUATE} objects to evaluate: {', '.join(few)}"
        remedy = "Small differences of their AP are noise."
        yield Finding(NOTE, "few_to_evaluate", part.name, what, remedy)


CHECKS: tuple[Callable[[Part], Iterator[Finding]], ...] = (
    _wrong_files,
    _left_out,
    _copies,
    _other_shape,
    _lost_masks,
    _empty_masks,
    _tiny,
    _poor_fit,
    _outside_box,
    _nothing_to_learn,
    _imbalance,
    _ignored,
    _nothing_to_evaluate,
    _few_to_evaluate,
)


def _num_ignored(part: Part, *reasons: str) -> int:
    ignored = part.figures["objects"]["ignored"]
    return sum(ignored.get(reason, 0) for reason in reasons)


def _worst(described: Mapping[str, Any], number: int | None = None) -> str:
    """Return the first of the worst masks, at most `number`, in words."""
    worst = described["worst"][:number]
    return _shown(f"{entry['mask_path']} {entry['value']:g}" for entry in worst)


def _shown(items: Iterable[str], separator: str = ", ") -> str:
    """Return the first few items in words."""
    listed = list(items)
    more = len(listed) - _NUM_SHOWN
    shown = separator.join(listed[:_NUM_SHOWN])
    return f"{shown} and {more} more in {AUDIT_JSON}" if more > 0 else shown
