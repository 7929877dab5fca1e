"""Conversion in pieces: a chunk of images, and the file of finished COCO records it becomes."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from oiv5_d2.acquisition.jpeg import UPRIGHT, Header, read_header
from oiv5_d2.conversion.coco_file import dumps
from oiv5_d2.conversion.records import annotation_record, image_record
from oiv5_d2.files import whole_file
from oiv5_d2.openimages.release import Release
from oiv5_d2.selection.subset import Subset

IMAGES_PER_CHUNK = 128  # about 350 masks: less than a second on one core


@dataclass(frozen=True)
class Chunk:
    """Consecutive images with their objects, and what another process needs to convert them."""

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


class Finished(NamedTuple):
    """A converted chunk."""

    counts: dict[str, int]
    """Numbers of a `convert.Converted`, by name."""
    ignored: dict[str, int]
    """Crowd regions by reason."""
    left_out: list[dict[str, str]]
    """``open_images_id`` and ``reason`` of images that cannot be used."""
    images: list[str]
    """Records, each as one line of JSON."""
    annotations: list[str]


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
            path=chunks_dir / f"{index:06d}.json",
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
    """Write a chunk's file for `read_chunk`, and return the number of images that were read."""
    images, annotations, left_out = [], [], []
    num_left_out_rows = 0
    for image_id, row, objects in _by_image(chunk):
        key = chunk.release.image_key(row.Split, row.ImageID)
        header, reason = _usable(chunk.data_dir / "images" / key)
        if header is None:
            left_out.append({"open_images_id": row.ImageID, "reason": reason})
            num_left_out_rows += len(objects)
            continue
        image = image_record(row, image_id, key, header, chunk.category_ids, chunk.license_ids)
        images.append(image)
        annotations += [
            annotation_record(each, id_, image, chunk.category_ids, chunk.data_dir / "masks")
            for id_, each in objects
        ]
    ignored = Counter(annotation["ignore_reason"] for annotation in annotations)
    counts = {
        "num_images": len(images),
        "num_annotations": len(annotations),
        "num_objects": ignored.pop("", 0),
        "num_left_out_rows": num_left_out_rows,
    }
    finished = Finished(
        counts, ignored, left_out, *([*map(dumps, some)] for some in (images, annotations))
    )
    with whole_file(chunk.path) as temporary:
        temporary.write_text(dumps(finished), encoding="ascii")
    return len(chunk.images)


def read_chunk(path: Path) -> Finished:
    """Return what `convert_chunk` wrote."""
    return Finished(*json.loads(path.read_text(encoding="ascii")))


def _by_image(chunk: Chunk) -> Iterator[tuple[int, Any, list[tuple[int, Any]]]]:
    """Yield each image's id, its row, and its objects' annotation ids and rows."""
    rows = enumerate(chunk.instances.itertuples(index=False), start=chunk.first_annotation_id)
    objects = {key: list(some) for key, some in groupby(rows, lambda each: each[1].ImageID)}
    images = enumerate(chunk.images.itertuples(index=False), start=chunk.first_image_id)
    for image_id, image in images:
        yield image_id, image, objects.get(image.ImageID, [])


def _usable(path: Path) -> tuple[Header | None, str]:
    """Return an image's header, or None and why training cannot use it."""
    try:
        header = read_header(path)
    except FileNotFoundError:
        return None, "missing"
    except ValueError as error:
        return None, f"unreadable: {error}"
    if header.orientation != UPRIGHT:
        return None, f"turned by EXIF (orientation {header.orientation})"
    return header, ""
