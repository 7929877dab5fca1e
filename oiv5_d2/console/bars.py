"""How far a long job is: a bar on a terminal, or a line now and then.

Both are drawn by the clock, not when something is done, so that a slow server is seen as well.
"""

import _thread
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from oiv5_d2.console.quantities import duration, size
from oiv5_d2.jobs import Advance, Trouble

SECONDS_BETWEEN_LINES = 10.0
_WINDOW = 30  # samples, one a second, over which speeds are measured
_BAR_WIDTH = 14
_BYTES = "bytes"

logger = logging.getLogger(__name__)


class Tally:
    """How much of a job is done, and how fast.

    Args:
        totals: number of units by kind, in the order in which they are done; 0 if unknown. A kind
            that begins with "bytes" is shown as sizes.
        trouble: what is retried; only retries from now on are shown.
        clock: returns seconds.
    """

    def __init__(
        self,
        totals: Mapping[str, int],
        trouble: Trouble,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kinds, self._trouble, self._clock = list(totals.items()), trouble, clock
        self._old_retries = trouble.num_retries
        self._begin = clock()
        self._num_done = self.num_bytes = self._num_failed = 0
        self._samples: deque[tuple[float, int, int]] = deque(maxlen=_WINDOW)
        self.advance(0)

    def advance(self, num_done: int, num_bytes: int = 0, num_failed: int = 0, /) -> None:
        """Count what is new: units, bytes received, units that failed."""
        self._num_done += num_done
        self.num_bytes += num_bytes
        self._num_failed += num_failed
        while len(self._kinds) > 1 and self._num_done >= self._kinds[0][1]:
            self._num_done -= self._kinds.pop(0)[1]
            self._samples.clear()  # masks have another speed than images
        now = self._clock()
        if not self._samples or now >= self._samples[-1][0] + 1:
            self._samples.append((now, self._num_done, self.num_bytes))

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return self._clock() - self._begin

    @property
    def share(self) -> float | None:
        """Of the present kind, in [0, 1]; None if its total is unknown."""
        total = self._kinds[0][1]
        return min(1.0, self._num_done / total) if total else None

    @property
    def trouble(self) -> str:
        """What was retried since the beginning, or ""."""
        return str(self._trouble) if self._trouble.num_retries > self._old_retries else ""

    def __str__(self) -> str:
        then = [f"then {total:,} {kind}" for kind, total in self._kinds[1:] if total]
        return ", ".join([self._done(), *self._came(), *self._left(), *then])

    def _done(self) -> str:
        kind, total = self._kinds[0]
        number = size if kind.startswith(_BYTES) else "{:,}".format
        of = f" of {number(total)}" if total else ""
        return f"{number(self._num_done)}{of} {kind.removeprefix(_BYTES).strip()}".rstrip()

    def _came(self) -> Iterator[str]:
        if self.num_bytes:
            yield f"{size(self.num_bytes)} at {size(self._speeds()[1])}/s"
        if self._num_failed:
            yield f"{self._num_failed:,} failed"

    def _left(self) -> Iterator[str]:
        kind, total = self._kinds[0]
        speed = self._speeds()[0]
        if kind.startswith(_BYTES) and speed:
            yield f"{size(speed)}/s"
        if speed and total > self._num_done:
            yield f"{duration((total - self._num_done) / speed)} left"
        elif total > self._num_done:
            yield f"{duration(self.seconds)} so far"

    def _speeds(self) -> tuple[float, float]:
        """Return units and bytes per second, over the last samples."""
        since, num_done, num_bytes = self._samples[0]
        seconds = max(1e-3, self._clock() - since)
        return (self._num_done - num_done) / seconds, (self.num_bytes - num_bytes) / seconds


@contextmanager
def shown(
    console: Console, trouble: Trouble, name: str, totals: Mapping[str, int], /
) -> Iterator[Advance]:
    """Show how far a job is, and at the end how long it took; see `Tally`."""
    tally = Tally(totals, trouble)
    show = _bar(console, name, tally) if console.is_terminal else _lines(name, tally)
    with show:
        yield tally.advance
    came = f", {size(tally.num_bytes)} received" if tally.num_bytes else ""
    logger.info("%s: done in %s%s", name, duration(tally.seconds), came)


@contextmanager
def _bar(console: Console, name: str, tally: Tally) -> Iterator[None]:
    def drawn() -> Group:
        line = Table.grid(padding=(0, 1))
        bar = ProgressBar(1.0, tally.share or 0.0, _BAR_WIDTH, pulse=tally.share is None)
        line.add_row(name, bar, Text(str(tally), no_wrap=True, overflow="ellipsis"))
        trouble = Text(tally.trouble, style="yellow", no_wrap=True, overflow="ellipsis")
        return Group(line, trouble) if tally.trouble else Group(line)

    with Live(get_renderable=drawn, console=console, transient=True):
        yield


@contextmanager
def _lines(name: str, tally: Tally) -> Iterator[None]:
    def report() -> None:
        trouble = f"; {tally.trouble}" if tally.trouble else ""
        logger.info("%s: %s%s", name, tally, trouble)

    with _every(SECONDS_BETWEEN_LINES, report):
        yield


@contextmanager
def _every(seconds: float, report: Callable[[], None]) -> Iterator[None]:
    """Call a function at intervals, in a thread of its own, until the block ends.

    Raises:
        BrokenPipeError: nobody reads what the function writes; the block is interrupted.
    """
    is_over, is_unread = threading.Event(), threading.Event()

    def run() -> None:
        try:
            while not is_over.wait(seconds):
                report()
        except BrokenPipeError:
            is_unread.set()
            _thread.interrupt_main()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    except KeyboardInterrupt:
        if is_unread.is_set():
            raise BrokenPipeError from None
        raise
    finally:
        is_over.set()
        thread.join()
