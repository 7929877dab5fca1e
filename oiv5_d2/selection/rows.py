"""The wanted rows of the release's tables: read in a stream, filtered block by block."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from oiv5_d2.acquisition.tables.arrivals import Reader
from oiv5_d2.acquisition.tables.cached_rows import Filter
from oiv5_d2.acquisition.tables.sources import TableSource
from oiv5_d2.openimages import readers, release
from oiv5_d2.selection.objects import COORDINATES

_BOX_COLUMNS = ["ImageID", "LabelName", *COORDINATES, *release.ATTRIBUTES]
_MASK_COLUMNS = [
    "ImageID", "LabelName", "MaskPath", "BoxID",
    "BoxXMin", "BoxXMax", "BoxYMin", "BoxYMax", "PredictedIoU",
]  # fmt: skip
_LABEL_COLUMNS = ["ImageID", "LabelName", "Confidence"]
CREDITS = ["License", "Author", "AuthorProfileURL", "OriginalLandingURL", "Title"]
_IMAGE_COLUMNS = ["ImageID", *CREDITS, "Rotation"]


def wanted_rows(
    split: str, mids: Iterable[str], verified_mids: Iterable[str]
) -> list[tuple[release.ReleaseFile, Filter]]:
    """Return what `Tables` reads of each table of a split.

    Args:
        split: the official split.
        mids: whose masks and boxes are wanted.
        verified_mids: whose image labels are wanted.
    """
    return [
        (release.mask_csv(split), Filter.of(_MASK_COLUMNS, mids)),
        (release.box_csv(split), Filter.of(_BOX_COLUMNS, mids)),
        (release.image_label_csv(split), Filter.of(_LABEL_COLUMNS, verified_mids)),
        (release.image_csv(split), Filter.of(_IMAGE_COLUMNS, None)),
    ]


@dataclass(frozen=True)
class Tables:
    """The tables of one split, and what of them is wanted.

    `owners` gives the wanted class's name for every wanted MID. Where `id_prefixes` or `image_ids`
    are given, only those images are chosen from. `advance` is called with the number of bytes newly
    read. What was read is fingerprinted in `inputs`, by path in the release.
    """

    source: TableSource
    split: str
    owners: Mapping[str, str]
    id_prefixes: tuple[str, ...]
    image_ids: tuple[str, ...] | None
    advance: Callable[[int], object]
    inputs: dict[str, dict[str, Any]] = field(default_factory=dict)

    def masks(self) -> pd.DataFrame:
        """Return the wanted labels' masks, with XMin ... for BoxXMin ..., each row once."""
        file = release.mask_csv(self.split)
        frames = self._read(
            readers.read_masks, file, _MASK_COLUMNS, labels=self.owners, image_ids=self.image_ids
        )
        names = {f"Box{name}": name for name in COORDINATES}
        masks = _concat(self._with_prefix(frame) for frame in frames).rename(columns=names)
        return self._each_once(masks, file)

    def boxes(self, image_ids: pd.Series) -> pd.DataFrame:
        """Return the wanted labels' boxes on the given images, each row once."""
        return self._each_once(_concat(self._boxes(image_ids)), release.box_csv(self.split))

    def telling_boxes(
        self, image_ids: pd.Series, refused: Sequence[str], required: Sequence[str]
    ) -> pd.DataFrame:
        """Return those boxes on the given images that decide whether a mask is learnt.

        They are those with any of the refused attributes and, where some are required, those with
        all of the required ones.
        """
        return _concat(
            frame[_has_any(frame, refused) | (bool(required) & _has_all(frame, required))]
            for frame in self._boxes(image_ids)
        ).drop_duplicates()

    def good_boxes(self, refused: Sequence[str], required: Sequence[str]) -> pd.DataFrame:
        """Return ImageID and ClassName of the wanted boxes that have the right attributes.

        They have none of the refused ones and all of the required ones.
        """
        key = ["ImageID", "ClassName"]
        return _concat(
            self._with_prefix(frame[~_has_any(frame, refused) & _has_all(frame, required)])
            .assign(ClassName=lambda rows: rows["LabelName"].map(self.owners))[key]
            .drop_duplicates()
            for frame in self._boxes(self.image_ids)
        )

    def image_labels(self, image_ids: pd.Series, mids: Iterable[str]) -> pd.DataFrame:
        """Return ImageID, LabelName and Confidence (1 present, 0 absent) of the given labels."""
        frames = self._read(
            readers.read_image_labels,
            release.image_label_csv(self.split),
            _LABEL_COLUMNS,
            labels=mids,
            image_ids=image_ids,
        )
        return _concat(frames)

    def images(self, image_ids: pd.Series) -> pd.DataFrame:
        """Return ImageID, the credits and Rotation of the given images, those that are listed."""
        frames = self._read(
            readers.read_images,
            release.image_csv(self.split),
            _IMAGE_COLUMNS,
            labels=None,
            image_ids=image_ids,
        )
        listed = _concat(frames)
        return listed.sort_values(listed.columns.tolist()).drop_duplicates("ImageID")

    def _boxes(self, image_ids: Iterable[str] | None) -> Iterator[pd.DataFrame]:
        file = release.box_csv(self.split)
        return self._read(
            readers.read_boxes, file, _BOX_COLUMNS, labels=self.owners, image_ids=image_ids
        )

    def _each_once(self, rows: pd.DataFrame, file: release.ReleaseFile) -> pd.DataFrame:
        """Return the rows without repetition, and note how many were left out."""
        distinct = rows.drop_duplicates(ignore_index=True)
        self.inputs[file.path]["rows_left_out_as_repeated"] = len(rows) - len(distinct)
        return distinct

    def _with_prefix(self, frame: pd.DataFrame) -> pd.DataFrame:
        if not self.id_prefixes:
            return frame
        return frame[frame["ImageID"].str.startswith(self.id_prefixes)]

    def _read(
        self,
        read: Reader,
        file: release.ReleaseFile,
        columns: Sequence[str],
        *,
        labels: Iterable[str] | None,
        image_ids: Iterable[str] | None,
    ) -> Iterator[pd.DataFrame]:
        fingerprint = yield from self.source.frames(
            read, file, columns, labels=labels, image_ids=image_ids, advance=self.advance
        )
        self.inputs.setdefault(file.path, {}).update(fingerprint)


def _concat(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(list(frames), ignore_index=True)


def _has_any(boxes: pd.DataFrame, flags: Sequence[str]) -> pd.Series:
    return (boxes[list(flags)] == 1).any(axis=1)


def _has_all(boxes: pd.DataFrame, flags: Sequence[str]) -> pd.Series:
    return (boxes[list(flags)] == 1).all(axis=1)
