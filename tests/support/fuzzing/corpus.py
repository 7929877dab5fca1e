"""The right inputs that are mutated: a few small files for each reader, made here."""

import copy
import csv
import gzip
import io
import json
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from annotations import MIDS, TREE, Annotations, image_id
from PIL import Image
from pycocotools import mask as coco_mask
from zip_files import Pipe, with_end_64, zipped

from oiv5_d2.acquisition.manifest import (
    IMAGE,
    MANIFEST_SQLITE,
    MASK,
    Outcome,
    State,
    open_manifest,
)
from oiv5_d2.openimages import release
from oiv5_d2.openimages.release import ReleaseFile
from oiv5_d2.problems import Kind

SIZE = 6, 8  # height, width of an image of the COCO files
MASK_NAMES = [f"{image_id(number)}_m0k4j_{number:08x}.png" for number in range(4)]


def tables(file: ReleaseFile) -> list[bytes]:
    """Return a table as released, and as other programs write it."""
    with tempfile.TemporaryDirectory() as folder:
        given = Annotations(Path(folder))
        for number in range(3):
            image = image_id(number)
            for split in ("train", "validation"):
                given.add_image(image, split, title='Title, "quoted"\nand long')
                given.add_label(image, "Car", number % 2, split)
                given.add_object(image, "Man", split=split, iou="0.91", IsOccluded=1)
                given.add_object(image, "Car", (0.0, 1.0, 0.5, 0.75), split, IsInside=-1)
        released = (given.write() / file.path).read_bytes()
    rows = list(csv.reader(io.StringIO(released.decode(), newline="")))
    wide = [[*row, *(f"more {index}" for index in range(2))] for row in rows]
    return [
        released,
        released.replace(b"\n", b"\r\n"),
        _written([row[::-1] for row in rows]),
        _written(wide, delimiter=";"),
        _written(rows, quoting=csv.QUOTE_ALL, delimiter="\t"),
        gzip.compress(released, mtime=0),
        released.decode().encode("utf-16"),
        released.decode().encode("utf-8-sig").rstrip(b"\n"),
    ]


def _written(rows: Sequence[Sequence[str]], **options: object) -> bytes:
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator="\n", **options).writerows(rows)
    return file.getvalue().encode()


def class_tables() -> list[bytes]:
    """Return class tables, of V5 and with the header that V6 has."""
    plain = _written([(mid, name) for name, mid in MIDS.items()])
    return [plain, _written([release.CLASS_COLUMNS]) + plain, plain.replace(b"\n", b"\r\n")]


def trees() -> list[bytes]:
    """Return trees of classes, as JSON."""
    parts = {**TREE, "Part": [{"LabelName": "/m/0dzct", "Subcategory": [{"LabelName": "/m/0z"}]}]}
    return [json.dumps(TREE).encode(), json.dumps(parts, indent=1).encode()]


