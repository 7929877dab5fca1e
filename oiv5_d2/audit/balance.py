"""How uneven the classes are, and what Detectron2's repeat-factor sampler would change.

The sampler shows an image more often if it has a class that few images have. With f(c) the share
of the images that have class c and t a threshold, r(c) = max(1, sqrt(t / f(c))), and an image is
shown as often as its rarest class asks. Detectron2 v0.6 has the square root; the plain quotient, an
option of later versions, is computed for comparison.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

THRESHOLDS = (0.01, 0.03, 0.1, 0.3, 1.0)
# A class with a tenth of another's objects is still learned; with fewer, people report zeros.
WORST_RATIO = 10.0
MOST_REPEATS = 10.0  # beyond, a rare class's few images are memorized


class Mix(NamedTuple):
    """How often a sampler shows each class."""

    threshold: float
    shares: tuple[float, ...]
    """Each class's share of the objects shown; 0 if there are none at all."""
    ratio: float
    """The objects of the most frequent class to those of the rarest that has any."""
    most_repeats: float
    """How often the most repeated image is shown, on average, per showing of the least repeated."""


def repeat_factors(
    present: NDArray[np.bool_], threshold: float, square_root: bool = True
) -> NDArray[np.float64]:
    """Return each image's repeat factor (N,), as Detectron2 computes it; see `mix`."""
    frequency = present.sum(axis=0) / max(len(present), 1)
    quotient = np.divide(threshold, frequency, out=np.ones_like(frequency), where=frequency > 0)
    of_class = np.maximum(1.0, np.sqrt(quotient) if square_root else quotient)
    factors: NDArray[np.float64] = np.where(present, of_class, 1.0).max(axis=1, initial=1.0)
    return factors


def mix(
    present: NDArray[np.bool_],
    num_objects: NDArray[np.int64],
    threshold: float,
    square_root: bool = True,
) -> Mix:
    """Return what the sampler shows.

    Args:
        present: (N, C), whether image n has class c.
        num_objects: (N, C), the training targets of class c in image n.
        threshold: t above; 0 is the plain sampler.
        square_root: as Detectron2 v0.6 has it.
    """
    factors = repeat_factors(present, threshold, square_root)
    shown = factors @ num_objects
    some = shown[num_objects.sum(axis=0) > 0]
    return Mix(
        threshold=threshold,
        shares=tuple((shown / max(shown.sum(), 1)).tolist()),
        ratio=float(some.max() / some.min()) if len(some) else 1.0,
        most_repeats=float(factors.max() / factors.min()) if len(factors) else 1.0,
    )


def recommend(mixes: Sequence[Mix]) -> Mix:
    """Choose among mixes of rising threshold, the first being the plain sampler's.

    The first that brings the ratio down to `WORST_RATIO`; where none does, the one with the lowest
    ratio. Mixes that repeat an image more than `MOST_REPEATS` times are not considered.
    """
    allowed = [mix for mix in mixes if mix.most_repeats <= MOST_REPEATS]
    enough = [mix for mix in allowed if mix.ratio <= WORST_RATIO]
    return enough[0] if enough else min(allowed, key=lambda mix: mix.ratio)


def report(present: NDArray[np.bool_], num_objects: NDArray[np.int64]) -> dict[str, Any]:
    """Return all thresholds' mixes and the recommended settings, JSON-ready."""
    plain = mix(present, num_objects, 0.0)
    mixes = [plain, *(mix(present, num_objects, t) for t in THRESHOLDS)]
    quotients = [mix(present, num_objects, t, square_root=False) for t in THRESHOLDS]
    best = recommend(mixes)
    sampler = "TrainingSampler" if best is plain else "RepeatFactorTrainingSampler"
    return {
        "ratio": round(plain.ratio, 3),
        "worst_ratio": WORST_RATIO,
        "mixes": [_rounded(each) for each in mixes],
        "mixes_without_square_root": [_rounded(each) for each in quotients],
        "recommended": {
            "DATALOADER.SAMPLER_TRAIN": sampler,
            "DATALOADER.REPEAT_THRESHOLD": best.threshold,
            "ratio": round(best.ratio, 3),
        },
    }


def _rounded(each: Mix) -> dict[str, Any]:
    shares = [round(share, 6) for share in each.shares]
    ratio, most_repeats = round(each.ratio, 3), round(each.most_repeats, 3)
    return each._replace(ratio=ratio, most_repeats=most_repeats)._asdict() | {"shares": shares}
