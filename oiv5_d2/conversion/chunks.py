"""Conversion in pieces: a chunk of images, and the file of finished JSON lines that it becomes."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from oiv5_d2.acquisition.jpeg import UPRIGHT, Header, read_header
from oiv5_d2.conversion.coco_file import dumps
from oiv5_d2.conversion.records import annotation_record, image_record
from oiv5_d2.files import whole_file
from oiv5_d2.openimages.release import Release
from oiv5_d2.selection.subset import Subset

IMAGES_PER_CHUNK = 128  # about 350 masks: less than a second on one core

MISSING_IMAGE, UNREADABLE_IMAGE, TURNED_IMAGE = "missing", "unreadable", "turned by EXIF"


@dataclass(frozen=True)
class Chunk:
    """Consecutive images with their objects, and all that another process needs to convert them."""

    path: Path
    """The file to write."""
    images: pd.DataFrame
    instances: pd.DataFrame
    first_image_id: int
    first_annotation_id: int
    category_ids: Mapping[str, int]
    license_ids: Mapping[str, int]
    data_dir: Path
    release: Release


def category_ids(subset: Subset) -> dict[str, int]:
    """Return the COCO category id of each class: its place in the list, from 1."""
    return {name: index for index, name in enumerate(subset.classes, start=1)}


def license_ids(subset: Subset) -> dict[str, int]:
    """Return an id from 1 for each licence's URL, in alphabetical order."""
    urls = sorted(subset.images["License"].unique().tolist())
    return {url: index for index, url in enumerate(urls, start=1)}


def cut(subset: Subset, data_dir: Path, chunks_dir: Path) -> Iterator[Chunk]:
    """Yield a subset in chunks, which are views of its tables."""
    images, instances = subset.images, subset.instances
    categories, licenses = category_ids(subset), license_ids(subset)
    starts = list(range(0, len(images), IMAGES_PER_CHUNK))
    firsts = images["ImageID"].iloc[starts]
    rows = [*np.searchsorted(instances["ImageID"], firsts).tolist(), len(instances)]
    for index, start in enumerate(starts):
        yield Chunk(
            path=chunks_dir / f"{index:06d}.jsonl",
            images=images.iloc[start : start + IMAGES_PER_CHUNK],
            instances=instances.iloc[rows[index] : rows[index + 1]],
            first_image_id=start + 1,
            first_annotation_id=rows[index] + 1,
            category_ids=categories,
            license_ids=licenses,
            data_dir=data_dir,
            release=subset.release,
        )


def convert_chunk(chunk: Chunk) -> int:
    """Write a chunk's file: a line of counts, a line an image, a line an annotation.

    Returns:
        the number of images that were read, for the progress bar.
    """
    images, annotations, left_out = [], [], []
    num_left_out_rows = 0
    for row, image_id, objects in _by_image(chunk):
        key = chunk.release.image_key(row.Split, row.ImageID)
        header, reason = _usable(chunk.data_dir / "images" / key)
        if header is None:
            left_out.append({"open_images_id": row.ImageID, "reason": reason})
            num_left_out_rows += len(objects)
            continue
        image = image_record(row, image_id, key, header, chunk.category_ids, chunk.license_ids)
        images.append(image)
        annotations += [
            annotation_record(
                object_row, annotation_id, image, chunk.category_ids, chunk.data_dir / "masks"
            )
            for annotation_id, object_row in objects
        ]
    ignored = Counter(annotation["ignore_reason"] for annotation in annotations)
    counts = {
        "num_images": len(images),
        "num_annotations": len(annotations),
        "num_objects": ignored.pop("", 0),
        "ignored": ignored,
        "left_out": left_out,
        "num_left_out_rows": num_left_out_rows,
    }
    with whole_file(chunk.path) as part_path:
        lines = [dumps(record) + "\n" for record in (counts, *images, *annotations)]
        part_path.write_text("".join(lines), encoding="ascii")
    return len(chunk.images)


def read_counts(path: Path) -> dict[str, Any]:
    """Return the first line of a chunk's file: what it contains and what was left out."""
    with path.open(encoding="ascii") as file:
        counts: dict[str, Any] = json.loads(file.readline())
        return counts


def read_lines(path: Path, name: str) -> Iterator[str]:
    """Yield the lines of a chunk's ``images`` or ``annotations``, without the line's end."""
    counts = read_counts(path)
    start = 1 if name == "images" else 1 + counts["num_images"]
    with path.open(encoding="ascii") as file:
        for line in islice(file, start, start + counts[f"num_{name}"]):
            yield line.rstrip("\n")


def _by_image(chunk: Chunk) -> Iterator[tuple[Any, int, list[tuple[int, Any]]]]:
    """Yield each image's row, its id, and its objects' annotation ids and rows."""
    objects: dict[str, list[tuple[int, Any]]] = {}
    rows = chunk.instances.itertuples(index=False)
    for annotation_id, row in enumerate(rows, start=chunk.first_annotation_id):
        objects.setdefault(str(row.ImageID), []).append((annotation_id, row))
    for image_id, image in enumerate(
        chunk.images.itertuples(index=False), start=chunk.first_image_id
    ):
        yield image, image_id, objects.get(str(image.ImageID), [])


def _usable(path: Path) -> tuple[Header | None, str]:
    """Return an image's header, or None and why training cannot use it."""
    try:
        header = read_header(path)
    except FileNotFoundError:
        return None, MISSING_IMAGE
    except ValueError as error:
        return None, f"{UNREADABLE_IMAGE}: {error}"
    if header.orientation != UPRIGHT:
        return None, f"{TURNED_IMAGE} (orientation {header.orientation})"
    return header, ""
