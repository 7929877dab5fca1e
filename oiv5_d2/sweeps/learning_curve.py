"""What more data would bring: the metric over the share of the data, and a power law through it.

The error of a model falls with the number of its training examples n about as a * n**-b (Hestness
et al., 2017). The shares are nested: each is part of the larger ones.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from oiv5_d2.runs.metrics import is_loss

SHARE = "trainer.data_share"
AHEAD = (2.0, 4.0)  # how many times the data is looked forward to
PERFECT = 100.0  # of an AP


class Fit(NamedTuple):
    """The law ``error = factor * share**-exponent``.

    Attributes:
        factor: the error with all the data.
        exponent: how fast it falls; 0 for not at all.
        metric: 100 - error for an AP, the error for a loss.
    """

    factor: float
    exponent: float
    metric: str

    def value(self, share: float) -> float:
        """Return the metric that the law gives for a share of the data, above 1 for more."""
        error = self.factor * math.pow(share, -self.exponent)
        return error if is_loss(self.metric) else PERFECT - error

    def words(self) -> str:
        """Return the law and what it says about more data, in sentences."""
        if not self.exponent:
            more = "trainer.epochs gives each trial as many passes, in place of as many steps."
            return f"{self.metric} did not get better with more data; {more}"
        more = " and ".join(f"{self.value(one):.1f} with {one:g} times as much" for one in AHEAD)
        law = f"error = {self.factor:.3g} * share^-{self.exponent:.3g}"
        now = f"{self.metric} {self.value(1):.1f} with all the data"
        return f"{law} fits the trials: {now}, {more}. Another seed would give other points."


def fit(points: Iterable[tuple[float, float]], metric: str) -> Fit | None:
    """Return the law through points (share, metric), by least squares of the logarithms.

    The exponent is 0 if the error grows with the share. None with fewer than two shares, or where
    an error is not positive.
    """
    pairs = [(share, value if is_loss(metric) else PERFECT - value) for share, value in points]
    if len({share for share, _ in pairs}) < 2 or any(error <= 0 for _, error in pairs):
        return None
    across, up = np.log(np.array(pairs)).T
    slope, height = np.polyfit(across, up, 1)
    if slope >= 0:
        return Fit(math.exp(up.mean()), 0.0, metric)
    return Fit(math.exp(height), -float(slope), metric)


def samples(fitted: Fit, low: float, number: int = 40) -> Sequence[tuple[float, float]]:
    """Return points of the law from the smallest share to as far as it looks ahead."""
    shares = np.geomspace(low, AHEAD[-1], number)
    return [(float(share), fitted.value(float(share))) for share in shares]
