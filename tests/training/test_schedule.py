from dataclasses import replace

import pytest
from raising import refused

from oiv5_d2.problems import Kind
from oiv5_d2.training.schedule import (
    Schedule,
    check_length,
    count_steps,
    describe,
    fit_steps,
    follow_batch,
    stretch,
)

# The zoo's 1x.
ONCE = Schedule(
    batch=16,
    rate=0.02,
    max_iter=90000,
    drops=(60000, 80000),
    warmup=1000,
    checkpoint_period=5000,
    eval_period=0,
)


def test_half_the_batch_has_half_the_rate_and_twice_the_steps():
    found = follow_batch(replace(ONCE, batch=8), 16)
    expected = Schedule(8, 0.01, 180000, (120000, 160000), 2000, 10000, 0)
    assert found == expected


def test_rate_times_steps_and_images_seen_stay_for_any_batch():
    for batch in (1, 6, 40):
        found = follow_batch(replace(ONCE, batch=batch), 16)
        assert found.rate * found.max_iter == pytest.approx(ONCE.rate * ONCE.max_iter, rel=1e-4)
        assert found.batch * found.max_iter == pytest.approx(16 * 90000, rel=1e-4)


def test_the_reference_itself_changes_nothing():
    assert follow_batch(ONCE, 16) == ONCE
    assert describe(ONCE, follow_batch(ONCE, 16)) == ""


def test_a_stretched_schedule_has_its_shape_and_never_a_step_zero():
    assert stretch(ONCE, 270000) == replace(
        ONCE, max_iter=270000, drops=(180000, 240000), warmup=3000
    )
    assert stretch(ONCE, 3) == replace(ONCE, max_iter=3, drops=(2, 3), warmup=1)
    assert stretch(replace(ONCE, warmup=0), 3).warmup == 0


def test_what_changed_is_named_by_key():
    said = describe(ONCE, stretch(ONCE, 9))
    assert "SOLVER.MAX_ITER 90000 -> 9" in said and "SOLVER.STEPS (60000,80000) -> (6,8)" in said
    assert "BASE_LR" not in said


@pytest.mark.parametrize(
    ("epochs", "num_images", "batch", "steps"),
    [(1, 300, 6, 50), (1, 301, 6, 51), (0.5, 300, 6, 25), (12, 4, 16, 3), (0.01, 4, 16, 1)],
)
def test_an_epoch_shows_every_image(epochs, num_images, batch, steps):
    assert count_steps(epochs, num_images, batch) == steps


def test_a_time_budget_is_never_exceeded():
    assert fit_steps(2, 0.7) == 10285
    assert fit_steps(0.001, 100) == 1


@pytest.mark.parametrize(
    ("lengths", "key"),
    [
        ((-1, 0, 0, 0), "trainer.epochs"),
        ((0, -2, 0, 0), "trainer.hours"),
        ((0, 0, -16, 0), "trainer.reference_batch"),
        ((0, 0, 0, -1), "trainer.evaluate_every"),
        ((1, 1, 0, 0), "trainer.hours=0 trainer.epochs=0"),
    ],
)
def test_lengths_without_meaning_are_refused(lengths, key):
    with refused(Kind.SETTING, key=key):
        check_length(*lengths)
    check_length(0, 0, 0, 0)
