"""What a long job reports while it runs, and who listens."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Advance(Protocol):
    """Called by a job as it goes: newly finished units, downloaded bytes, failed units of these."""

    def __call__(self, num_done: int, num_bytes: int = 0, num_failed: int = 0, /) -> object:
        """Take note of what is new."""
        ...


class Show(Protocol):
    """Shows the progress of one step of a job."""

    def __call__(self, name: str, totals: Mapping[str, int], /) -> AbstractContextManager[Advance]:
        """Show a step.

        Args:
            name: of the step.
            totals: how much there is to do by kind, in order; 0 if unknown.
        """
        ...


def unseen(name: str, totals: Mapping[str, int], /) -> AbstractContextManager[Advance]:
    """Show nothing; see `Show`."""
    return nullcontext(ignore)


def ignore(num_done: int, num_bytes: int = 0, num_failed: int = 0, /) -> None:
    """Report to nobody; see `Advance`."""
