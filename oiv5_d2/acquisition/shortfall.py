"""When too many files could not be had: pictures and masks apart, and each split apart."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from oiv5_d2.acquisition.manifest import IMAGE, Absence, ManifestWriter
from oiv5_d2.acquisition.outcomes import CORRUPT, MISSING, PRESENT

_NUM_SHOWN = 3
_KEYS = {IMAGE: "data.images"}
_REFUSED = re.compile(r"says 40[137]|redirect|certificate")


def refuse_too_many(manifest: ManifestWriter, max_missing: float, path: Path) -> None:
    """Raise if more files of a kind and a split than allowed could not be had.

    Masks are several times the pictures: counted together, they would hide the pictures' loss. A
    split that has lost every picture is refused whatever is allowed.

    Args:
        manifest: with all rows.
        max_missing: the share that may be missing, corrupt or failed, in [0, 1].
        path: where the manifest lies.

    Raises:
        ValueError: there are more; the message has kind and split, the reasons and the remedies.
    """
    short = dict(_too_short(manifest, max_missing))
    if not short:
        return
    absent = Counter({key: n for key, n in manifest.absent.items() if key[:2] in short})
    remedies = dict.fromkeys(_remedy(key, manifest) for key, _ in absent.most_common())
    raise ValueError(
        f"{', '.join(short.values())} could not be had; of each, max_missing={max_missing:g} may be"
        f" absent, and never all images. Why: {_reasons(absent, manifest)}. All are in {path}, and"
        f" what was fetched stays. {'. '.join(remedies)}"
    )


def _too_short(
    manifest: ManifestWriter, max_missing: float
) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield kind and split of what has lost too much, and that in words."""
    for group in sorted({key[:2] for key in manifest.num_of}):
        num_files = sum(n for key, n in manifest.num_of.items() if key[:2] == group)
        num_absent = num_files - manifest.num_of[*group, PRESENT]
        if num_absent > max_missing * num_files or (group[0] == IMAGE and num_absent == num_files):
            share = f"({num_absent / num_files:.1%})"
            yield group, f"{num_absent:,} of {num_files:,} {group[0]}s of {group[1]} {share}"


def _reasons(absent: Counter[Absence], manifest: ManifestWriter) -> str:
    """Return why files are not there, most first: how many, and one of them."""
    counts: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], str] = {}
    for key, number in absent.items():
        counts[key.state, key.reason] += number
        examples.setdefault((key.state, key.reason), manifest.example_of[key])
    shown = [
        f"{number:,} {why[0]}: {why[1]}, such as {examples[why]}"
        for why, number in counts.most_common(_NUM_SHOWN)
    ]
    num_more = len(counts) - len(shown)
    return "; ".join([*shown, *([f"{num_more} more"] if num_more else [])])


def _remedy(key: Absence, manifest: ManifestWriter) -> str:
    address = f"{_KEYS.get(key.kind, 'data.annotations')} (or data.source)"
    if key.state == CORRUPT:
        return "What is damaged has to be mended in the source, or max_missing raised"
    if _REFUSED.search(key.reason):
        settings = f"{address}, transfer.sign_s3 and transfer.follow_redirects"
        return f"What is refused needs another setting: look at {settings}"
    if key.state != MISSING:
        return "What failed may come another time: run again with retry_failed=true"
    if manifest.num_of[key.kind, key.split, PRESENT] == 0:
        return f"Nothing at all is there: is {address} the right one?"
    return "What the source lacks has to be put there, or max_missing raised"
