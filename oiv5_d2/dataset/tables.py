"""The wanted rows of the release's tables: read in a stream, filtered block by block."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from oiv5_d2.dataset.objects import COORDINATES
from oiv5_d2.openimages import readers, release
from oiv5_d2.openimages.files import TalliedFile

_BOX_COLUMNS = ["ImageID", "LabelName", *COORDINATES, *release.ATTRIBUTES]
_MASK_COLUMNS = [
    "ImageID", "LabelName", "MaskPath", "BoxID",
    "BoxXMin", "BoxXMax", "BoxYMin", "BoxYMax", "PredictedIoU",
]  # fmt: skip
CREDITS = ["License", "Author", "AuthorProfileURL", "OriginalLandingURL", "Title"]


@dataclass(frozen=True)
class Tables:
    """The tables of one split, and what of them is wanted.

    `owners` gives the wanted class's name for every wanted MID. `advance` is called with the number
    of bytes newly read. What was read is fingerprinted in `inputs`, by path in the release.
    """

    annotations_dir: Path
    split: str
    owners: Mapping[str, str]
    id_prefixes: tuple[str, ...]
    advance: Callable[[int], object]
    inputs: dict[str, dict[str, Any]] = field(default_factory=dict)

    def masks(self) -> pd.DataFrame:
        """Return the wanted labels' masks, with XMin ... for BoxXMin ..., each row once."""
        file = release.mask_csv(self.split)
        keep = {"LabelName": self.owners}
        frames = self._read(readers.read_masks, file, columns=_MASK_COLUMNS, keep=keep)
        names = {f"Box{name}": name for name in COORDINATES}
        masks = _concat(self._with_prefix(frame) for frame in frames).rename(columns=names)
        return self._each_once(masks, file)

    def boxes(self, image_ids: pd.Series) -> pd.DataFrame:
        """Return the wanted labels' boxes on the given images, each row once."""
        return self._each_once(_concat(self._boxes(image_ids)), release.box_csv(self.split))

    def flagged_boxes(self, image_ids: pd.Series, flags: tuple[str, ...]) -> pd.DataFrame:
        """Return those boxes on the given images that have any of the given attributes."""
        return _concat(
            frame[_has_any(frame, flags)] for frame in self._boxes(image_ids)
        ).drop_duplicates()

    def unflagged_boxes(self, flags: tuple[str, ...]) -> pd.DataFrame:
        """Return ImageID and ClassName of the wanted boxes that have none of the attributes."""
        key = ["ImageID", "ClassName"]
        return _concat(
            self._with_prefix(frame[~_has_any(frame, flags)])
            .assign(ClassName=lambda rows: rows["LabelName"].map(self.owners))[key]
            .drop_duplicates()
            for frame in self._boxes(None)
        )

    def image_labels(self, image_ids: pd.Series, mids: Iterable[str]) -> pd.DataFrame:
        """Return ImageID, LabelName and Confidence (1 present, 0 absent) of the given labels."""
        frames = self._read(
            readers.read_image_labels,
            release.image_label_csv(self.split),
            columns=["ImageID", "LabelName", "Confidence"],
            keep={"LabelName": mids, "ImageID": image_ids},
        )
        return _concat(frames)

    def images(self, image_ids: pd.Series) -> pd.DataFrame:
        """Return ImageID, the credits and Rotation of the given images, those that are listed."""
        frames = self._read(
            readers.read_images,
            release.image_csv(self.split),
            columns=["ImageID", *CREDITS, "Rotation"],
            keep={"ImageID": image_ids},
        )
        listed = _concat(frames)
        return listed.sort_values(listed.columns.tolist()).drop_duplicates("ImageID")

    def _boxes(self, image_ids: pd.Series | None) -> Iterator[pd.DataFrame]:
        keep = {"LabelName": self.owners} | ({} if image_ids is None else {"ImageID": image_ids})
        file = release.box_csv(self.split)
        return self._read(readers.read_boxes, file, columns=_BOX_COLUMNS, keep=keep)

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
        read: Callable[..., Iterator[pd.DataFrame]],
        file: release.ReleaseFile,
        **options: Any,
    ) -> Iterator[pd.DataFrame]:
        with find(self.annotations_dir, file).open("rb") as opened:
            tallied = TalliedFile(opened, self.advance)
            yield from read(tallied, **options)
        fingerprint = {"bytes": tallied.num_bytes, "sha256": tallied.sha256()}
        self.inputs.setdefault(file.path, {}).update(fingerprint)


def find(annotations_dir: Path, file: release.ReleaseFile) -> Path:
    """Return where a file of the release lies.

    Raises:
        FileNotFoundError: it is not there; the message says where to get it.
    """
    path = annotations_dir / file.path
    if not path.is_file():
        url = f"{release.ANNOTATIONS_URL}{file.path}"
        raise FileNotFoundError(f"{path}: this file of the release is missing. Fetch {url}")
    return path


def _concat(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(list(frames), ignore_index=True)


def _has_any(boxes: pd.DataFrame, flags: tuple[str, ...]) -> pd.Series:
    return (boxes[list(flags)] == 1).any(axis=1)
