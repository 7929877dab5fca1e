"""What a long job reports as it goes, and who listens."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Advance(Protocol):
    """What a stage calls as it goes: newly finished units, bytes that came, failed ones of them."""

    def __call__(self, num_done: int, num_bytes: int = 0, num_failed: int = 0, /) -> object:
        """Take note."""
        ...


class Show(Protocol):
    """What shows how far something is that is done step by step."""

    def __call__(self, name: str, totals: Mapping[str, int], /) -> AbstractContextManager[Advance]:
        """Show one step. `totals` are as a `Stage` counts them."""
        ...


def unseen(name: str, totals: Mapping[str, int], /) -> AbstractContextManager[Advance]:
    """Show nothing; see `Show`."""
    return nullcontext(lambda num_done, num_bytes=0, num_failed=0, /: None)


class Trouble:
    """Failures that may pass, of all stores that share it."""

    def __init__(self) -> None:
        self.num_retries = 0
        """How many tries were followed by another one."""
        self.reason = ""
        """Why the newest of them failed."""

    def note(self, reason: str) -> None:
        """Note a failed try that another one follows."""
        self.num_retries += 1
        self.reason = reason

    def __str__(self) -> str:
        if not self.num_retries:
            return ""
        times = "try" if self.num_retries == 1 else "tries"
        return f"{self.num_retries:,} {times} again, the last: {self.reason}"
