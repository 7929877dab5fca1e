"""What people verified about whole images: which wanted classes are there, and which are not."""

from collections.abc import Mapping, Sequence

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from oiv5_d2.openimages.classes import Classes


def absences(mids: Sequence[str], classes: Classes) -> dict[str, tuple[str, ...]]:
    """Return, by MID, the wanted classes' names that are absent where that MID is absent.

    No vehicle means no car; but no van does not mean no car.
    """
    absent: dict[str, tuple[str, ...]] = {}
    for mid in mids:
        for above in (mid, *classes.ancestors(mid)):
            absent[above] = (*absent.get(above, ()), classes.name(mid))
    return absent


def verified_classes(
    labels: pd.DataFrame, owners: Mapping[str, str], absent: Mapping[str, tuple[str, ...]]
) -> pd.DataFrame:
    """Return each image's verified classes.

    Args:
        labels: ImageID, LabelName, Confidence: 1 verified present, 0 verified absent.
        owners: the wanted class's name by MID; a label present makes its class present.
        absent: from `absences`.

    Returns:
        PositiveClasses and NegativeClasses, names sorted and joined by '|', indexed by ImageID.
        Where labels contradict one another the class is present.
    """
    positive = labels[labels["Confidence"] == 1]
    positive = positive.assign(ClassName=positive["LabelName"].map(owners)).dropna()
    negative = labels[(labels["Confidence"] == 0) & labels["LabelName"].isin(list(absent))]
    negative = negative.assign(ClassName=negative["LabelName"].map(absent)).explode("ClassName")
    key = ["ImageID", "ClassName"]
    is_present = pd.MultiIndex.from_frame(negative[key]).isin(
        pd.MultiIndex.from_frame(positive[key])
    )
    joined = {
        "PositiveClasses": _join(positive[key]),
        "NegativeClasses": _join(negative.loc[~is_present, key]),
    }
    return pd.DataFrame(joined).fillna("")


def _join(rows: pd.DataFrame) -> pd.Series:
    names = rows.drop_duplicates().sort_values(["ImageID", "ClassName"])
    # Arrow joins a million lists in the time in which pandas joins a few thousand.
    table = pa.table({name: pa.array(names[name], pa.string()) for name in names.columns})
    lists = table.group_by("ImageID", use_threads=False).aggregate([("ClassName", "list")])
    joined: pd.Series = pc.binary_join(lists["ClassName_list"], "|").to_pandas()
    return joined.set_axis(lists["ImageID"].to_pandas())
