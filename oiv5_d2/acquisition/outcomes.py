"""What became of each wanted file."""

import re
from datetime import UTC, datetime
from typing import NamedTuple

from blake3 import blake3

PRESENT, MISSING, CORRUPT, FAILED = "present", "missing", "corrupt", "failed"
_NUMBER = re.compile(r"(?<!says )(?<![\w.:])\d+(?:x\d+)?(?![\w.:])")  # no status, no address
_MASK_ZIP = re.compile(r"(?<=masks-)[0-9a-f](?=\.zip)")


class Outcome(NamedTuple):
    """What became of one wanted file, and why."""

    path: str
    state: str
    """"present"; "missing": the source does not have it; "corrupt": what came is damaged;
    "failed": it could not be had now, and a retry may help."""
    reason: str = ""
    num_bytes: int = 0
    checksum: str = ""
    """See `checksum`; "" where it is not there."""
    source: str = ""
    """Where it came from, or was to come from."""
    fetched: str = ""
    """When it was written, see `moment`; "" where it is not there."""


class Known(NamedTuple):
    """A file that an earlier run fetched and checked."""

    num_bytes: int
    checksum: str
    source: str
    fetched: str


def moment(seconds: float) -> str:
    """Return a time since the epoch in UTC, to the second, as ISO 8601 has it."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat()


def checksum(content: bytes) -> str:
    """Return the BLAKE3 of a file's bytes as 64 hex digits, as the command ``b3sum`` has it.

    Not SHA-256, by which the few files of a record are told: over hundreds of thousands of files
    that would cost more than writing them.
    """
    return blake3(content).hexdigest()


def kind_of_reason(reason: str) -> str:
    """Return a reason without what differs from file to file, so that like ones can be counted."""
    return _NUMBER.sub("N", _MASK_ZIP.sub("*", reason))
