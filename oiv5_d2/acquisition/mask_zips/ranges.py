"""Which parts of a zip to ask for, so that few requests bring little that nobody wants."""

from collections.abc import Collection, Iterable
from itertools import pairwise
from typing import Literal, NamedTuple

from oiv5_d2.acquisition.mask_zips.central_directory import Directory, Entry

Mode = Literal["auto", "range", "whole"]

# A request costs a server and a network about as much as so many bytes more of an answer.
REQUEST_COST = 8 << 10
# Requests that are under way side by side: up to so many are over in seconds, whatever they cost.
FEW_REQUESTS = 1000
MOST_EXCESS = 0.1  # by which a whole zip may be more than what is wanted of it


class Span(NamedTuple):
    """A part of a zip to ask for, and the entries that lie in it."""

    start: int
    stop: int
    entries: tuple[Entry, ...]


class ZipPlan(NamedTuple):
    """How the wanted entries of a zip are to be had, and what that takes."""

    by_range: bool
    num_wanted: int
    num_absent: int
    """Wanted entries that the zip does not have, or that are refused."""
    range_bytes: int
    """To be read by range: all spans, and the central directory."""
    num_requests: int
    """One a span."""
    zip_bytes: int
    why: str
    is_here: bool = False
    """It came whole before: nothing is asked for."""

    @property
    def bytes_to_fetch(self) -> int:
        """Of the spans and the central directory, or of the whole zip."""
        if self.is_here:
            return 0
        return self.range_bytes if self.by_range else self.zip_bytes

    @property
    def requests_to_make(self) -> int:
        """One a span, or one for the whole zip."""
        if self.is_here:
            return 0
        return self.num_requests if self.by_range else 1


def coalesce(
    entries: Iterable[Entry],
    max_waste: float = 0.05,
    max_gap: int = 64 << 10,
    max_bytes: int = 8 << 20,
) -> list[Span]:
    """Join entries that lie near each other, across the smallest gaps first.

    Args:
        entries: no two lie over each other.
        max_waste: the bytes between the entries may be so many, as a share of the entries' own.
        max_gap: the largest gap in bytes to join across.
        max_bytes: of a span of several entries.

    Returns:
        spans that do not touch each other's entries, each entry in one, by place.
    """
    ordered = sorted(entries, key=lambda entry: entry.start)
    gaps = [after.start - before.stop for before, after in pairwise(ordered)]
    budget = max_waste * sum(entry.stop - entry.start for entry in ordered)
    is_joined = [False] * len(gaps)
    for number in sorted(range(len(gaps)), key=gaps.__getitem__):
        budget -= gaps[number]
        if budget < 0 or gaps[number] > max_gap:
            break
        is_joined[number] = True
    spans: list[list[Entry]] = []
    for entry, joins in zip(ordered, [False, *is_joined], strict=False):
        if joins and entry.stop - spans[-1][0].start <= max_bytes:
            spans[-1].append(entry)
        else:
            spans.append([entry])
    return [Span(some[0].start, some[-1].stop, tuple(some)) for some in spans]


def how(directory: Directory, wanted: Collection[str], mode: Mode = "auto") -> ZipPlan:
    """Decide whether a zip is read by range or whole.

    By range, what is read is at most a twentieth more than what is wanted. The whole zip is
    fetched where that is no more than a tenth more, or where very many requests would cost more
    than the rest of the zip.

    Args:
        directory: of the zip.
        wanted: names of entries.
        mode: "range" or "whole" where it is decided already.
    """
    entries = [directory.entries[name] for name in wanted if name in directory.entries]
    spans = coalesce(entries)
    wanted_bytes = sum(entry.stop - entry.start for entry in entries)
    range_bytes = sum(span.stop - span.start for span in spans) + directory.directory_bytes
    zip_bytes = directory.num_bytes
    share = f"{wanted_bytes / zip_bytes:.0%} wanted"
    least_bytes = wanted_bytes + directory.directory_bytes
    if mode != "auto":
        by_range, why = mode == "range", "the settings say so"
    elif zip_bytes + directory.directory_bytes <= (1 + MOST_EXCESS) * least_bytes:
        by_range, why = False, share
    elif len(spans) > FEW_REQUESTS and range_bytes + REQUEST_COST * len(spans) >= zip_bytes:
        by_range, why = False, f"too many requests ({len(spans):,}): {share}"
    else:
        by_range, why = True, share
    absent = len(wanted) - len(entries)
    return ZipPlan(by_range, len(wanted), absent, range_bytes, len(spans), zip_bytes, why)
