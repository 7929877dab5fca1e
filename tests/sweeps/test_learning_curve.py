import pytest

from oiv5_d2.sweeps.learning_curve import fit, samples


def test_a_power_law_is_found_again_and_looked_ahead():
    points = [(share, 100 - 50 * share**-0.3) for share in (0.1, 0.3, 1.0)]
    law = fit(points, "segm/AP")
    assert law.factor == pytest.approx(50) and law.exponent == pytest.approx(0.3)
    assert law.value(4.0) == pytest.approx(100 - 50 * 4**-0.3)
    assert samples(law, 0.1)[0] == pytest.approx(points[0])


def test_of_a_loss_the_value_itself_is_the_error():
    law = fit([(share, 2 * share**-0.5) for share in (0.25, 1.0)], "validation/total_loss")
    assert law.value(1.0) == pytest.approx(2) and law.value(4.0) == pytest.approx(1)


def test_one_share_has_no_law():
    assert fit([(1.0, 30.0), (1.0, 31.0)], "segm/AP") is None
    assert fit([], "segm/AP") is None


def test_an_error_that_grows_with_the_share_is_a_constant():
    law = fit([(0.1, 75.0), (1.0, 0.0)], "segm/AP")
    assert (law.value(0.1), law.value(4.0)) == pytest.approx((50, 50))
