"""Which files a subset needs of the release."""

from collections.abc import Iterable

import pandas as pd

from oiv5_d2.acquisition.manifest import IMAGE, MASK
from oiv5_d2.selection.subset import Subset


def list_files(subsets: Iterable[Subset]) -> pd.DataFrame:
    """Return what subsets need, each file once, sorted: Kind, Split, Path, and Digit of its zip.

    Path is a file's own name: ``<ImageID>.jpg``, or the mask's in its zip. Masks that are not
    learnt are not needed.
    """
    frames = []
    for subset in subsets:
        images = subset.images[["ImageID", "Split"]].assign(Kind=IMAGE)
        masks = subset.instances.loc[subset.instances["Ignore"] == "", ["ImageID", "MaskPath"]]
        masks = masks.merge(images[["ImageID", "Split"]], on="ImageID").assign(Kind=MASK)
        images = images.assign(Path=images["ImageID"] + ".jpg")
        frames += [images, masks.rename(columns={"MaskPath": "Path"})]
    files = pd.concat(frames, ignore_index=True)
    files = files.assign(Digit=files["ImageID"].str[0])[["Kind", "Split", "Path", "Digit"]]
    return files.drop_duplicates().sort_values(["Kind", "Split", "Path"], ignore_index=True)
