"""What is shown while a job runs."""

import io
import logging
import threading
import time

import pytest
from rich.console import Console

from oiv5_d2.console import bars as progress
from oiv5_d2.console.bars import Tally, shown
from oiv5_d2.jobs import Trouble


class Clock:
    """Stands still until it is set."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def often(monkeypatch, caplog):
    """Lines come in quick succession, and are kept."""
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.01)
    caplog.set_level(logging.INFO)
    return caplog


def wait_until(is_so):
    for _ in range(2000):
        if is_so():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")


def test_each_kind_has_its_own_speed(clock):
    tally = Tally({"images": 100, "masks": 3_000}, Trouble(), clock)
    clock.now = 20
    assert str(tally) == "0 of 100 images, 20 s so far, then 3,000 masks"
    clock.now = 40
    tally.advance(20, 2_000_000)
    said = "20 of 100 images, 2.0 MB at 50.0 kB/s, 3 min left, then 3,000 masks"
    assert str(tally) == said
    tally.advance(80, 0, 1)
    clock.now = 50
    tally.advance(1_500, 500_000)
    assert str(tally) == ("1,500 of 3,000 masks, 2.5 MB at 50.0 kB/s, 1 failed, 10 s left")


def test_what_was_there_already_does_not_count_for_the_speed_for_long(clock):
    tally = Tally({"images": 100_000}, Trouble(), clock)
    tally.advance(90_000)
    for _ in range(60):
        clock.now += 1
        tally.advance(10)
    assert str(tally) == "90,600 of 100,000 images, 16 min left"


def test_bytes_are_shown_as_sizes_with_their_rate(clock):
    tally = Tally({"bytes of tables": 2_000_000}, Trouble(), clock)
    clock.now = 5
    tally.advance(500_000)
    assert str(tally) == "500.0 kB of 2.0 MB of tables, 100.0 kB/s, 15 s left"
    assert tally.share == 0.25
    unknown = Tally({"bytes of tables": 0}, Trouble(), clock)
    unknown.advance(7_000)
    assert (str(unknown).partition(",")[0], unknown.share) == ("7.0 kB of tables", None)


def test_lines_come_while_nothing_is_done_and_name_what_is_retried(often):
    trouble = Trouble()
    trouble.note("of an earlier stage")
    console = Console(file=io.StringIO(), force_terminal=False)
    with shown(console, trouble, "fetch", {"images": 7}) as advance:
        wait_until(lambda: "fetch: 0 of 7 images" in often.text)
        assert "again" not in often.text
        trouble.note("the server says 429 Too Many Requests")
        wait_until(lambda: "2 tries again, the last: the server says 429" in often.text)
        advance(7, 3_000)
    assert often.messages[-1].startswith("fetch: done in ")
    assert often.messages[-1].endswith(", 3.0 kB received")


def test_a_terminal_names_what_is_retried(caplog):
    trouble, file = Trouble(), io.StringIO()
    console = Console(file=file, force_terminal=True, width=80)
    with shown(console, trouble, "fetch", {"images": 7}):
        trouble.note("the server says 429 Too Many Requests")
        wait_until(lambda: "1 try again, the last: the server says 429" in file.getvalue())
    assert "0 of 7 images" in file.getvalue()


@pytest.mark.parametrize("is_terminal", [False, True])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_goes_through_and_no_thread_is_left(often, is_terminal, error):
    before = threading.active_count()
    console = Console(file=io.StringIO(), force_terminal=is_terminal)
    with pytest.raises(error), shown(console, Trouble(), "fetch", {"images": 7}):
        raise error
    wait_until(lambda: threading.active_count() <= before)
    assert "done" not in often.text


def test_a_job_ends_when_nobody_reads_its_lines(monkeypatch):
    def tell(message, *args):
        raise BrokenPipeError

    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.01)
    monkeypatch.setattr(progress.logger, "info", tell)
    console = Console(file=io.StringIO(), force_terminal=False)
    with pytest.raises(BrokenPipeError), shown(console, Trouble(), "fetch", {"images": 7}):
        wait_until(lambda: False)
