"""Each reader of the project's, beside another program's reader of the same format.

A check reads an input. It returns whether the input was taken; refusing it with a `Problem`, or as
the reader's docstring says, is right as well. Taken input has to give what the other reader gives.
"""

import csv
import gzip
import io
import json
import math
import shutil
import sqlite3
import zipfile
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import cv2
import numpy as np
import pandas as pd
from pycocotools import mask as coco_mask

from fuzzing import corpus
from fuzzing.mutation import mutate, with_checksums
from oiv5_d2.acquisition.buckets import Bucket, Head
from oiv5_d2.acquisition.jpeg import check_jpeg, read_header
from oiv5_d2.acquisition.manifest import (
    IMAGE,
    MANIFEST_SQLITE,
    State,
    num_to_retry,
    open_manifest,
    read_manifest,
)
from oiv5_d2.acquisition.partial_zips import open_zip
from oiv5_d2.acquisition.png import check_png
from oiv5_d2.acquisition.shards import DAMAGE
from oiv5_d2.acquisition.tables import fetch_tables, repaired
from oiv5_d2.acquisition.transfer import Transfer
from oiv5_d2.conversion import coco_file, masks
from oiv5_d2.conversion.adopt import Given, adopt
from oiv5_d2.conversion.images import size_of
from oiv5_d2.openimages import release
from oiv5_d2.openimages.classes import read_classes, read_names
from oiv5_d2.openimages.readers import read_rows
from oiv5_d2.openimages.release import V5, ReleaseFile
from oiv5_d2.problems import Problem

Check = Callable[[bytes, Path], bool]
_SIDES = [(f"{side}Min", f"{side}Max") for side in ("X", "Y", "BoxX", "BoxY")]
_CLASSES = ["person", "car"]
_NUMBERS = {"true": "1", "false": "0"}


@dataclass(frozen=True)
class Reader:
    """A reader with inputs that it takes."""

    name: str
    seeds: Sequence[bytes]
    check: Check
    """Called with an input and an empty folder; AssertionError if the result is wrong."""
    tokens: Sequence[bytes] = ()
    repair: Callable[[bytes], bytes] = bytes
    """Makes checksums right again, so that what they protect is reached."""

    def draw(self, random: Random, start: bytes | None = None) -> bytes:
        """Return an input, made of `start` or of a seed."""
        data = mutate(random, self.seeds, self.tokens, start)
        return self.repair(data) if random.random() < 0.5 else data


# --- Tables ---------------------------------------------------------------------------------------


def check_table(file: ReleaseFile, data: bytes, folder: Path) -> bool:
    """Read a table of somebody's as preparation does, and by pandas."""
    path = folder / "given" / file.path
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    try:
        found = _read_table(file, folder / "given", folder / "tables")
    except Problem:
        return False
    expected = _read_by_pandas(file.columns, data)
    assert len(found) == len(expected), f"{len(found)} rows, not {len(expected)}"
    for column in found.columns:
        ours, others = found[column].tolist(), expected[column].tolist()
        same = _is_near if found[column].dtype.kind in "fi" else _is_same
        pairs = zip(ours, others, strict=True)
        wrong = [pair for pair in pairs if not same(*pair)]
        assert not wrong, f"{column}: {wrong[:3]}"
    return True


def _read_table(file: ReleaseFile, source: Path, tables_dir: Path) -> pd.DataFrame:
    bucket = Bucket(str(source), Transfer())
    paths = fetch_tables(bucket, [file], tables_dir, lambda *_: None)
    while True:
        try:
            return pd.concat(read_rows(paths[file.path], file.columns))
        except Problem as problem:
            paths |= repaired(problem, bucket, [file], paths, tables_dir)


def _read_by_pandas(columns: Sequence[str], data: bytes) -> pd.DataFrame:
    raw = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    text = raw.decode(encoding, errors="replace").lstrip()  # Clicks are not read
    options: dict[str, Any] = {"dtype": str, "keep_default_na": False, "index_col": False}
    for separator in ",;\t|":
        with suppress(pd.errors.ParserError, pd.errors.ParserWarning):
            frame = pd.read_csv(io.StringIO(text, newline=""), sep=separator, **options)
            known = {column.lower(): column for column in columns}
            names = frame.columns.str.strip()
            frame.columns = [known.get(name.lower(), name) for name in names]
            if set(columns) <= set(frame.columns):
                return _as_released(frame[(frame != list(names)).any(axis=1)][list(columns)])
    raise AssertionError("pandas does not find the columns")


