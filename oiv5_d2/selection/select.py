"""From a release's tables to subsets: chosen images, and all wanted objects on them."""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from oiv5_d2.openimages.classes import read_classes, roll_up
from oiv5_d2.openimages.ids import IdSet
from oiv5_d2.openimages.release import Release, ReleaseFile
from oiv5_d2.problems import Kind, Problem, Remedy
from oiv5_d2.selection import objects, sampling
from oiv5_d2.selection.choice import Choice
from oiv5_d2.selection.counts import count
from oiv5_d2.selection.rows import IMAGE_AND_CLASS, Tables, fingerprint
from oiv5_d2.selection.subset import CREDITS, IMAGE_SCHEMA, INSTANCE_SCHEMA, Subset
from oiv5_d2.selection.verified import absences, verified_classes

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """The wanted classes among the release's."""

    names: Mapping[str, str]
    """Display name by MID, of the whole release."""
    classes: tuple[str, ...]
    """The wanted classes' display names, in the order of their categories."""
    owners: Mapping[str, str]
    """The wanted class's name by MID, for every label that is rolled up into one."""
    absent: Mapping[str, tuple[str, ...]]
    """The names of the wanted classes that are absent where a MID is verified absent."""
    inputs: Mapping[str, dict[str, Any]]
    """Bytes and SHA-256 of the class table and the tree, by path in the release."""


def select(
    find: Callable[[str], Path],
    release: Release,
    choice: Choice,
    advance: Callable[[int], object] = lambda num_bytes: None,
) -> dict[str, Subset]:
    """Choose images and gather all that the release says of the wanted classes on them.

    The tables are read in a stream, the boxes twice: memory grows with the wanted labels' masks
    and with what is chosen, not with the tables. The result does not depend on the order of rows.

    Args:
        find: returns where one of `needed_tables` is, by its path in the annotations bucket.
        release: which release it is.
        choice: what is wanted.
        advance: called with the number of table bytes newly read, of `num_bytes_to_read` in all.

    Returns:
        a subset for each part.

    Raises:
        FileNotFoundError: a table is missing.
        Problem: SETTING, an unknown class; DAMAGED, a table; EMPTY, no image is left for a part.
    """
    wanted = _read_wanted(find, release, choice)
    subsets: dict[str, Subset] = {}
    for split in choice.splits:
        tables = Tables(find, release, split, wanted.owners, choice, advance)
        masks = tables.masks()
        targets = _count_targets(tables, masks)
        parts = _choose_images(choice, split, targets)
        empty = [part for part, ids in parts.items() if ids.empty]
        if not empty:
            kept = _keep_verified(tables, wanted, targets, parts)
            subsets |= _make_subsets(tables, wanted, masks, parts, kept)
        elif choice.image_ids is None:  # the images of a list may be in other splits
            detail = f"no image of {split} shows a wanted class after the filters"
            if masks.empty:
                label = tables.first_label()
                detail = f"no mask of {split} is of a wanted class; the first LabelName is {label}"
            key = "data.classes data.shares data.exclude data.require data.id_prefixes"
            raise _empty(empty[0], detail, key)
    if choice.image_ids is not None:
        _check_list(choice, subsets)
    return subsets


def needed_tables(release: Release, choice: Choice) -> list[ReleaseFile]:
    """Return the files of the annotations bucket that `select` reads."""
    tables = [table for split in choice.splits for table in release.split_csvs(split)]
    return [release.class_csv, release.hierarchy, *tables]


def num_bytes_to_read(find: Callable[[str], Path], release: Release, choice: Choice) -> int:
    """Return how many bytes of tables `select` will read; a table counts each time it is read.

    Raises:
        FileNotFoundError: a table is missing.
    """
    again = [release.box_csv] if choice.only_masked else [release.box_csv] * 2
    files = [table for split in choice.splits for table in release.split_csvs(split)]
    files += [table(split) for split in choice.splits for table in again]
    files += [release.image_label_csv(s) for s in choice.splits if choice.keeping_parts(s)]
    return sum(find(file.path).stat().st_size for file in files)


