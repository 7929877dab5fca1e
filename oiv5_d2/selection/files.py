"""Which files a subset needs of the release."""

from collections.abc import Iterable

import pandas as pd

from oiv5_d2.acquisition.manifest import IMAGE, MASK
from oiv5_d2.selection.subset import Subset


def list_files(subsets: Iterable[Subset]) -> pd.DataFrame:
    """Return what subsets need, each file once, sorted: Kind, Split, Name and Key.

    Name is the file's own: ``<ImageID>.jpg``, or the mask's in its zip. Key is the image's in its
    bucket, or the one of the mask's zip. Masks that are not training targets are not needed.
    """
    frames = []
    for subset in subsets:
        images = subset.images[["ImageID", "Split"]].assign(Kind=IMAGE)
        masks = subset.instances.loc[subset.instances["Ignore"] == "", ["ImageID", "MaskPath"]]
        masks = masks.merge(images[["ImageID", "Split"]], on="ImageID").assign(Kind=MASK)
        image_ids = zip(images["Split"], images["ImageID"], strict=True)
        images["Key"] = [subset.release.image_key(*image) for image in image_ids]
        images["Name"] = images["Key"].str.rpartition("/")[2]
        zips = list(zip(masks["Split"], masks["ImageID"].str[0], strict=True))
        zip_keys = {each: subset.release.mask_zip(*each).path for each in set(zips)}
        masks["Key"] = [zip_keys[each] for each in zips]
        frames += [images, masks.rename(columns={"MaskPath": "Name"})]
    files = pd.concat(frames)[["Kind", "Split", "Name", "Key"]].drop_duplicates()
    return files.sort_values(["Kind", "Split", "Name"], ignore_index=True)