def _as_released(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table's text without the folders of masks and the endings of images' ids."""
    extra = {"MaskPath": r"(?s)^.*[/\\]", "ImageID": r"(?i)\.jpe?g$"}
    frame = frame.apply(lambda column: column.str.strip())
    found = {name: frame[name].str.replace(what, "", regex=True)
             for name, what in extra.items() if name in frame}  # fmt: skip
    return frame.assign(**found)


def _is_same(ours: str, theirs: str) -> bool:
    return ours.strip().lower() == theirs.lower()


def _is_near(ours: float, theirs: str) -> bool:
    text = theirs.lower().replace(",", ".")  # decimal commas
    number = math.nan if text in ("", "na", "nan", "null", "none") else _NUMBERS.get(text, text)
    number = float(number)
    return abs(ours - number) < 1.1e-6 or (math.isnan(ours) and math.isnan(number))


def check_class_table(data: bytes, folder: Path) -> bool:
    """Read a class table, and by the csv module."""
    path = folder / "classes.csv"
    path.write_bytes(data)
    try:
        names = read_names(path)
    except Problem:
        return False
    theirs = _rows_by_pandas(data)
    assert list(names.items()) == theirs[theirs[:1] == [release.CLASS_COLUMNS] :]
    return True


def _rows_by_pandas(data: bytes) -> list[tuple[str, str]]:
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    text = data.decode(encoding)
    options: dict[str, Any] = {"dtype": str, "keep_default_na": False, "header": None}
    for separator in ",;\t|":
        with suppress(pd.errors.ParserError, pd.errors.ParserWarning):
            frame = pd.read_csv(io.StringIO(text, newline=""), sep=separator, **options)
            if frame.shape[1] == 2:
                return list(zip(frame[0], frame[1].str.strip(), strict=True))
    raise AssertionError("pandas does not find two columns")


def check_tree(data: bytes, folder: Path) -> bool:
    """Read a tree, and its edges without recursion."""
    (folder / "classes.csv").write_bytes(corpus.class_tables()[0])
    (folder / "tree.json").write_bytes(data)
    try:
        classes = read_classes(folder / "classes.csv", folder / "tree.json")
        for mid in classes.kinds:
            classes.children(mid), classes.ancestors(mid)
    except Problem:
        return False
    edges, waiting = set(), [json.loads(data.decode("utf-8-sig"))]
    while waiting:
        node = waiting.pop()
        assert isinstance(node["LabelName"], str), node
        for key in {"Subcategory", "Part"} & node.keys():
            assert isinstance(node[key], list), node
            waiting += node[key]
        edges |= {(node["LabelName"], it["LabelName"]) for it in node.get("Subcategory", [])}
    assert edges == {(up, mid) for up, below in classes.kinds.items() for mid in below}
    return True


# --- Masks and images -----------------------------------------------------------------------------


def check_zip(data: bytes, folder: Path) -> bool:
    """Read a zip, whole and as a copy that is fetched by pieces, and by `zipfile`."""
    (folder / "a.zip").write_bytes(data)
    head, bucket = Head(len(data), ""), Bucket(str(folder), Transfer())
    taken = {}
    for path, source in ((folder / "a.zip", None), (folder / "copy.zip", bucket)):
        try:
            zip_ = open_zip(path, head, corpus.MASK_NAMES, source, "a.zip")
        except Problem:
            continue
        with closing(zip_):
            for get in zip_.requests(list(zip_.entries.values())) if source else ():
                assert 0 <= get.start < (get.stop or 0) <= len(data)
            taken |= _read_entries(zip_) if source is None else {}
    with closing(zipfile.ZipFile(io.BytesIO(data))) if taken else io.BytesIO() as archive:
        for name, content in taken.items():
            theirs = [it for it in archive.namelist() if it.rpartition("/")[2] == name]
            assert content in [_content(archive, it) for it in theirs], name
    return bool(taken)


def _read_entries(zip_: Any) -> dict[str, bytes]:
    found = {}
    for name, entry in zip_.entries.items():
        try:
            found[name] = zip_.read(entry)
        except DAMAGE:
            continue
    return found


def _content(archive: zipfile.ZipFile, name: str) -> bytes | None:
    try:
        return archive.read(name)
    except DAMAGE:
        return None


def check_mask(data: bytes, folder: Path) -> bool:
    """Read a PNG's mask, and by OpenCV."""
    try:
        check_png(data)
        mask = masks.read_png(data)
    except ValueError:
        return False
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None, "OpenCV does not read it"
    assert pixels.shape[:2] == mask.shape
    if pixels.ndim == 2:
        np.testing.assert_array_equal(mask, pixels > 0)
    rle = masks.encode(mask)
    np.testing.assert_array_equal(masks.decode(rle), mask)
    return True


def check_image(data: bytes, folder: Path) -> bool:
    """Read a JPEG's header three ways, and by OpenCV, which Detectron2 does not use."""
    path = folder / "a.jpg"
    path.write_bytes(data)
    try:
        check_jpeg(data)
        header, seen = read_header(path), size_of(path)
    except (ValueError, OSError):
        return False
    stored = (header.height, header.width)
    assert seen == (stored[::-1] if header.orientation > 4 else stored)
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    assert pixels is None or pixels.shape[:2] == stored, f"{pixels.shape} {stored}"
    return True


# --- COCO files and manifests ---------------------------------------------------------------------


def check_coco(data: bytes, folder: Path) -> bool:
    """Adopt a COCO file, and decode its objects by pycocotools."""
    corpus.coco_images(folder)
    (folder / "given.json").write_bytes(data)
    try:
        adopt(Given(folder / "given.json"), _CLASSES, folder / "new.json")
    except Problem:
        return False
    given = json.loads(data.decode("utf-8-sig"))
    wanted = {_id(it["id"]) for it in given["categories"] if it["name"].strip() in _CLASSES}
    old = [it for it in given["annotations"] if _id(it["category_id"]) in wanted]
    new = list(coco_file.read_records(folder / "new.json", "annotations"))
    images = list(coco_file.read_records(folder / "new.json", "images"))
    assert len(images) == len(given["images"]) and len(new) == len(old)
    assert len({it["id"] for it in new}) == len(new)
    assert len({it["id"] for it in images}) == len(images)
    places = {it["id"]: place for place, it in enumerate(images)}
    for before, after in zip(old, new, strict=True):
        record = given["images"][places[after["image_id"]]]
        assert _id(record["id"]) == _id(before["image_id"])
        _compare_object(before, after)
    return True


def _id(value: Any) -> Any:
    is_number = isinstance(value, str) and value.lstrip("-").isdecimal() and value.isascii()
    return int(value) if is_number and str(int(value)) == value else value


def _compare_object(before: dict[str, Any], after: dict[str, Any]) -> None:
    mask = masks.decode(after["segmentation"])
    assert mask.shape == corpus.SIZE and after["area"] == mask.sum() > 0
    x, y, w, h = after["bbox"]
    assert all(map(math.isfinite, (x, y, w, h))) and w > 0 and h > 0, after["bbox"]
    if not after["iscrowd"]:
        np.testing.assert_array_equal(mask, _mask_by_pycocotools(before["segmentation"]))
        assert -1 <= x and -1 <= y and x + w <= 9 and y + h <= 7, after["bbox"]


def _mask_by_pycocotools(segmentation: Any) -> np.ndarray:
    if isinstance(segmentation, list) and isinstance(segmentation[0], dict):
        (segmentation,) = segmentation
    if isinstance(segmentation, list):
        is_single = all(isinstance(it, int | float) or np.shape(it) == (2,) for it in segmentation)
        polygons = [np.ravel(it).tolist() for it in ([segmentation] if is_single else segmentation)]
        polygons = [polygon for polygon in polygons if len(polygon) > 4]  # the others have no area
        rle = coco_mask.merge(coco_mask.frPyObjects(polygons, *corpus.SIZE))
    elif isinstance(segmentation["counts"], list):
        counts = [int(count) for count in segmentation["counts"]]
        rle = coco_mask.frPyObjects({**segmentation, "counts": counts}, *corpus.SIZE)
    else:
        rle = segmentation
    return np.asarray(coco_mask.decode(rle)).astype(bool)


def check_manifest(data: bytes, folder: Path) -> bool:
    """Read a manifest's file, and by the sqlite3 module."""
    path = folder / MANIFEST_SQLITE
    path.parent.mkdir()
    path.write_bytes(data)
    try:
        with open_manifest(folder) as manifest:
            known = manifest.known(IMAGE, "train")
            names = pd.DataFrame({"Kind": IMAGE, "Split": "train", "Name": list(known)})
            manifest.export(names, folder / "out.csv")
        exported = read_manifest(folder / "out.csv")
    except Problem:
        return False
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT name, state FROM files WHERE kind = 'image' AND split = 'train'"
        assert {name: State(state) for name, state in connection.execute(query)} == {
            name: outcome.state for name, outcome in known.items()
        }
    assert set(exported["Path"]) == set(known)
    return True


def check_manifest_table(data: bytes, folder: Path) -> bool:
    """Read an exported manifest, and by the csv module."""
    path = folder / "manifest.csv"
    path.write_bytes(data)
    try:
        rows = read_manifest(path)
        num_to_retry(rows)
    except Problem:
        return False
    text = data.decode().lstrip("\r\n")
    theirs = [row for row in csv.DictReader(io.StringIO(text, newline="")) if row]
    assert rows["Path"].tolist() == [row["Path"] for row in theirs]
    assert rows["State"].tolist() == [row["State"] for row in theirs]
    return True


def readers() -> dict[str, Reader]:
    """Return all readers by name."""
    files = {
        "masks": V5.mask_csv("train"),
        "boxes": V5.box_csv("validation"),
        "train boxes": V5.box_csv("train"),
        "image labels": V5.image_label_csv("train"),
        "image list": V5.image_csv("validation"),
        "train image list": V5.image_csv("train"),
    }
    words = [
        b",",
        b";",
        b'"',
        b"\n",
        b"\r\n",
        b"\xef\xbb\xbf",
        b"\0",
        b"nan",
        b"inf",
        b"1e-7",
        b"1.0",
    ]
    words += [b"True", b"../", "é".encode(), b"\xe9", b"\xff\xfe", b" ", b'""', b"ABCDEF"]
    chunks = [b"IHDR", b"IDAT", b"IEND", b"PLTE", b"tRNS", b"acTL", b"fcTL", b"zTXt", b"eXIf"]
    markers = [bytes([0xFF, code]) for code in (0xC0, 0xC2, 0xC4, 0xD8, 0xD9, 0xDA, 0xDD, 0xE1)]
    zip_words = [b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"PK\7\x08", b"\1\0\x10\0"]
    zip_words += [name.encode() for name in corpus.MASK_NAMES]
    json_words = [b'"counts"', b'"size"', b"[1e400]", b"NaN", b"null", b"-1", b"{}", b"[" * 2000]
    found = [
        *(Reader(name, corpus.tables(file), partial(check_table, file), words)
          for name, file in files.items()),
        Reader("class table", corpus.class_tables(), check_class_table, words),
        Reader("tree", corpus.trees(), check_tree, json_words),
        Reader("zip", corpus.mask_zips(), check_zip, zip_words),
        Reader("PNG", corpus.pngs(), check_mask, chunks, with_checksums),
        Reader("JPEG", corpus.jpegs(), check_image, markers),
        Reader("COCO file", corpus.coco_files(), check_coco, json_words),
        Reader("manifest", list(corpus.manifests()), check_manifest, [b"present", b"image"]),
        Reader("manifest table", corpus.manifest_tables(), check_manifest_table, words),
    ]  # fmt: skip
    return {reader.name: reader for reader in found}


def try_one(reader: Reader, data: bytes, folder: Path) -> bool:
    """Let a reader read an input in a folder that is emptied before; see `Check`."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return reader.check(data, folder)
