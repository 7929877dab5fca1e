"""What a run reports while it trains and evaluates."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from oiv5_d2 import jobs
from oiv5_d2.training.hooks.progress import ReportSteps

JOBS = []


@contextmanager
def note(name, totals, num_before=0, /):
    """Keep what is shown; see `jobs.Show`."""
    news = []
    JOBS.append((name, dict(totals), num_before, news))
    yield lambda *new: news.append(new)


def open_notes():
    return note


@pytest.fixture
def shown():
    JOBS.clear()
    return JOBS


def test_steps_and_evaluated_images_are_reported_one_by_one(start, shown):
    start("d2.SOLVER.MAX_ITER=3", open_screen=open_notes)
    (training, totals, before, steps), (evaluation, images, _, seen) = shown
    assert (training, totals, before) == ("Training", {"steps": 3}, 0)
    assert [step[0] for step in steps] == [1, 1, 1]
    for quantity in ("loss", "images/s", "rate", "memory"):
        assert all(quantity in step[3] for step in steps)
    assert "blocks_validation" in evaluation and images == {"images": 4}
    assert sum(news[0] for news in seen) == 4


def test_a_resumed_run_is_shown_from_where_it_was(start, shown):
    start("d2.SOLVER.MAX_ITER=2", "d2.DATASETS.TEST=[]")
    start("d2.SOLVER.MAX_ITER=3", "d2.DATASETS.TEST=[]", resume=True, open_screen=open_notes)
    ((_, totals, before, steps),) = shown
    assert (totals, before, len(steps)) == ({"steps": 3}, 2, 1)


def test_what_shows_a_run_sees_the_error_that_ends_it():
    seen = []

    @contextmanager
    def show(*_):
        try:
            yield jobs.ignore
        except ZeroDivisionError as error:
            seen.append(error)
            raise

    hook = ReportSteps(show, 2)
    hook.trainer = SimpleNamespace(start_iter=0, max_iter=1)
    hook.before_train()
    with pytest.raises(ZeroDivisionError):
        try:
            _ = 1 / 0
        finally:
            hook.after_train()
    assert len(seen) == 1


def test_nothing_is_shown_where_nobody_watches():
    with jobs.no_screen()("Training", {"steps": 3}, 1) as advance:
        assert advance(1, 0, 0, "loss 0.5") is None


def test_the_log_of_a_run_has_the_details_that_the_screen_leaves_out(start, tmp_path):
    start("d2.SOLVER.MAX_ITER=2", "d2.DATASETS.TEST=[]")
    text = (tmp_path / "run" / "log.txt").read_text()
    for detail in ("torchvision", "GeneralizedRCNN(", "total_loss"):
        assert detail in text
