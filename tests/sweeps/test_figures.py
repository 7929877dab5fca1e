import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution

from oiv5_d2.sweeps.figures import Scale, curves, parallel
from oiv5_d2.sweeps.leaderboard import Row


def row(number, value, params, curve):
    state = "failed" if value is None else "finished"
    return Row(number, params, state, value, 4, 1.0, "", curve, "")


ROWS = [
    row(1, 30.0, {"a": 0.01, "b": "x"}, {1: 20.0, 3: 30.0}),
    row(0, 10.0, {"a": 0.1, "b": "y"}, {1: 10.0}),
    row(2, None, {"a": 1.0, "b": "y"}, {}),
]


def test_a_logarithmic_scale_has_decades_at_even_heights():
    scale = Scale(0.01, 1.0, is_log=True)
    assert [scale.at(value) for value in (0.01, 0.1, 1.0)] == pytest.approx([0, 0.5, 1])


@pytest.mark.parametrize(
    ("scale", "labels"),
    [
        (Scale(0.005, 0.2, is_log=True), ["0.005", "0.01", "0.02", "0.05", "0.1", "0.2"]),
        (Scale(1e-5, 1e-2, is_log=True), ["1e-05", "0.0001", "0.001", "0.01"]),
        (Scale(0.3, 0.4, is_log=True), ["0.3", "0.32", "0.34", "0.36", "0.38", "0.4"]),
        (Scale(0, 5000), ["0", "1,000", "2,000", "3,000", "4,000", "5,000"]),
        (Scale(2.48, 32.1), ["10", "20", "30"]),
        (Scale(-0.5, 0.5), ["-0.4", "-0.2", "0", "0.2", "0.4"]),
        (Scale(7.0, 7.0), ["7"]),
    ],
)
def test_an_axis_has_round_numbers_where_they_belong(scale, labels):
    ticks = scale.ticks()
    assert [text for _, text in ticks] == labels
    heights = [scale.at(float(text.replace(",", ""))) for text in labels]
    assert [height for height, _ in ticks] == pytest.approx(heights)


def test_each_trial_with_a_result_crosses_the_axes_at_its_settings():
    space = {"a": FloatDistribution(0.01, 1.0, log=True), "b": CategoricalDistribution(["x", "y"])}
    axes, lines = parallel(ROWS, ["a", "b"], space, "segm/AP")
    assert [axis.name for axis in axes] == ["a", "b", "segm/AP"]
    worst, best = lines
    assert [one.number for one in lines] == [0, 1]
    assert [y for _, y in best.points] == pytest.approx([0, 0, 1])
    assert [y for _, y in worst.points] == pytest.approx([0.5, 1, 0])
    assert (worst.goodness, best.goodness) == (0, 1)


def test_curves_of_all_trials_have_the_same_axes():
    across, up, lines = curves(ROWS)
    assert (across.high, up.low, up.high) == (4, 10.0, 30.0)
    assert lines[-1].points == [(0.5, 0.5), (1.0, 1.0)]
