"""One request on its way to an answer, over as many tries as it takes."""

import random
from typing import NamedTuple

from oiv5_d2.acquisition.stores.store import DamagedError, Get, Head, NoRangesError
from oiv5_d2.acquisition.stores.transfer import Transfer

_MIB = 1 << 20
_MAX_IGNORED = 3  # ranges that were ignored: a server that can not will not
_MAX_DAMAGED = 4  # more often hardly anything is damaged on its way: it is so in the store
_SMALLEST_LIMIT = 64 << 10  # the pages that tell of errors fit, so that their connection lives on


class Refusal(NamedTuple):
    """Why a reply will not do."""

    error: OSError
    may_pass: bool = False
    """Whether another try may end better."""
    wish: float | None = None
    """The seconds after which the server wants to be asked again."""
    redirect: str = ""
    """Where to ask at once instead."""
    num_file_bytes: int | None = None
    """Where the wanted part lies behind the file's end: where that is."""


class Task:
    """One request on its way to an answer.

    Args:
        get: what is wanted.
        url: where it is; "" where `error` says why it is not asked for.
        kind: "read", "head" or "stream".
    """

    __slots__ = ("data", "error", "etag", "get", "head", "is_plain", "kind", "num_damaged",
                 "num_file_bytes", "num_hops", "num_ignored", "num_replies", "num_tries", "place",
                 "target", "url")  # fmt: skip

    def __init__(self, get: Get, url: str, kind: str = "read") -> None:
        self.get, self.kind = get, kind
        self.url = self.target = url
        self.is_plain = kind == "read" and not (get.start or get.stop is not None or get.etag)
        """Whether it is for a whole file, as most are."""
        self.data, self.etag = b"", ""
        self.head: Head | None = None
        self.error: OSError | None = None
        self.num_tries = self.num_hops = self.num_ignored = self.num_damaged = 0
        self.num_replies = 0
        """How often the server had answered anything at all when this was first asked."""
        self.place = get.start
        """The next byte that a stream wants."""
        self.num_file_bytes: int | None = None

    @property
    def num_wanted(self) -> int | None:
        """How many bytes are wanted; None where it is all to the end."""
        return None if self.get.stop is None else self.get.stop - self.get.start

    def max_bytes(self, transfer: Transfer) -> int:
        """Return how long a body may be; 0 for any length."""
        if self.kind != "read":
            return 0
        if self.num_wanted is None:
            return transfer.max_file_bytes
        if self.get.start:
            return max(self.num_wanted, _SMALLEST_LIMIT)
        # From the beginning on: a server that ignores ranges and sends little more will do.
        return max(2 * self.num_wanted, self.num_wanted + _MIB)

    def max_seconds(self, transfer: Transfer) -> float:
        """Return how long one try may take; 0 for any time."""
        if self.kind == "stream":
            return 0.0
        return transfer.request_seconds * max(1.0, (self.num_wanted or 0) / _MIB)

    def refuse(
        self, refusal: Refusal, transfer: Transfer, chance: random.Random, has_ranges: bool | None
    ) -> float | None:
        """Note that a try failed.

        Args:
            refusal: why.
            transfer: says how often to try, and is told of what is tried again.
            chance: draws the pause.
            has_ranges: the server gave parts of files before: if it ignores a range now, that may
                pass. False if it was found to give none: once more is enough. None if neither is
                known.

        Returns:
            The seconds to wait before the next try; None where there is to be none, and `error`
            says why.
        """
        if refusal.redirect:
            self.target = refusal.redirect
            self.num_hops += 1
            return 0.0
        self.num_tries += 1
        self.num_ignored += isinstance(refusal.error, NoRangesError) and not has_ranges
        self.num_damaged += isinstance(refusal.error, DamagedError)
        self.target, self.num_hops = self.url, 0
        is_last = (
            self.num_tries >= transfer.tries
            or self.num_ignored >= (1 if has_ranges is False else _MAX_IGNORED)
            or self.num_damaged >= _MAX_DAMAGED
        )
        if not refusal.may_pass or is_last:
            self.error = refusal.error
            if self.num_tries > 1 and refusal.may_pass:
                self.error = type(refusal.error)(f"{refusal.error}, {self.num_tries} tries")
            return None
        transfer.trouble.note(str(refusal.error))
        return transfer.pause(self.num_tries, refusal.wish, chance)
