"""What is true of a release of Open Images: where its files are, their columns, bytes and MD5.

V5 is a value of `Release`. V6 and V7 are other values: nothing else has to change for them, because
code that needs a release is handed one.
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
    """One file of the annotations bucket."""

    path: str
    """In the bucket."""
    columns: tuple[str, ...] = ()
    """The columns in a CSV's header, in order; empty where there is none."""
    num_bytes: int | None = None
    """Of the real file, or None where that is not known; `md5` likewise."""
    md5: str | None = None


class Template(NamedTuple):
    """Where a kind of file lies; `{split}` and `{digit}` are filled in."""

    path: str
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Release:
    """One release. All methods raise ValueError for a split or digit that does not exist."""

    name: str
    annotations: str
    """The address of the bucket of annotations."""
    images: str
    """The address of the bucket of images."""
    masks: Template
    boxes: Template
    train_boxes: Template
    image_labels: Template
    image_lists: Template
    train_image_list: Template
    mask_zips: Template
    classes: Template
    tree: Template
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
        template = self.train_image_list if split == "train" else self.image_lists
        return self._file(template, split)

    def split_csvs(self, split: str) -> tuple[ReleaseFile, ...]:
        """Return the four tables of a split: masks, boxes, image labels, images."""
        return (
            self.mask_csv(split),
            self.box_csv(split),
            self.image_label_csv(split),
            self.image_csv(split),
        )

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

    def _file(self, template: Template, split: str = "train", digit: str = "") -> ReleaseFile:
        path = template.path.format(split=_known(split), digit=digit)
        return ReleaseFile(path, template.columns, *self.fingerprints.get(path, (None, None)))


def _known(split: str) -> str:
    if split not in SPLITS:
        raise ValueError(f"unknown split '{split}': Open Images has {', '.join(SPLITS)}")
    return split


def _read_fingerprints(name: str) -> dict[str, tuple[int, str | None]]:
    with resources.files(__package__).joinpath(name).open(encoding="ascii") as file:
        return {
            row["path"]: (int(row["bytes"]), row["md5"] or None) for row in csv.DictReader(file)
        }


V5 = Release(
    name="V5",
    annotations="https://storage.googleapis.com/openimages",
    images="s3://open-images-dataset",
    masks=Template("v5/{split}-annotations-object-segmentation.csv", MASK_COLUMNS),
    boxes=Template("v5/{split}-annotations-bbox.csv", BOX_COLUMNS),
    train_boxes=Template("2018_04/train/train-annotations-bbox.csv", BOX_COLUMNS),  # as in V4
    image_labels=Template(
        "v5/{split}-annotations-human-imagelabels-boxable.csv", IMAGE_LABEL_COLUMNS
    ),
    image_lists=Template("2018_04/{split}/{split}-images-with-rotation.csv", IMAGE_COLUMNS),
    train_image_list=Template(
        "2018_04/train/train-images-boxable-with-rotation.csv", IMAGE_COLUMNS
    ),
    mask_zips=Template("v5/{split}-masks/{split}-masks-{digit}.zip"),
    classes=Template("v5/class-descriptions-boxable.csv"),  # V6 has a header, CLASS_COLUMNS
    tree=Template("2018_04/bbox_labels_600_hierarchy.json"),
    fingerprints=_read_fingerprints("v5_files.csv"),
)
RELEASES = {V5.name: V5}
