"""What a long job reports while it runs, and who listens."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Advance(Protocol):
    """Called by a job as it goes."""

    def __call__(
        self, num_done: int, num_bytes: int = 0, num_failed: int = 0, note: str = "", /
    ) -> object:
        """Take note of what is new.

        Args:
            num_done: newly finished units.
            num_bytes: newly downloaded.
            num_failed: of the finished units.
            note: how the job is at present, such as a training's loss; replaces the one before.
        """
        ...


class Show(Protocol):
    """Shows the progress of one step of a job."""

    def __call__(
        self, name: str, totals: Mapping[str, int], num_before: int = 0, /
    ) -> AbstractContextManager[Advance]:
        """Show a step.

        Args:
            name: of the step.
            totals: how much there is to do by kind, in order; 0 if unknown.
            num_before: units of the first kind that were done earlier, by a run that is resumed.
        """
        ...


OpenScreen = Callable[[], Show]  # called once in the process that shows what happens


def unseen(
    name: str, totals: Mapping[str, int], num_before: int = 0, /
) -> AbstractContextManager[Advance]:
    """Show nothing; see `Show`."""
    return nullcontext(ignore)


def no_screen() -> Show:
    """Return what shows nothing; see `OpenScreen`."""
    return unseen


def ignore(num_done: int, num_bytes: int = 0, num_failed: int = 0, note: str = "", /) -> None:
    """Report to nobody; see `Advance`."""
