"""Which images, masks and boxes are used: a record, saved beside how it was made."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from oiv5_d2.acquisition.manifest import IMAGE, MASK
from oiv5_d2.files import whole_file
from oiv5_d2.openimages import release
from oiv5_d2.openimages.release import RELEASES, V5, Release
from oiv5_d2.problems import Kind, Problem, Remedy

_TEXT, _FLOAT, _FLAG = pa.string(), pa.float64(), pa.int8()
CREDITS = ("License", "Author", "AuthorProfileURL", "OriginalLandingURL", "Title")
_IMAGE_TEXTS = ("ImageID", "Split", "PositiveClasses", "NegativeClasses", *CREDITS)
_INSTANCE_TEXTS = ("ImageID", "LabelName", "ClassName", "MaskPath", "BoxID")
_INSTANCE_FLOATS = ("XMin", "XMax", "YMin", "YMax", "PredictedIoU")
IMAGE_SCHEMA = pa.schema({**dict.fromkeys(_IMAGE_TEXTS, _TEXT), "Rotation": _FLOAT})
INSTANCE_SCHEMA = pa.schema(
    dict.fromkeys(_INSTANCE_TEXTS, _TEXT)
    | dict.fromkeys(_INSTANCE_FLOATS, _FLOAT)
    | dict.fromkeys(release.ATTRIBUTES, _FLAG)
    | {"Ignore": _TEXT}
)


@dataclass(frozen=True, eq=False)
class Subset:
    """Which images of one part, and which objects on them, the project uses.

    A real object is never dropped from an image that is used: what is not a training
    target stays as an ignored row, so that it is never taught as background.
    """

    part: str
    """The name of this part: an official split's, or that of a part cut from one."""
    classes: tuple[str, ...]
    """The wanted classes' display names; a class's category id is its index + 1."""
    images: pd.DataFrame
    """One row an image, sorted by ImageID.

    Split is the official split, under whose prefix the JPG lies. PositiveClasses and
    NegativeClasses are wanted classes that people verified as present or absent, sorted and joined
    by '|'. License, Author, AuthorProfileURL, OriginalLandingURL and Title are as released;
    Rotation is in degrees, NaN where the release has none.
    """
    instances: pd.DataFrame
    """One row an object, sorted by (ImageID, class index, XMin, YMin, XMax, YMax, BoxID).

    LabelName is the MID as released, ClassName the wanted class it belongs to. MaskPath and BoxID
    are "" where there is no mask. XMin, XMax, YMin, YMax are fractions of the image's width and
    height. PredictedIoU is NaN where there is none. The five Is* attributes are 1, 0, or -1 where
    not known. Ignore is "" for a training target, otherwise the reason why it is not one.
    """
    recipe: dict[str, Any]
    """How it was made: inputs with their SHA-256, settings, counts, the roll-up. JSON-ready."""
    release: Release = V5
    """What it was selected from."""


def saved_files(subset_dir: Path, part: str) -> tuple[Path, Path, Path]:
    """Return the paths of a saved subset: its images, its instances, and its recipe, the last."""
    images, instances, recipe = (
        subset_dir / f"{part}{ending}"
        for ending in (".images.parquet", ".instances.parquet", ".json")
    )
    return images, instances, recipe


def save(subset: Subset, subset_dir: Path) -> None:
    """Write the `saved_files` of a subset. The same subset gives the same bytes."""
    images_path, instances_path, recipe_path = saved_files(subset_dir, subset.part)
    _write_table(subset.images, IMAGE_SCHEMA, images_path)
    _write_table(subset.instances, INSTANCE_SCHEMA, instances_path)
    recipe = {"part": subset.part, "classes": list(subset.classes)}
    recipe |= {"release": subset.release.name, **subset.recipe}
    text = json.dumps(recipe, indent=2, ensure_ascii=False)
    with whole_file(recipe_path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def load(subset_dir: Path, part: str) -> Subset:
    """Read what `save` wrote.

    Raises:
        Problem: ABSENT, this part was not made; DAMAGED, one of its files is.
    """
    images_path, instances_path, recipe_path = saved_files(subset_dir, part)
    if not recipe_path.exists():
        raise Problem(Kind.ABSENT, recipe_path, f"subset '{part}'", remedy=Remedy.PREPARE)
    try:
        recipe = json.loads(recipe_path.read_text(encoding="utf-8"))
        return Subset(
            part=recipe.pop("part"),
            classes=tuple(recipe.pop("classes")),
            images=_read_table(images_path, IMAGE_SCHEMA),
            instances=_read_table(instances_path, INSTANCE_SCHEMA),
            release=RELEASES[recipe.pop("release")],
            recipe=recipe,
        )
    except (KeyError, ValueError, FileNotFoundError) as error:
        detail = str(error).splitlines()[0]
        raise Problem(Kind.DAMAGED, recipe_path, detail, remedy=Remedy.PREPARE_AGAIN) from error


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


def _write_table(frame: pd.DataFrame, schema: pa.Schema, path: Path) -> None:
    table = pa.Table.from_pandas(frame, schema, preserve_index=False).replace_schema_metadata()
    with whole_file(path) as temporary:
        parquet.write_table(table, temporary, compression="zstd")


def _read_table(path: Path, schema: pa.Schema) -> pd.DataFrame:
    frame: pd.DataFrame = parquet.read_table(path, schema=schema).to_pandas()
    return frame
