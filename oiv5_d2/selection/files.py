"""Which files a subset needs of the release."""

from collections.abc import Iterable

import pandas as pd

from oiv5_d2.acquisition.manifest import IMAGE, MASK
from oiv5_d2.openimages import release
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
        images = images.assign(Name=images["ImageID"] + ".jpg")
        frames += [images, masks.rename(columns={"MaskPath": "Name"})]
    files = pd.concat(frames, ignore_index=True)
    ids = zip(files["Kind"], files["Split"], files["ImageID"], strict=True)
    files["Key"] = [
        release.image_key(split, open_images_id)
        if kind == IMAGE
        else release.mask_zip(split, open_images_id[0]).path
        for kind, split, open_images_id in ids
    ]
    files = files[["Kind", "Split", "Name", "Key"]].drop_duplicates()
    return files.sort_values(["Kind", "Split", "Name"], ignore_index=True)
