"""Which images, masks and boxes a run uses: a record, saved beside how it was made."""

import json
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from oiv5_d2.acquisition.stores import Store
from oiv5_d2.acquisition.tables.sources import open_tables
from oiv5_d2.files import whole_file
from oiv5_d2.openimages import release
from oiv5_d2.openimages.image_ids import ImageIds
from oiv5_d2.selection.choose import Wanted, choose_images, gather, read_wanted
from oiv5_d2.selection.counts import count
from oiv5_d2.selection.options import Choice, EmptyPartError, make_choice
from oiv5_d2.selection.rows import Tables, wanted_rows

logger = logging.getLogger(__name__)

_TEXT, _FLOAT, _FLAG = pa.string(), pa.float64(), pa.int8()
IMAGE_SCHEMA = pa.schema(
    {
        "ImageID": _TEXT,
        "Split": _TEXT,
        "PositiveClasses": _TEXT,
        "NegativeClasses": _TEXT,
        "License": _TEXT,
        "Author": _TEXT,
        "AuthorProfileURL": _TEXT,
        "OriginalLandingURL": _TEXT,
        "Title": _TEXT,
        "Rotation": _FLOAT,
    }
)
INSTANCE_SCHEMA = pa.schema(
    {
        "ImageID": _TEXT,
        "LabelName": _TEXT,
        "ClassName": _TEXT,
        "MaskPath": _TEXT,
        "BoxID": _TEXT,
        "XMin": _FLOAT,
        "XMax": _FLOAT,
        "YMin": _FLOAT,
        "YMax": _FLOAT,
        "PredictedIoU": _FLOAT,
        **dict.fromkeys(release.ATTRIBUTES, _FLAG),
        "Ignore": _TEXT,
    }
)


@dataclass(frozen=True, eq=False)
class Subset:
    """Which images of one part, and which objects on them, the project uses.

    A real object is never dropped from an image that is used: what cannot or shall not be learnt
    stays as an ignored row, so that it is never taught as background.
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
    not known. Ignore is "" for an object to learn, else the reason why it is not learnt.
    """
    recipe: dict[str, Any]
    """How it was made: inputs with their SHA-256, settings, counts, the roll-up. JSON-ready."""


def select(
    annotations: Path | Store,
    classes: Sequence[str],
    *,
    roll_up: bool = True,
    splits: Mapping[str, str] | str | None = None,
    shares: Mapping[str, float] | None = None,
    seed: int = 0,
    limit_per_class: int | None = None,
    limit_unit: str = "images",
    exclude: Sequence[str] = (),
    require: Sequence[str] = (),
    min_predicted_iou: float | None = None,
    id_prefixes: Sequence[str] = (),
    image_ids: Collection[str] | None = None,
    only_masked: bool = True,
    tables_dir: Path | None = None,
    keep_tables: bool = False,
    advance: Callable[[int], object] = lambda num_bytes: None,
    expect: Callable[[int], object] = lambda num_bytes: None,
) -> dict[str, Subset]:
    """Choose images and gather all that the release says of the wanted classes on them.

    The tables are read in a stream, the boxes twice: memory grows with the wanted labels' masks
    and with what is chosen, not with the tables. The result depends on neither the order of their
    rows nor the size of the blocks, nor on where they come from. From a server each table comes
    once and its wanted rows are kept, see `arrivals`.

    Args:
        annotations: the annotations bucket (``v5/``, ``2018_04/``): a folder, or a store.
        classes: display names or MIDs; a class's place here is its category.
        roll_up: take in the kinds of a class (Man, Woman ... for Person), see `classes.roll_up`.
        splits: the official split of each part, each split once; a split's name for that one; None
            for all three under their own names.
        shares: cut the one split that `splits` names at random into disjoint parts: each part's
            share, in all at most 1.
        seed: of the cut and of the limit.
        limit_per_class: in each part, choose images until every class has so many, the rarest
            class first, see `sampling.limit`. Objects are never cut out of a chosen image.
        limit_unit: what is counted: "images" that show the class, or "masks" of it.
        exclude: of the five Is* attributes, those whose objects are not learnt.
        require: of the five Is* attributes, those without which an object is not learnt.
        min_predicted_iou: masks with a lower PredictedIoU are not learnt; those without stay.
        id_prefixes: only images whose id begins with one of these; none for all.
        image_ids: only these images, of those that fit all the rest; None for all.
        only_masked: only images with at least one object to learn. Otherwise a wanted object that
            is neither group-of, nor a depiction, nor excluded, and that has what is required, is
            enough, with a mask or without.
        tables_dir: where to keep what comes from a server; needed only for one.
        keep_tables: keep there also the whole tables that come from a server.
        advance: called with the number of table bytes newly read, of `num_bytes_to_read` in all.
        expect: called first, with the number of table bytes that are to come over a network.

    Returns:
        a subset for each part.

    Raises:
        FileNotFoundError: a table is missing.
        StoreError: a server does not give a table; what has arrived of it is kept.
        ValueError: an unknown class, a setting without meaning, a damaged table, an empty part.
    """
    source = open_tables(annotations, tables_dir, keep_tables)
    choice = make_choice(
        splits,
        shares,
        classes=tuple(classes),
        roll_up=roll_up,
        seed=seed,
        limit_per_class=limit_per_class,
        limit_unit=limit_unit,
        exclude=tuple(exclude),
        require=tuple(require),
        min_predicted_iou=min_predicted_iou,
        id_prefixes=tuple(id_prefixes),
        image_ids=None if image_ids is None else tuple(sorted(set(image_ids))),
        only_masked=only_masked,
    )
    wanted = read_wanted(source, choice)
    labels = wanted.owners, [*wanted.owners, *wanted.absent]
    rows = [rows for split in choice.splits.values() for rows in wanted_rows(split, *labels)]
    expect(source.num_bytes_to_come(rows))
    subsets: dict[str, Subset] = {}
    for split in choice.splits.values():
        tables = Tables(source, split, wanted.owners, choice.id_prefixes, choice.image_ids, advance)
        try:
            subsets |= _select_split(tables, choice, wanted)
        except EmptyPartError:
            if not choice.image_ids:
                raise  # of a list, all splits are looked through for its images first
    choice.refuse_empty(subsets)
    if choice.image_ids:
        _report_unused(choice.image_ids, subsets.values())
    return subsets


