"""Bytes and times in the units that people read and write."""

import re


def size(num_bytes: float) -> str:
    """Return bytes in B, kB, MB or GB."""
    unit = "B"
    for larger in ("kB", "MB", "GB"):
        if num_bytes < 1000:
            break
        num_bytes, unit = num_bytes / 1000, larger
    return f"{num_bytes:.0f} B" if unit == "B" else f"{num_bytes:.1f} {unit}"


def num_bytes_in(text: str) -> float:
    """Return the bytes of a number with or without a unit: 5MB, 2.5 GB, 500kB.

    Raises:
        ValueError: it is not such a number.
    """
    match = re.fullmatch(r"([0-9]*\.?[0-9]+) ?([kmg]?)b?", text.strip().lower())
    if match is None:
        raise ValueError("not a number of bytes, such as 5000000, 500kB or 5MB")
    return float(match[1]) * 1000.0 ** " kmg".index(match[2] or " ")


def duration(seconds: float) -> str:
    """Return a time in seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
