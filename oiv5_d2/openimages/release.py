"""What is true of a release of Open Images: where its files are, their columns, bytes and MD5.

V5 is a value of `Release`. V6 and V7 are other values: nothing else has to change for them, because
code that needs a release gets it as an argument.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import NamedTuple

SPLITS = ("train", "validation", "test")
HEX_DIGITS = "0123456789abcdef"
ATTRIBUTES = ("IsOccluded", "IsTruncated", "IsGroupOf", "IsDepiction", "IsInside")
# A release that is kept in a folder has the two buckets side by side under these names.
ANNOTATIONS_DIR = "openimages"
IMAGES_DIR = "open-images-dataset"

MASK_COLUMNS = (
    "MaskPath", "ImageID", "LabelName", "BoxID",
    "BoxXMin", "BoxXMax", "BoxYMin", "BoxYMax", "PredictedIoU", "Clicks",
)  # fmt: skip
BOX_COLUMNS = (
    "ImageID", "Source", "LabelName", "Confidence", "XMin", "XMax", "YMin", "YMax", *ATTRIBUTES,
)  # fmt: skip
# V6 has eight more columns in the train boxes: a box's four extreme points.
V6_BOX_COLUMNS = (*BOX_COLUMNS, *(f"XClick{i}{axis}" for axis in "XY" for i in range(1, 5)))
IMAGE_LABEL_COLUMNS = ("ImageID", "Source", "LabelName", "Confidence")
IMAGE_COLUMNS = (
    "ImageID", "Subset", "OriginalURL", "OriginalLandingURL", "License", "AuthorProfileURL",
    "Author", "Title", "OriginalSize", "OriginalMD5", "Thumbnail300KURL", "Rotation",
)  # fmt: skip
CLASS_COLUMNS = ("LabelName", "DisplayName")


class ReleaseFile(NamedTuple):
    """One file of the annotations bucket, or a kind of file in a `Release`."""

    path: str
    """In the bucket; for a kind of file, `{split}` and `{digit}` are filled in."""
    columns: tuple[str, ...] = ()
    """The columns in a CSV's header, in order; empty where there is none."""
    num_bytes: int | None = None
    """Of the real file, or None where that is not known; `md5` likewise."""
    md5: str | None = None


@dataclass(frozen=True)
class Release:
    """One release. All methods raise ValueError for a split or digit that does not exist."""

    name: str
    annotations: str
    """The address of the bucket of annotations."""
    images: str
    """The address of the bucket of images."""
    masks: ReleaseFile
    boxes: ReleaseFile
    train_boxes: ReleaseFile
    image_labels: ReleaseFile
    image_lists: ReleaseFile
    train_image_list: ReleaseFile
    mask_zips: ReleaseFile
    classes: ReleaseFile
    tree: ReleaseFile
    fingerprints: Mapping[str, tuple[int, str | None]]
    """The bytes and MD5 of files, by path in the annotations bucket."""

    def mask_csv(self, split: str) -> ReleaseFile:
        """Return the table of a split's masks."""
        return self._file(self.masks, split)

    def box_csv(self, split: str) -> ReleaseFile:
        """Return the table of a split's boxes."""
        return self._file(self.train_boxes if split == "train" else self.boxes, split)

    def image_label_csv(self, split: str) -> ReleaseFile:
        """Return the table of the image labels that people verified, present or absent."""
        return self._file(self.image_labels, split)

    def image_csv(self, split: str) -> ReleaseFile:
        """Return the list of a split's images: author, licence, rotation."""
        return self._file(self.train_image_list if split == "train" else self.image_lists, split)

    def split_csvs(self, split: str) -> tuple[ReleaseFile, ...]:
        """Return the four tables of a split: masks, boxes, image labels, images."""
        tables = (self.mask_csv, self.box_csv, self.image_label_csv, self.image_csv)
        return tuple(table(split) for table in tables)

    def mask_zip(self, split: str, digit: str) -> ReleaseFile:
        """Return the zip that holds the masks of the images whose id begins with hex `digit`."""
        if len(digit) != 1 or digit not in HEX_DIGITS:
            raise ValueError(f"mask zips are named by one hex digit 0-9 a-f, not '{digit}'")
        return self._file(self.mask_zips, split, digit)

    @property
    def class_csv(self) -> ReleaseFile:
        """The class table: a MID and a display name a row."""
        return self._file(self.classes)

    @property
    def hierarchy(self) -> ReleaseFile:
        """The tree of classes, as JSON."""
        return self._file(self.tree)

    def image_key(self, split: str, open_images_id: str) -> str:
        """Return an image's key in the images bucket. Each split has a prefix of its own."""
        return f"{_known(split)}/{open_images_id}.jpg"

    def _file(self, kind: ReleaseFile, split: str = "train", digit: str = "") -> ReleaseFile:
        path = kind.path.format(split=_known(split), digit=digit)
        return ReleaseFile(path, kind.columns, *self.fingerprints.get(path, (None, None)))


def _known(split: str) -> str:
    if split not in SPLITS:
        raise ValueError(f"unknown split '{split}': Open Images has {', '.join(SPLITS)}")
    return split


def _read_fingerprints(name: str) -> dict[str, tuple[int, str | None]]:
    with resources.files(__package__).joinpath(name).open(encoding="ascii") as file:
        rows = csv.DictReader(file)
        return {row["path"]: (int(row["bytes"]), row["md5"] or None) for row in rows}


V5 = Release(
    name="V5",
    annotations="https://storage.googleapis.com/openimages",
    images="s3://open-images-dataset",
    masks=ReleaseFile("v5/{split}-annotations-object-segmentation.csv", MASK_COLUMNS),
    boxes=ReleaseFile("v5/{split}-annotations-bbox.csv", BOX_COLUMNS),
    train_boxes=ReleaseFile("2018_04/train/train-annotations-bbox.csv", BOX_COLUMNS),  # as in V4
    image_labels=ReleaseFile(
        "v5/{split}-annotations-human-imagelabels-boxable.csv", IMAGE_LABEL_COLUMNS
    ),
    image_lists=ReleaseFile("2018_04/{split}/{split}-images-with-rotation.csv", IMAGE_COLUMNS),
    train_image_list=ReleaseFile(
        "2018_04/train/train-images-boxable-with-rotation.csv", IMAGE_COLUMNS
    ),
    mask_zips=ReleaseFile("v5/{split}-masks/{split}-masks-{digit}.zip"),
    classes=ReleaseFile("v5/class-descriptions-boxable.csv"),  # V6 has a header, CLASS_COLUMNS
    tree=ReleaseFile("2018_04/bbox_labels_600_hierarchy.json"),
    fingerprints=_read_fingerprints("v5_files.csv"),
)
RELEASES = {V5.name: V5}
