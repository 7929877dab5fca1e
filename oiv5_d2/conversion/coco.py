"""From a subset and its fetched files to one COCO file a part.

The work is cut into chunks of images. A finished chunk is a file of its own in the data folder's
``.stamps``, so that a killed run goes on where it was; they are joined when all are there. Chunks
hold lines of JSON, not objects, and nothing is ever held whole: memory does not grow with the
pictures. The bytes depend on the subset and the fetched files alone, not on the number of
processes.
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from oiv5_d2.acquisition.shards import read_mask_file
from oiv5_d2.conversion import chunks, coco_file, masks
from oiv5_d2.files import sha256
from oiv5_d2.processes import map_tasks
from oiv5_d2.selection.subset import Subset

CHUNKS_A_WORKER = 4  # fewer are finished sooner than a process has started
_FORMAT = 1  # raise it when the records change, so that chunks of an older program are not used


@dataclass(frozen=True)
class Converted:
    """What became of a part's rows: annotations, or rows on images that were left out."""

    part: str
    num_rows: int
    num_images: int
    num_annotations: int
    num_objects: int
    """Annotations to learn, those that are not crowd regions."""
    ignored: dict[str, int]
    """Crowd regions by reason, sorted by reason."""
    left_out: tuple[dict[str, str], ...]
    """``image_id`` and ``reason`` of images that can't be used, sorted."""
    num_left_out_rows: int


def coco_path(data_dir: Path, part: str) -> Path:
    """Return where a part's COCO file is."""
    return data_dir / "coco" / f"{part}.json"


