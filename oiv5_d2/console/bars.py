"""How far a long job is: a bar on a terminal, a line now and then in a file."""

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from oiv5_d2.console.screen import console, duration, set_up_logging, size
from oiv5_d2.jobs import Advance, Show

SECONDS_BETWEEN_LINES = 10.0  # at first; a job of hours gets a line a minute
MOST_SECONDS = 60.0
_BYTES = "bytes"  # a kind that begins so is shown in MB

logger = logging.getLogger(__name__)

_open: list["_Job"] = []  # an evaluation within a training: lines are of the innermost


def open_screen() -> Show:
    """Return what shows jobs on the screen, and log there too; see `jobs.OpenScreen`."""
    if not logging.getLogger().handlers:
        set_up_logging()
    return partial(shown, console)


@contextmanager
def shown(
    console: Console, name: str, totals: Mapping[str, int], num_before: int = 0, /
) -> Iterator[Advance]:
    """Show the progress of a job, and at its end how long it took; see `jobs.Show`."""
    columns = (TextColumn(name), BarColumn(bar_width=14), _Words(table_column=_NARROW))
    bars = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    job = _Job(bars, totals, num_before)
    done = threading.Event()
    lines = threading.Thread(target=_log_lines, args=(name, job, done), daemon=True)
    begin = time.monotonic()
    with bars:
        if bars.disable:
            lines.start()
        _open.append(job)
        try:
            yield job.advance
        finally:
            _open.remove(job)
            done.set()
    fetched = f", {size(job.num_bytes)} fetched" if job.num_bytes else ""
    logger.info("%s: done in %s%s", name, duration(time.monotonic() - begin), fetched)


class _Job:
    """Fills one task after the other: a task for each kind of unit."""

    def __init__(self, bars: Progress, totals: Mapping[str, int], num_before: int = 0) -> None:
        self._bars = bars
        self._left = list(totals.items())
        self.num_bytes = 0
        self.task = self._next(num_before)

    def _next(self, num_before: int = 0) -> Task:
        kind, total = self._left.pop(0)
        fields: dict[str, Any] = {"num_bytes": 0, "num_failed": 0, "note": ""}
        self._bars.add_task(
            kind, total=total or None, completed=num_before, num_before=num_before, **fields
        )
        return self._bars.tasks[-1]

    def advance(
        self, num_done: int, num_bytes: int = 0, num_failed: int = 0, note: str = "", /
    ) -> None:
        """Count what is new; see `jobs.Advance`."""
        self.num_bytes += num_bytes
        task = self.task
        excess = task.completed + num_done - (task.total or 0)
        is_full = self._left and excess >= 0
        self._bars.update(
            task.id,
            advance=num_done - (excess if is_full else 0),
            num_bytes=task.fields["num_bytes"] + num_bytes,
            num_failed=task.fields["num_failed"] + num_failed,
            note=note or task.fields["note"],
        )
        if is_full:  # masks come at another speed than images
            self._bars.remove_task(task.id)
            self.task = self._next()
            self.advance(int(excess))


_NARROW = Column(no_wrap=True, overflow="ellipsis")  # one line, however narrow the terminal


class _Words(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(describe(task))


def describe(task: Task) -> str:
    """Return the state of a task in words: 20 of 100 images, 2.0 MB at 50.0 kB/s, 3 min left."""
    is_bytes = task.description.startswith(_BYTES)
    number = size if is_bytes else "{:,.0f}".format
    amount = number(task.completed) + (f" of {number(task.total)}" if task.total else "")
    said = [f"{amount} {task.description.removeprefix(_BYTES).strip()}".rstrip()]
    elapsed = max(1e-3, task.elapsed or 0)
    if num_bytes := task.completed if is_bytes else task.fields["num_bytes"]:
        said.append(f"{'' if is_bytes else f'{size(num_bytes)} at '}{size(num_bytes / elapsed)}/s")
    if task.fields["num_failed"]:
        said.append(f"{task.fields['num_failed']:,} failed")
    num_new = task.completed - task.fields["num_before"]
    if task.total and num_new and task.completed < task.total:
        left = (task.total - task.completed) * elapsed / num_new
        said.append(f"{duration(left)} left")
    elif task.total != task.completed:
        said.append(f"{duration(elapsed)} so far")
    return ", ".join(filter(None, [*said, task.fields["note"]]))


def _log_lines(name: str, job: _Job, done: threading.Event) -> None:
    begin = time.monotonic()
    wait = SECONDS_BETWEEN_LINES
    with suppress(BrokenPipeError):  # the main thread notices it with its next line
        while not done.wait(wait):
            if _open[-1:] == [job]:  # it may have ended meanwhile
                logger.info("%s: %s", name, describe(job.task))
            elapsed = time.monotonic() - begin
            wait = max(SECONDS_BETWEEN_LINES, min(MOST_SECONDS, elapsed / 10))
