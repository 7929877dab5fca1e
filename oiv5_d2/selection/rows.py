"""The wanted rows of a split's tables, read in a stream and filtered block by block."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from oiv5_d2.files import sha256
from oiv5_d2.openimages import release
from oiv5_d2.openimages.readers import read_rows
from oiv5_d2.openimages.release import Release, ReleaseFile
from oiv5_d2.selection.choice import Choice
from oiv5_d2.selection.objects import COORDINATES
from oiv5_d2.selection.subset import CREDITS

_BOX_COLUMNS = ["ImageID", "LabelName", *COORDINATES, *release.ATTRIBUTES]
_LABEL_COLUMNS = ["ImageID", "LabelName", "Confidence"]
IMAGE_AND_CLASS = ["ImageID", "ClassName"]
_IMAGE_COLUMNS = ["ImageID", *CREDITS, "Rotation"]


def fingerprint(path: Path) -> dict[str, Any]:
    """Return what a subset's recipe says about one of its source files."""
    return {"bytes": path.stat().st_size, "sha256": sha256(path)}


@dataclass(frozen=True)
class Tables:
    """The tables of one split, and which of their rows are wanted."""

    find: Callable[[str], Path]
    """Where a table is, by its path in the bucket of annotations."""
    release: Release
    split: str
    owners: Mapping[str, str]
    """The wanted class's name for every wanted MID."""
    choice: Choice
    advance: Callable[[int], object]
    """Called with the number of bytes newly read."""
    inputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The fingerprints of what was read, by path in the bucket."""

    def masks(self) -> pd.DataFrame:
        """Return the wanted labels' masks, with XMin ... for BoxXMin ..., each row once."""
        file, ids = self.release.mask_csv(self.split), self.choice.image_ids
        frames = self._read(file, None, LabelName=self.owners, ImageID=ids)
        names = {f"Box{name}": name for name in COORDINATES}
        masks = _concat(self._with_prefix(frame) for frame in frames).rename(columns=names)
        return self._each_once(masks, file)

    def first_label(self) -> str:
        """Return the first LabelName of the mask table, "none" if it has no row."""
        file = self.release.mask_csv(self.split)
        frame = next(read_rows(self.find(file.path), file.columns, ["LabelName"]))
        return str(frame["LabelName"].iloc[0]) if len(frame) else "none"

    def boxes(self, ids: pd.Series) -> pd.DataFrame:
        """Return the wanted labels' boxes on the given images, each row once."""
        boxes = _concat(self._boxes(ids))
        return self._each_once(boxes, self.release.box_csv(self.split))

    def deciding_boxes(self, ids: pd.Series) -> pd.DataFrame:
        """Return the boxes on the given images that decide whether a mask is a training target.

        They are those with any of the refused attributes and, where some are required, those with
        all of the required ones.
        """
        return _concat(
            frame[self._is_refused(frame) | (bool(self.choice.require) & self._is_required(frame))]
            for frame in self._boxes(ids)
        ).drop_duplicates()

    def good_boxes(self) -> pd.DataFrame:
        """Return ImageID and ClassName of the wanted boxes whose attributes allow a target."""
        return _concat(
            self._with_prefix(frame[~self._is_refused(frame) & self._is_required(frame)])
            .assign(ClassName=lambda rows: rows["LabelName"].map(self.owners))[IMAGE_AND_CLASS]
            .drop_duplicates()
            for frame in self._boxes(self.choice.image_ids)
        )

    def image_labels(self, ids: Iterable[str] | None, mids: Iterable[str]) -> pd.DataFrame:
        """Return ImageID, LabelName and Confidence (1 present, 0 absent) of the given labels.

        Args:
            ids: of the images; None for all with the wanted prefixes.
            mids: of the labels.
        """
        file = self.release.image_label_csv(self.split)
        frames = self._read(file, _LABEL_COLUMNS, LabelName=mids, ImageID=ids)
        return _concat(self._with_prefix(frame) for frame in frames)

    def images(self, ids: pd.Series) -> pd.DataFrame:
        """Return ImageID, the credits and Rotation of the given images, those that are listed."""
        file = self.release.image_csv(self.split)
        listed = _concat(self._read(file, _IMAGE_COLUMNS, ImageID=ids))
        return listed.sort_values(listed.columns.tolist()).drop_duplicates("ImageID")

    def _boxes(self, ids: Iterable[str] | None) -> Iterator[pd.DataFrame]:
        file = self.release.box_csv(self.split)
        return self._read(file, _BOX_COLUMNS, LabelName=self.owners, ImageID=ids)

    def _each_once(self, rows: pd.DataFrame, file: ReleaseFile) -> pd.DataFrame:
        """Return the distinct rows, and record how many were left out.

        A mask is one object: of several rows of one, such as of a copy that a spreadsheet rounded,
        the one whose box has the most digits stays.
        """
        distinct = rows.drop_duplicates(ignore_index=True)
        if "MaskPath" in distinct and distinct["MaskPath"].duplicated().any():
            digits = distinct[list(COORDINATES)].map(lambda side: len(f"{side:g}")).sum(axis=1)
            order = digits.sort_values(ascending=False, kind="stable").index
            distinct = distinct.loc[order].drop_duplicates("MaskPath").sort_index(ignore_index=True)
        self.inputs[file.path]["rows_left_out_as_repeated"] = len(rows) - len(distinct)
        return distinct

    def _is_refused(self, boxes: pd.DataFrame) -> pd.Series:
        return (boxes[self.choice.refused] == 1).any(axis=1)

    def _is_required(self, boxes: pd.DataFrame) -> pd.Series:
        return (boxes[list(self.choice.require)] == 1).all(axis=1)

    def _with_prefix(self, frame: pd.DataFrame) -> pd.DataFrame:
        prefixes = self.choice.id_prefixes
        return frame[frame["ImageID"].str.startswith(prefixes)] if prefixes else frame

    def _read(
        self, file: ReleaseFile, columns: Sequence[str] | None, **wanted: Iterable[str] | None
    ) -> Iterator[pd.DataFrame]:
        """Yield the rows whose columns have one of the wanted values; None for any value."""
        path = self.find(file.path)
        if file.path not in self.inputs:  # a table may be read twice
            self.inputs[file.path] = fingerprint(path)
        keep = {column: values for column, values in wanted.items() if values is not None}
        return read_rows(path, file.columns, columns, keep, self.advance)


def _concat(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(list(frames), ignore_index=True)
