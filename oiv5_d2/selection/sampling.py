"""Seeded choices among images that depend on nothing but the images' ids.

Every image has a place in an order that follows from its id and the seed alone, so a choice does
not depend on the order of the release's rows.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from oiv5_d2.openimages.ids import to_numbers


def seeded_keys(ids: pd.Series, seed: int) -> npt.NDArray[np.uint64]:
    """Return a (N,) sort key for N ids of 16 hex digits; no two ids of one seed share a key."""
    return _mix(to_numbers(ids) ^ _mix(np.array([seed % 2**64], dtype=np.uint64)))


def _mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Scatter 64-bit numbers, one to one (the finishing steps of the SplitMix64 generator)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def cut(ids: pd.Series, shares: Mapping[str, float], seed: int) -> dict[str, pd.Series]:
    """Cut images at random into disjoint parts.

    Args:
        ids: distinct ids of 16 hex digits, in any order.
        shares: each part's share of the images, in all at most 1; the rest is in no part.
        seed: another seed, another cut.

    Returns:
        each part's ids, sorted. Sizes are the shares of N, rounded so that the sum is right.
    """
    order = np.argsort(seeded_keys(ids, seed))
    ends = np.rint(np.cumsum(list(shares.values())) * len(ids)).astype(int)
    starts = [0, *ends[:-1]]
    return {
        part: ids.iloc[order[start:end]].sort_values(ignore_index=True)
        for part, start, end in zip(shares, starts, ends, strict=True)
    }


def limit(counts: pd.DataFrame, num_wanted: int, seed: int) -> pd.Series:
    """Choose images until each class has what is wanted of it.

    The rarest class chooses first; what its images show of other classes counts for those. A
    class takes no image it does not need, and gets as much as it could alone. A frequent class may
    end above the limit, because an image chosen for its traffic light shows people as well.

    Args:
        counts: ImageID, ClassName, Count: one row an image and class, how much that image adds.
        num_wanted: the sum of Count after which a class chooses no further image.
        seed: another seed, other images.

    Returns:
        the chosen ids, sorted.
    """
    keyed = counts.assign(Key=seeded_keys(counts["ImageID"], seed)).sort_values("Key")
    totals = keyed.groupby("ClassName")["Count"].sum().reset_index()
    chosen = np.zeros(0, dtype=np.uint64)
    for class_name in totals.sort_values(["Count", "ClassName"])["ClassName"]:
        rows = keyed[keyed["ClassName"] == class_name]
        is_chosen = np.isin(rows["Key"], chosen)
        num_chosen, waiting = rows.loc[is_chosen, "Count"].sum(), rows[~is_chosen]
        num_before = num_chosen + waiting["Count"].cumsum() - waiting["Count"]
        chosen = np.append(chosen, waiting.loc[num_before < num_wanted, "Key"].to_numpy())
    ids = keyed.loc[np.isin(keyed["Key"], chosen), "ImageID"]
    return ids.drop_duplicates().sort_values(ignore_index=True)
