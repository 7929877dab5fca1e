"""The file table of Open Images V5: where each file is, its bytes, its MD5 and its columns."""

from typing import NamedTuple

SPLITS = ("train", "validation", "test")
HEX_DIGITS = "0123456789abcdef"
ATTRIBUTES = ("IsOccluded", "IsTruncated", "IsGroupOf", "IsDepiction", "IsInside")

ANNOTATIONS_URL = "https://storage.googleapis.com/openimages/"
IMAGES_URL = "https://s3.amazonaws.com/open-images-dataset/"
# A release kept in a folder has the two buckets side by side under these names.
ANNOTATIONS_DIR = "openimages"
IMAGES_DIR = "open-images-dataset"

MASK_COLUMNS = (
    "MaskPath", "ImageID", "LabelName", "BoxID",
    "BoxXMin", "BoxXMax", "BoxYMin", "BoxYMax", "PredictedIoU", "Clicks",
)  # fmt: skip
BOX_COLUMNS = (
    "ImageID", "Source", "LabelName", "Confidence", "XMin", "XMax", "YMin", "YMax", *ATTRIBUTES,
)  # fmt: skip
# The eight columns which V6 added to the train boxes: a box's four extreme points.
V6_BOX_COLUMNS = tuple(f"XClick{i}{axis}" for axis in "XY" for i in range(1, 5))
IMAGE_LABEL_COLUMNS = ("ImageID", "Source", "LabelName", "Confidence")
IMAGE_COLUMNS = (
    "ImageID", "Subset", "OriginalURL", "OriginalLandingURL", "License", "AuthorProfileURL",
    "Author", "Title", "OriginalSize", "OriginalMD5", "Thumbnail300KURL", "Rotation",
)  # fmt: skip
CLASS_COLUMNS = ("LabelName", "DisplayName")


class ReleaseFile(NamedTuple):
    """One file of the annotations bucket.

    `path` is relative to the bucket; `num_bytes` and `md5` are the real file's, or None where
    they are not known; `columns` are a CSV's columns in order, empty for other files.
    """

    path: str
    num_bytes: int | None
    md5: str | None
    columns: tuple[str, ...]


def mask_csv(split: str) -> ReleaseFile:
    """Return the table of a split's masks."""
    return _file(f"v5/{_known(split)}-annotations-object-segmentation.csv", MASK_COLUMNS)


def box_csv(split: str) -> ReleaseFile:
    """Return the table of a split's boxes. Train's kept the place it had in V4."""
    folder = "2018_04/train" if _known(split) == "train" else "v5"
    return _file(f"{folder}/{split}-annotations-bbox.csv", BOX_COLUMNS)


def image_label_csv(split: str) -> ReleaseFile:
    """Return the table of the image labels that people verified, present or absent."""
    return _file(
        f"v5/{_known(split)}-annotations-human-imagelabels-boxable.csv", IMAGE_LABEL_COLUMNS
    )


def image_csv(split: str) -> ReleaseFile:
    """Return the list of a split's images: author, licence, rotation."""
    boxable = "boxable-" if _known(split) == "train" else ""
    return _file(f"2018_04/{split}/{split}-images-{boxable}with-rotation.csv", IMAGE_COLUMNS)


def mask_zip(split: str, digit: str) -> ReleaseFile:
    """Return the zip that holds the masks of the images whose id begins with hex `digit`."""
    if len(digit) != 1 or digit not in HEX_DIGITS:
        raise ValueError(f"mask zips are named by one hex digit 0-9 a-f, not '{digit}'")
    return _file(f"v5/{_known(split)}-masks/{split}-masks-{digit}.zip", ())


def image_key(split: str, image_id: str) -> str:
    """Return a picture's key in the images bucket. Each split has a prefix of its own."""
    return f"{_known(split)}/{image_id}.jpg"


def _known(split: str) -> str:
    if split not in SPLITS:
        raise ValueError(f"unknown split '{split}': Open Images has {', '.join(SPLITS)}")
    return split


def _file(path: str, columns: tuple[str, ...]) -> ReleaseFile:
    num_bytes, md5 = _FINGERPRINTS.get(path, (None, None))
    return ReleaseFile(path, num_bytes, md5, columns)