def convert(
    subset: Subset, data_dir: Path, workers: int, advance: Callable[[int], object]
) -> Converted:
    """Write ``coco/{part}.json`` of a data folder.

    Images that are missing, can't be read or are turned by EXIF are left out and listed; masks that
    are missing, can't be read or are empty become crowd regions with that reason.

    Args:
        subset: a part, which is also saved in ``data_dir / "subset"``.
        data_dir: holds ``subset``, ``images`` and ``masks``.
        workers: processes at most; the result does not depend on it.
        advance: called with the number of images newly finished.

    Raises:
        FileNotFoundError: the subset was not saved there.
    """
    files = _subset_files(data_dir / "subset", subset.part)
    chunks_dir = _chunks_dir(subset, data_dir, files)
    paths, todo = [], []
    for chunk in chunks.cut(subset, data_dir, chunks_dir):
        paths.append(chunk.path)
        if chunk.path.exists():
            advance(len(chunk.images))
        else:
            todo.append(chunk)
    num_workers = max(1, min(workers, len(todo) // CHUNKS_A_WORKER))
    for num_images in map_tasks(chunks.convert_chunk, todo, num_workers):
        advance(num_images)
    converted = _sum(subset, paths)
    coco_file.write(
        coco_path(data_dir, subset.part),
        _head(subset, converted, files),
        (line for path in paths for line in chunks.read_lines(path, "images")),
        (line for path in paths for line in chunks.read_lines(path, "annotations")),
    )
    shutil.rmtree(chunks_dir.parent)
    return converted


def read_converted(path: Path) -> Converted:
    """Read from a COCO file what became of its part's rows.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it was not written by `convert`.
    """
    try:
        converted = coco_file.read_head(path)["info"]["converted"]
        return Converted(**{**converted, "left_out": tuple(converted["left_out"])})
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} was not made by tools/prepare_data.py ({error})") from error


def verify(path: Path, subset: Subset, data_dir: Path, sample: int) -> int:
    """Decode annotations again and compare them pixel by pixel with what they were made from.

    The way back is another than the way there: OpenCV reads the PNG, the whole mask is resized, and
    the box is drawn.

    Args:
        path: a COCO file that `convert` made.
        subset: what it was made from.
        data_dir: where the fetched files are.
        sample: the number of annotations to look at, evenly spread over the file.

    Returns:
        the number that was looked at: all, where there are fewer.

    Raises:
        ValueError: one differs; the message names it.
    """
    num_annotations = read_converted(path).num_annotations
    wanted = set(np.linspace(0, num_annotations - 1, min(sample, num_annotations)).astype(int))
    annotations = [
        annotation
        for index, annotation in enumerate(coco_file.read_records(path, "annotations"))
        if index in wanted
    ]
    image_ids = {annotation["image_id"] for annotation in annotations}
    images = {
        image["id"]: image
        for image in coco_file.read_records(path, "images")
        if image["id"] in image_ids
    }
    for annotation in annotations:
        row = subset.instances.iloc[annotation["id"] - 1]
        _compare(path, annotation, row, images[annotation["image_id"]], data_dir / "masks")
    return len(annotations)


def _compare(
    path: Path, annotation: Mapping[str, Any], row: Any, image: Mapping[str, Any], masks_dir: Path
) -> None:
    size = image["height"], image["width"]
    if annotation["iscrowd"]:
        box = masks.RelBox(row.XMin, row.YMin, row.XMax, row.YMax)
        x, y, width, height = masks.encode_box(box, *size).box
        truth = np.zeros(size, dtype=bool)
        truth[y : y + height, x : x + width] = True
    else:
        split = image["file_name"].split("/")[0]
        data = read_mask_file(masks_dir, split, row.ImageID, row.MaskPath)
        png = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
        assert png is not None, "OpenCV can't read a PNG that Pillow could"
        truth = masks.resize(png > 0, *size)
        if tuple(annotation["bbox"]) != masks.tight_box(truth):
            raise _differs(path, annotation, "box")
    if image["image_id"] != row.ImageID or annotation["mask_path"] != row.MaskPath:
        raise _differs(path, annotation, "row")
    if not np.array_equal(masks.decode(annotation["segmentation"]), truth):
        raise _differs(path, annotation, "mask")
    if annotation["area"] != np.count_nonzero(truth):
        raise _differs(path, annotation, "area")


def _differs(path: Path, annotation: Mapping[str, Any], what: str) -> ValueError:
    return ValueError(
        f"{path}: the {what} of annotation {annotation['id']} ({annotation['mask_path'] or 'box'})"
        " differs from its source: run tools/prepare_data.py force=true"
    )


def _subset_files(subset_dir: Path, part: str) -> dict[str, str]:
    """Return the SHA-256 of each file of a saved subset."""
    names = [f"{part}{ending}" for ending in (".images.parquet", ".instances.parquet", ".json")]
    return {name: sha256(subset_dir / name) for name in names}


def _chunks_dir(subset: Subset, data_dir: Path, files: Mapping[str, str]) -> Path:
    """Return the folder for this conversion's chunks; chunks made from other inputs are removed."""
    splits = sorted(subset.images["Split"].unique().tolist())
    paths = [
        *sorted((data_dir / "masks").glob("*.zip")),
        *(data_dir / "images" / split for split in splits),
    ]
    stats = [
        (path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths if path.exists()
    ]
    inputs = json.dumps([_FORMAT, chunks.IMAGES_A_CHUNK, dict(files), stats])
    fingerprint = hashlib.sha256(inputs.encode()).hexdigest()[:16]
    chunks_dir = data_dir / ".stamps" / f"chunks-{subset.part}" / fingerprint
    chunks_dir.mkdir(parents=True, exist_ok=True)
    for other in chunks_dir.parent.iterdir():
        if other != chunks_dir:
            shutil.rmtree(other)
    return chunks_dir


def _sum(subset: Subset, chunk_paths: Sequence[Path]) -> Converted:
    """Add up the chunks' counts."""
    parts = [chunks.read_counts(path) for path in chunk_paths]
    ignored: Counter[str] = Counter()
    for counts in parts:
        ignored.update(counts["ignored"])
    return Converted(
        part=subset.part,
        num_rows=len(subset.instances),
        num_images=sum(counts["num_images"] for counts in parts),
        num_annotations=sum(counts["num_annotations"] for counts in parts),
        num_objects=sum(counts["num_objects"] for counts in parts),
        ignored=dict(sorted(ignored.items())),
        left_out=tuple(entry for counts in parts for entry in counts["left_out"]),
        num_left_out_rows=sum(counts["num_left_out_rows"] for counts in parts),
    )


def _head(subset: Subset, converted: Converted, files: Mapping[str, str]) -> dict[str, Any]:
    """Return what precedes the images: how it was made, without a date, and the classes."""
    info = {
        "description": f"Open Images V5, part {subset.part}, as COCO",
        "masks": "nearest neighbour to the JPG's size, a pixel takes what its centre falls into",
        "crowds": "boxes that are not to be learnt; ignore_reason says why",
        "classes": list(subset.classes),
        "subset_sha256": dict(files),
        "converted": asdict(converted),
    }
    licenses = [{"id": id_, "url": url} for url, id_ in chunks.license_ids(subset).items()]
    categories = [
        {"id": id_, "name": name, "supercategory": ""}
        for name, id_ in chunks.category_ids(subset).items()
    ]
    return {"info": info, "licenses": licenses, "categories": categories}
