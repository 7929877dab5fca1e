"""What is shown while a job runs."""

import io
import logging
import time

import pytest
from rich.console import Console
from rich.progress import Progress

from oiv5_d2.console import bars
from oiv5_d2.console.bars import describe, shown


@pytest.fixture
def job():
    """Return a job of 100 images, then 3,000 masks, whose clock stands still until it is set."""
    progress = Progress(get_time=lambda: job.now, disable=True)
    job = bars._Job.__new__(bars._Job)
    job.now = 0.0
    bars._Job.__init__(job, progress, {"images": 100, "masks": 3_000})
    return job


def test_each_kind_has_its_own_speed(job):
    job.now = 40
    job.advance(20, 2_000_000)
    assert describe(job.task) == "20 of 100 images, 2.0 MB at 50.0 kB/s, 3 min left"
    job.advance(80, 0, 1)
    job.now = 50
    job.advance(1_500, 500_000)
    assert describe(job.task) == "1,500 of 3,000 masks, 500.0 kB at 50.0 kB/s, 10 s left"
    assert job.num_bytes == 2_500_000


def test_an_advance_may_finish_a_kind_and_begin_the_next(job):
    job.advance(110)
    assert describe(job.task).startswith("10 of 3,000 masks")


def test_failures_are_counted(job):
    job.advance(1, 0, 1)
    assert ", 1 failed" in describe(job.task)


def test_bytes_are_shown_as_sizes_with_their_rate():
    now = 0.0
    progress = Progress(get_time=lambda: now, disable=True)
    job = bars._Job(progress, {"bytes of tables": 2_000_000})
    now = 5.0
    job.advance(500_000)
    assert describe(job.task) == "500.0 kB of 2.0 MB of tables, 100.0 kB/s, 15 s left"
    unknown = bars._Job(progress, {"bytes of tables": 0})
    unknown.advance(7_000)
    assert describe(unknown.task).startswith("7.0 kB of tables")


def test_what_was_done_before_does_not_count_in_the_speed():
    now = 0.0
    progress = Progress(get_time=lambda: now, disable=True)
    job = bars._Job(progress, {"steps": 100}, 80)
    assert describe(job.task).startswith("80 of 100 steps, 0.0 s so far")
    now = 20.0
    job.advance(10, 0, 0, "loss 0.5")
    assert describe(job.task) == "90 of 100 steps, 20 s left, loss 0.5"


def test_only_the_innermost_job_says_how_far_it_is(monkeypatch, caplog):
    monkeypatch.setattr(bars, "SECONDS_BETWEEN_LINES", 0.01)
    caplog.set_level(logging.INFO)
    console = Console(file=io.StringIO())
    with shown(console, "training", {"steps": 2}), shown(console, "evaluation", {"images": 3}):
        caplog.clear()
        deadline = time.monotonic() + 20
        while len(caplog.messages) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        said = {line.partition(":")[0] for line in caplog.messages}
    assert said == {"evaluation"}


def test_a_process_without_a_log_gets_the_screen_s(monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    show = bars.open_screen()
    (handler,) = logging.getLogger().handlers
    bars.open_screen()
    assert logging.getLogger().handlers == [handler]
    with show("fetch", {"images": 1}) as advance:
        advance(1)


def test_without_a_terminal_lines_come_by_the_clock(monkeypatch, caplog):
    monkeypatch.setattr(bars, "SECONDS_BETWEEN_LINES", 0.01)
    caplog.set_level(logging.INFO)
    with shown(Console(file=io.StringIO()), "fetch", {"images": 4}) as advance:
        advance(1, 1_000)
        deadline = time.monotonic() + 20
        while len(caplog.messages) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert all(
        line.startswith("fetch: 1 of 4 images, 1.0 kB at ") for line in caplog.messages[1:-1]
    )
    assert caplog.messages[-1].startswith("fetch: done in ") and "1.0 kB" in caplog.messages[-1]


def test_on_a_terminal_a_bar_is_drawn_and_goes(caplog):
    caplog.set_level(logging.INFO)
    file = io.StringIO()
    with shown(Console(file=file, force_terminal=True), "fetch", {"images": 4}) as advance:
        advance(4)
    assert "fetch" in file.getvalue() and len(caplog.messages) == 1