def _read_wanted(find: Callable[[str], Path], release: Release, choice: Choice) -> Wanted:
    """Look the chosen classes up in the release's class table and tree."""
    files = (release.class_csv, release.hierarchy)
    classes = read_classes(*(find(file.path) for file in files))
    owners = roll_up(choice.classes, classes, children=choice.roll_up)
    mids = classes.find(choice.classes)
    return Wanted(
        names=classes.names,
        classes=tuple(classes.name(mid) for mid in mids),
        owners={mid: classes.name(owner) for mid, owner in owners.items()},
        absent=absences(mids, classes),
        inputs={file.path: fingerprint(find(file.path)) for file in files},
    )


def _choose_images(choice: Choice, split: str, targets: pd.DataFrame) -> dict[str, pd.Series]:
    """Return the sorted ids of each part's images with targets, as `Choice` documents them.

    Args:
        choice: what is wanted.
        split: the official split.
        targets: from `_count_targets`.
    """
    ids = pd.Series(targets["ImageID"].unique())
    parts = sampling.cut(ids, choice.parts_of(split), choice.seed)
    number = choice.limit.per_class
    if number is None:
        return parts
    if choice.limit.unit == "images":
        targets = targets.assign(Count=1)
    return {
        part: sampling.limit(_on_images(targets, IdSet.of(ids)), number, choice.seed)
        for part, ids in parts.items()
    }


def _keep_verified(
    tables: Tables, wanted: Wanted, targets: pd.DataFrame, parts: Mapping[str, pd.Series]
) -> dict[str, pd.Series]:
    """Return the verified images of each part that keeps them, those without an object too.

    Images that `targets` does not have are cut into parts by the same shares.
    """
    choice, shares = tables.choice, tables.choice.parts_of(tables.split)
    keeping = choice.keeping_parts(tables.split)
    if not keeping:
        return {}
    verified = pd.Series(_verified(tables, wanted, choice.image_ids).index, dtype=object)
    ids = IdSet.of(targets["ImageID"])
    others = sampling.cut(verified[~ids.contain(verified)], shares, choice.seed)
    kept = {}
    for part in keeping:
        is_limited = choice.limit.per_class is not None
        share = len(parts[part]) / (shares[part] * len(ids.numbers)) if is_limited else 1.0
        more = sampling.cut(others[part], {part: min(1.0, share)}, choice.seed)[part]
        kept[part] = pd.concat([verified[IdSet.of(parts[part]).contain(verified)], more])
    return kept


def _verified(tables: Tables, wanted: Wanted, ids: Iterable[str] | None) -> pd.DataFrame:
    """Return the verified classes of the given images, or of all, as `verified_classes` does."""
    labels = tables.image_labels(ids, [*wanted.owners, *wanted.absent])
    return verified_classes(labels, wanted.owners, wanted.absent)


def _count_targets(tables: Tables, masks: pd.DataFrame) -> pd.DataFrame:
    """Return ImageID, ClassName, Count: what makes an image worth choosing, by class.

    Attributes are only in the box table. Of that table, only the boxes that decide are held in
    memory, usually the few that are refused, so that a small limit on a large split stays small.
    """
    seen = objects.join(masks, tables.deciding_boxes(pd.Series(masks["ImageID"].unique())))
    targets = seen[objects.ignore_reasons(seen, tables.choice) == ""]
    targets = targets.assign(ClassName=targets["LabelName"].map(tables.owners))
    if not tables.choice.only_masked:
        return pd.concat([targets[IMAGE_AND_CLASS], tables.good_boxes()]).drop_duplicates()
    return targets.groupby(IMAGE_AND_CLASS).size().reset_index(name="Count")