def num_bytes_to_read(
    annotations: Path | Store,
    splits: Iterable[str],
    only_masked: bool = True,
    tables_dir: Path | None = None,
) -> int:
    """Return how many bytes of tables `select` will read of these official splits.

    A table in a folder counts each time that it is read, one on a server once, whether it has
    already arrived or not.

    Raises:
        FileNotFoundError: a table is missing.
        StoreError: a server does not answer, and not all tables have arrived earlier.
    """
    num_box_passes = 2 if only_masked else 3
    files = [
        file
        for split in splits
        for file in (
            release.mask_csv(split),
            *[release.box_csv(split)] * num_box_passes,
            release.image_label_csv(split),
            release.image_csv(split),
        )
    ]
    return open_tables(annotations, tables_dir).num_bytes_to_read(files)


def _report_unused(image_ids: Sequence[str], subsets: Iterable[Subset]) -> None:
    num_used = sum(len(subset.images) for subset in subsets)
    if num_used < len(image_ids):
        logger.warning(
            "%d of the %d images in image_ids are in no part: they belong to other splits, or the"
            " other settings leave them out",
            len(image_ids) - num_used,
            len(image_ids),
        )


def _select_split(tables: Tables, choice: Choice, wanted: Wanted) -> dict[str, Subset]:
    masks = tables.masks()
    parts = choose_images(tables, choice, masks)
    for part, image_ids in parts.items():
        if image_ids.empty:
            raise EmptyPartError(
                f"part '{part}' is empty: no image of split '{tables.split}' shows a wanted class"
                " after the filters. Ask for other classes, fewer filters or a larger share"
            )
    images, objects = gather(tables, choice, wanted, masks, pd.concat(list(parts.values())))
    return {
        part: _make_subset(
            part,
            images[of_part.contain(images["ImageID"])].reset_index(drop=True),
            objects[of_part.contain(objects["ImageID"])].reset_index(drop=True),
            {"inputs": {**wanted.inputs, **tables.inputs}, "settings": choice.settings()},
            wanted,
        )
        for part, of_part in {part: ImageIds.of(ids) for part, ids in parts.items()}.items()
    }


def _make_subset(
    part: str, images: pd.DataFrame, objects: pd.DataFrame, recipe: dict[str, Any], wanted: Wanted
) -> Subset:
    counts = count(images, objects, wanted.classes, wanted.names)
    for name, of_class in counts["classes"].items():
        if of_class["to_learn"] == 0:
            logger.warning("Part '%s' has no mask of class '%s' to learn", part, name)
    return Subset(
        part=part,
        classes=wanted.classes,
        images=images[IMAGE_SCHEMA.names],
        instances=objects[INSTANCE_SCHEMA.names],
        recipe={**recipe, "counts": counts},
    )


def save(subset: Subset, subset_dir: Path) -> None:
    """Write ``{part}.images.parquet``, ``{part}.instances.parquet`` and, last, ``{part}.json``.

    The same subset gives the same bytes.
    """
    _write_table(subset.images, IMAGE_SCHEMA, subset_dir / f"{subset.part}.images.parquet")
    _write_table(subset.instances, INSTANCE_SCHEMA, subset_dir / f"{subset.part}.instances.parquet")
    text = json.dumps(
        {"part": subset.part, "classes": list(subset.classes), **subset.recipe},
        indent=2,
        ensure_ascii=False,
    )
    with whole_file(subset_dir / f"{subset.part}.json") as part_path:
        part_path.write_text(text + "\n", encoding="utf-8")


def load(subset_dir: Path, part: str) -> Subset:
    """Read what `save` wrote.

    Raises:
        FileNotFoundError: this part was not made.
        ValueError: a file is damaged.
    """
    recipe_path = subset_dir / f"{part}.json"
    if not recipe_path.exists():
        raise FileNotFoundError(
            f"{recipe_path}: there is no subset '{part}'. Make it with tools/prepare_data.py"
        )
    try:
        recipe = json.loads(recipe_path.read_text(encoding="utf-8"))
        return Subset(
            part=recipe.pop("part"),
            classes=tuple(recipe.pop("classes")),
            images=_read_table(subset_dir / f"{part}.images.parquet", IMAGE_SCHEMA),
            instances=_read_table(subset_dir / f"{part}.instances.parquet", INSTANCE_SCHEMA),
            recipe=recipe,
        )
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{recipe_path}: this subset is damaged ({error}). Delete {subset_dir} and make it"
            " again with tools/prepare_data.py"
        ) from error


def _write_table(frame: pd.DataFrame, schema: pa.Schema, path: Path) -> None:
    table = pa.Table.from_pandas(frame, schema, preserve_index=False).replace_schema_metadata()
    with whole_file(path) as part_path:
        parquet.write_table(table, part_path, compression="zstd")


def _read_table(path: Path, schema: pa.Schema) -> pd.DataFrame:
    frame: pd.DataFrame = parquet.read_table(path, schema=schema).to_pandas()
    return frame