_FINGERPRINTS: dict[str, tuple[int, str | None]] = {
    "v5/class-descriptions-boxable.csv": (12011, "9846fd22fd2e68b45e3f3810a4c2a32a"),
    "v5/train-annotations-object-segmentation.csv": (806943628, "fa69369843fcf6e294d9195aeed1f2c6"),
    "v5/validation-annotations-object-segmentation.csv": (
        2920821,
        "dbfa09320082b635e8b96989c971128d",
    ),
    "v5/test-annotations-object-segmentation.csv": (8752779, "707198de1a855cefde26d3fe35f7a6ce"),
    "2018_04/train/train-annotations-bbox.csv": (1194033454, None),
    "v5/validation-annotations-bbox.csv": (25105048, "c5e8200df129ea6867e913e8b21fcab9"),
    "v5/test-annotations-bbox.csv": (77484237, "1cc058a7003b4e73d47642276e9b123b"),
    "v5/train-annotations-human-imagelabels-boxable.csv": (
        376764810,
        "f2709ae3f91391549c56d45a4a5ffec6",
    ),
    "v5/validation-annotations-human-imagelabels-boxable.csv": (
        10649275,
        "2e129f40a209e65dfe4342ed0e7bd5f2",
    ),
    "v5/test-annotations-human-imagelabels-boxable.csv": (
        32055857,
        "207ed0ce2755ad5a689c8eb6eeb039bf",
    ),
    "2018_04/train/train-images-boxable-with-rotation.csv": (
        638407721,
        "a4ac0bcedb5c2df4d1b1230dc6b41b8f",
    ),
    "2018_04/validation/validation-images-with-rotation.csv": (
        15245485,
        "643a54e43b0bab8acce8817b4a569780",
    ),
    "2018_04/test/test-images-with-rotation.csv": (45227339, "d832feb775b3cb78077bf8ae350adce5"),
    "v5/train-masks/train-masks-0.zip": (385547550, "a11ef5a650a3eedaffbfebf6b0513922"),
    "v5/train-masks/train-masks-1.zip": (298431035, "6aca374e98f7ebccfbe43e15e93a5365"),
    "v5/train-masks/train-masks-2.zip": (285456237, "a2fb544696036741e4dc0157b18d13a1"),
    "v5/train-masks/train-masks-3.zip": (282275385, "c95a7c4290254146bdf413123e41b0b4"),
    "v5/train-masks/train-masks-4.zip": (277869617, "6791237fb7b6330820562b3fcce856c9"),
    "v5/train-masks/train-masks-5.zip": (274041963, "816aca4d94930c23ed8f1b09bf371529"),
    "v5/train-masks/train-masks-6.zip": (277159893, "cb2bf8c44b9a4aeeca9329c1fdc09629"),
    "v5/train-masks/train-masks-7.zip": (275263394, "f48a625442563e41503aa21f3376af18"),
    "v5/train-masks/train-masks-8.zip": (275075122, "9b0d46e0092bdcaa9b5ff3d7be389213"),
    "v5/train-masks/train-masks-9.zip": (272384343, "9509ad06de98f6696bb48516bb78395e"),
    "v5/train-masks/train-masks-a.zip": (273996419, "5e234060c4a3fbeac7be32bfced2df2a"),
    "v5/train-masks/train-masks-b.zip": (272076127, "0db08e9475885cb83586948fe122a238"),
    "v5/train-masks/train-masks-c.zip": (272282657, "5bcfd49d1c20a4878896be79054bd40d"),
    "v5/train-masks/train-masks-d.zip": (273088985, "5fa943708a843e9287ed8780501550b0"),
    "v5/train-masks/train-masks-e.zip": (239589233, "bf4cf5947054d946d73f0038d2fd9657"),
    "v5/train-masks/train-masks-f.zip": (237901360, "b94de60c74c617eeee50a78c29cb9568"),
    "v5/validation-masks/validation-masks-0.zip": (3746207, "7ec6295df5d984b49e7003034325cd49"),
    "v5/validation-masks/validation-masks-1.zip": (3671742, "a03c7914441ea133fccdc0e7dc7d12d0"),
    "v5/validation-masks/validation-masks-2.zip": (3507780, "debce2f2deb0ba43882b211de885806e"),
    "v5/validation-masks/validation-masks-3.zip": (4122191, "0a4ba984cbb05e4839dbb1e0c9a4dbab"),
    "v5/validation-masks/validation-masks-4.zip": (3459177, "b7b46dd9730782db515a3987b0db16f1"),
    "v5/validation-masks/validation-masks-5.zip": (3549308, "111c503434eb55aa91c7160f5fd1c401"),
    "v5/validation-masks/validation-masks-6.zip": (3503979, "c95a081a1bb3f2b56da59a96cdbcdfae"),
    "v5/validation-masks/validation-masks-7.zip": (3473248, "98a2b49f53cc1e42e959f625e9371310"),
    "v5/validation-masks/validation-masks-8.zip": (3853829, "03c74feb14f5653bac50f45ef9ec4744"),
    "v5/validation-masks/validation-masks-9.zip": (3849739, "4e2015b002e1e4b91d751c8869275bde"),
    "v5/validation-masks/validation-masks-a.zip": (3360016, "a33b83eeac720dc960ba948fd00e0a4f"),
    "v5/validation-masks/validation-masks-b.zip": (3530025, "e3af9dce1c3bddd16dd297d266d80111"),
    "v5/validation-masks/validation-masks-c.zip": (3619116, "950c978ff6866114f94f71844907414a"),
    "v5/validation-masks/validation-masks-d.zip": (3402178, "1ebbcb5562b81f10c7b334d04509cd84"),
    "v5/validation-masks/validation-masks-e.zip": (3721143, "863d65e1ffa316d221e2daed9b15c349"),
    "v5/validation-masks/validation-masks-f.zip": (3193857, "3f1af68634b42001667898bbaee01f6b"),
    "v5/test-masks/test-masks-0.zip": (11123614, "2a979e678c8cd3c36f212195604010ef"),
    "v5/test-masks/test-masks-1.zip": (10661823, "38cf107d5fbb4d2d3685729c063d9883"),
    "v5/test-masks/test-masks-2.zip": (10554878, "01413c16a42ec2b759bc557f64966043"),
    "v5/test-masks/test-masks-3.zip": (10940793, "b3e960e4737cb049cf01d71922fcdb75"),
    "v5/test-masks/test-masks-4.zip": (10807897, "47f08629a68c456cffda25985a539238"),
    "v5/test-masks/test-masks-5.zip": (11096191, "75f2e3c20e376e61fd361f7524d73477"),
    "v5/test-masks/test-masks-6.zip": (10491679, "2096158973c3604a956711566a4b3153"),
    "v5/test-masks/test-masks-7.zip": (10658021, "66adad1b505cd4ebff0c9d59c6f385a3"),
    "v5/test-masks/test-masks-8.zip": (10521352, "d9cec7b2c93c6659421903b0632beb41"),
    "v5/test-masks/test-masks-9.zip": (10382256, "c48433ffcd2ff32a6dca0852ad4a9c69"),
    "v5/test-masks/test-masks-a.zip": (10702701, "b220242bdff4deb30db669eecb6e8620"),
    "v5/test-masks/test-masks-b.zip": (10259526, "d57d46744bf3072e3c2d4cadd1e93d58"),
    "v5/test-masks/test-masks-c.zip": (10538338, "36627e5535e77b892541c7b12c78d9e0"),
    "v5/test-masks/test-masks-d.zip": (10465518, "7f36c7728a5746cf023b25f0fe99bb0e"),
    "v5/test-masks/test-masks-e.zip": (10778572, "737a7ea50d7e695600fe4770f0e6a253"),
    "v5/test-masks/test-masks-f.zip": (10577940, "08aa8017f9628d6a84aa94a464127dd9"),
}

CLASS_CSV = _file("v5/class-descriptions-boxable.csv", CLASS_COLUMNS)
HIERARCHY_JSON = _file("2018_04/bbox_labels_600_hierarchy.json", ())