def _make_subsets(
    tables: Tables,
    wanted: Wanted,
    masks: pd.DataFrame,
    parts: Mapping[str, pd.Series],
    kept: Mapping[str, pd.Series],
) -> dict[str, Subset]:
    """Return the subsets with the images of `parts`, and those that are `kept` without a target."""
    stay = IdSet.of(pd.concat([pd.Series(dtype=object), *kept.values()]))
    parts = {part: pd.concat([ids, kept.get(part, ids[:0])]) for part, ids in parts.items()}
    ids = pd.concat(list(parts.values())).drop_duplicates().reset_index(drop=True)
    images, seen = _gather(tables, wanted, masks, ids, stay)
    inputs, settings = {**wanted.inputs, **tables.inputs}, tables.choice.settings()
    subsets = {}
    for part, ids in parts.items():
        its_images, its_objects = (_on_images(rows, IdSet.of(ids)) for rows in (images, seen))
        counts = count(its_images, its_objects, wanted.classes, wanted.names)
        for name, of_class in counts["classes"].items():
            if of_class["targets"] == 0:
                logger.warning("Part '%s' has no training target of class '%s'", part, name)
        subsets[part] = Subset(
            part=part,
            classes=wanted.classes,
            images=its_images[IMAGE_SCHEMA.names],
            instances=its_objects[INSTANCE_SCHEMA.names],
            recipe={"inputs": inputs, "settings": settings, "counts": counts},
            release=tables.release,
        )
    return subsets


def _gather(
    tables: Tables, wanted: Wanted, masks: pd.DataFrame, ids: pd.Series, stay: IdSet
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the given images and the objects on them; those that `stay` need no target.

    Returns:
        images, sorted, with the columns of `Subset.images` and Listed (in the list of images);
        objects, sorted, with the columns of `Subset.instances` and HasBox.
    """
    seen = objects.join(_on_images(masks, IdSet.of(ids)), tables.boxes(ids))
    seen = seen.assign(
        ClassName=seen["LabelName"].map(wanted.owners),
        Ignore=objects.ignore_reasons(seen, tables.choice),
    )
    seen = objects.sort(seen, wanted.classes)
    if tables.choice.only_masked:
        # Two boxes in one place, one of them refused: only the join shows which has the mask.
        with_target = IdSet.of(seen.loc[seen["Ignore"] == "", "ImageID"])
        ids = ids[with_target.contain(ids) | stay.contain(ids)]
        seen = _on_images(seen, IdSet.of(ids))
    verified = _verified(tables, wanted, ids)
    images = pd.DataFrame({"ImageID": ids, "Split": tables.split})
    images = images.merge(verified, how="left", left_on="ImageID", right_index=True)
    images = images.merge(tables.images(ids), how="left", on="ImageID", indicator="Listed")
    images = images.assign(Listed=images["Listed"] == "both")
    text = dict.fromkeys(["PositiveClasses", "NegativeClasses", *CREDITS], "")
    return images.fillna(text).sort_values("ImageID", ignore_index=True), seen


def _on_images(rows: pd.DataFrame, ids: IdSet) -> pd.DataFrame:
    return rows[ids.contain(rows["ImageID"])].reset_index(drop=True)


def _empty(subject: str, detail: str, key: str) -> Problem:
    return Problem(Kind.EMPTY, subject, detail, key=key, remedy=Remedy.CHANGE_SETTING)


def _check_list(choice: Choice, subsets: Mapping[str, Subset]) -> None:
    """Check that a list of images has some for every part, and warn of those that are unused.

    Raises:
        Problem: EMPTY; where the list has images of some splits only, the key is data.splits and
            the detail has those splits.
    """
    assert choice.image_ids is not None
    left = [split for split in choice.splits if not choice.parts_of(split).keys() - subsets.keys()]
    subject, num_ids = "data.image_ids", len(choice.image_ids)
    if not left:
        detail = f"no image of {', '.join(choice.splits)} is left after the filters"
        raise _empty(subject, detail, subject)
    if len(left) < len(choice.splits):
        detail = f"only images of {', '.join(left)} are left after the filters"
        raise _empty(subject, detail, "data.splits")
    if num_unused := num_ids - sum(len(subset.images) for subset in subsets.values()):
        logger.warning(
            "%d of the %d images in data.image_ids are in no part: they belong to other splits, or"
            " the other settings leave them out",
            num_unused,
            num_ids,
        )
