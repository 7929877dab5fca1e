"""How a server can err: what `servers` does wrong on request."""

import random
from collections.abc import Callable
from typing import NamedTuple


class Request(NamedTuple):
    """What a client asks."""

    method: str
    path: str
    """Unquoted, without its slash."""
    headers: dict[str, str]
    """By names in lower case."""
    num_before: int
    """How often the same path was asked for before, by whatever method."""


class Fault(NamedTuple):
    """How an answer differs from the right one."""

    status: int = 0
    """Instead of the file; 0 for the file."""
    headers: tuple[tuple[str, str], ...] = ()
    """In addition, or instead."""
    num_bytes: int | None = None
    """Of the body: then the connection ends; None for all of it."""
    is_held: bool = False
    """It does not end but stays open, and silent."""
    is_reset: bool = False
    """The connection ends with a reset rather than orderly."""
    extra_length: int = 0
    """Added to the announced length."""
    extra_body: int = 0
    """Bytes that follow the right ones."""
    is_chunked: bool = False
    """No length is announced: the body comes in chunks."""
    is_unframed: bool = False
    """No length is announced: the body ends with the connection."""
    ignores_range: bool = False
    part_status: int = 206
    """Of a part of the file."""
    shift: int = 0
    """By how many bytes the part that is sent lies behind the one that was asked for."""
    etag: str = ""
    pause_seconds: float = 0.0
    """Before each byte of the body."""
    garbage: bytes | None = None
    """Instead of an answer; then the connection ends."""


Faults = Callable[[Request, random.Random], Fault | None]

RESET = Fault(num_bytes=1000, is_reset=True)
CUT = Fault(num_bytes=1000)
NO_ANSWER = Fault(garbage=b"")
OVERLOADED = Fault(503)
BUSY = Fault(429, headers=(("Retry-After", "0"),))
NO_RANGES = Fault(ignores_range=True)
LONGER = Fault(extra_length=7)
SHORTER = Fault(extra_length=-7)
WRONG_PART = Fault(shift=1)
SLOW = Fault(pause_seconds=0.5)
PASSING = (
    RESET,
    CUT,
    NO_ANSWER,
    OVERLOADED,
    BUSY,
    Fault(500),
    NO_RANGES,
    LONGER,
    SHORTER,
    WRONG_PART,
)
"""Faults after which a right answer may follow."""


def always(fault: Fault) -> Faults:
    """Err with each request."""
    return lambda request, chance: fault


def first(num_times: int, fault: Fault) -> Faults:
    """Err with the first requests for each path."""
    return lambda request, chance: fault if request.num_before < num_times else None


def sometimes(share: float, faults: tuple[Fault, ...] = PASSING) -> Faults:
    """Err at random with a share of the requests, with any of some faults."""
    return lambda request, chance: chance.choice(faults) if chance.random() < share else None