def pngs() -> list[bytes]:
    """Return masks of one object in the forms that PNGs have."""
    mask = np.zeros((12, 17), np.uint8)
    mask[3:9, 4:14] = 255
    images = [Image.fromarray(mask).convert(mode) for mode in ("1", "L", "P", "LA", "RGB", "RGBA")]
    images += [Image.fromarray(mask // 255), Image.fromarray(mask.astype(np.uint16))]
    return [_saved(image, "PNG") for image in images]


def jpegs() -> list[bytes]:
    """Return images in the forms that JPEGs have."""
    pixels = np.random.default_rng(0).integers(0, 255, (24, 37, 3), np.uint8)
    image, exif = Image.fromarray(pixels), Image.Exif()
    exif[0x0112] = 6
    return [
        _saved(image, "JPEG"),
        _saved(image, "JPEG", progressive=True),
        _saved(image, "JPEG", exif=exif),
        _saved(image.convert("L"), "JPEG", restart_marker_rows=1),
        _saved(image.convert("CMYK"), "JPEG"),
    ]


def _saved(image: Image.Image, format_: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


def mask_zips() -> list[bytes]:
    """Return zips of masks in the forms that zips have."""
    masks = dict(zip(MASK_NAMES, pngs(), strict=False))
    inside = {f"train-masks-0/{name}": content for name, content in masks.items()}
    return [
        zipped(masks),
        zipped(masks, zipfile.ZIP_DEFLATED, b"a comment"),
        zipped(masks, zipfile.ZIP_DEFLATED, file=Pipe()),
        with_end_64(zipped(masks)),
        zipped(inside),
        zipped(masks, zipfile.ZIP_BZIP2),
    ]


def coco_files() -> list[bytes]:
    """Return COCO files as several tools write them; their images are `coco_images`."""
    mask = np.zeros(SIZE, np.uint8, order="F")
    mask[1:4, 1:4] = 1
    rle = coco_mask.encode(mask)
    text = {"size": [*SIZE], "counts": rle["counts"].decode()}
    numbers = {"size": [*SIZE], "counts": [7, 3, 3, 3, 3, 3, 26]}
    polygon = [[1, 1, 4, 1, 4, 4, 1, 4], [5, 1, 7, 1, 7, 3]]
    one = {"id": 1, "image_id": 1, "category_id": 2, "bbox": [1, 1, 3, 3], "area": 9, "iscrowd": 0}
    content = {
        "info": {},
        "images": [
            {"id": 1, "file_name": "a.jpg", "height": 6, "width": 8},
            {"id": 2, "file_name": "b.png", "height": 6, "width": 8},
        ],
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "car"}],
        "annotations": [
            {**one, "segmentation": text},
            {**one, "id": 2, "image_id": 2, "segmentation": numbers, "iscrowd": 1},
            {**one, "id": 3, "category_id": 1, "segmentation": polygon},
            {**one, "id": 4, "segmentation": []},
        ],
    }
    other = copy.deepcopy(content)
    for image in other["images"]:
        image["id"] = f"image {image['id']}"
        del image["height"], image["width"]
    for number, annotation in enumerate(other["annotations"]):
        annotation["id"], annotation["image_id"] = number, f"image {annotation['image_id']}"
        del annotation["iscrowd"]
    small = {**content, "annotations": content["annotations"][2:3]}
    indented = json.dumps(other, indent=2).encode("utf-8-sig")
    return [json.dumps(content).encode(), indented, json.dumps(small).encode()]


def coco_images(folder: Path) -> None:
    """Write the images that the COCO files name."""
    for name in ("a.jpg", "b.png"):
        Image.new("RGB", SIZE[::-1]).save(folder / name)


def manifests() -> Iterator[bytes]:
    """Yield a manifest as SQLite keeps it, and exported as CSV."""
    outcomes = [
        Outcome("a.jpg", State.PRESENT, None, 9, "00", "https://x/a.jpg", "2026-01-01T00:00:00"),
        Outcome("b.jpg", State.MISSING, Kind.ABSENT, source="https://x/b.jpg"),
        Outcome("c.jpg", State.CORRUPT, Kind.DAMAGED, detail='not a JPEG, "but"\na PNG'),
    ]
    with tempfile.TemporaryDirectory() as folder:
        with open_manifest(Path(folder)) as manifest:
            manifest.record(IMAGE, "train", outcomes)
            manifest.record(MASK, "train", outcomes[:1])
        yield (Path(folder) / MANIFEST_SQLITE).read_bytes()


def manifest_tables() -> list[bytes]:
    """Return exported manifests."""
    header = "Kind,Split,Path,State,Reason,Detail,Bytes,BLAKE3,Source,Fetched"
    rows = ["image,train,a.jpg,present,,,9,00,https://x,2026"]
    rows += ['mask,train,b,corrupt,damaged,"a\n,b",0,,,']
    return ["\n".join([header, *rows, ""]).encode()]
