"""Conversion in pieces: a chunk of images, and the file of finished COCO records it becomes."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from oiv5_d2.acquisition.jpeg import UPRIGHT, Header, read_header
from oiv5_d2.conversion.coco_file import dumps
from oiv5_d2.conversion.outlines import Outlines
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
    """As in `Subset.images`, with Id and LicenseId: integers from 1."""
    instances: pd.DataFrame
    """As in `Subset.instances`, with Id and CategoryId: integers from 1."""
    category_ids: Mapping[str, int]
    data_dir: Path
    release: Release
    outlines: Outlines


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


def cut(subset: Subset, data_dir: Path, chunks_dir: Path, outlines: Outlines) -> Iterator[Chunk]:
    """Yield a subset in chunks, whose ids are ranks in the subset."""
    categories, licenses = category_ids(subset), license_ids(subset)
    images, instances = (
        table.assign(Id=range(1, len(table) + 1)) for table in (subset.images, subset.instances)
    )
    images["LicenseId"] = images["License"].map(licenses)
    instances["CategoryId"] = instances["ClassName"].map(categories)
    starts = list(range(0, len(images), IMAGES_PER_CHUNK))
    rows = np.searchsorted(instances["ImageID"], images["ImageID"].iloc[starts]).tolist()
    for start, row, end in zip(starts, rows, [*rows[1:], len(instances)], strict=True):
        yield Chunk(
            path=chunks_dir / f"{start:09d}.json",
            images=images[start : start + IMAGES_PER_CHUNK],
            instances=instances[row:end],
            category_ids=categories,
            data_dir=data_dir,
            release=subset.release,
            outlines=outlines,
        )


def convert_chunk(chunk: Chunk) -> int:
    """Write a chunk's file for `read_chunk`, and return the number of images that were read."""
    images, annotations, left_out = [], [], []
    num_left_out_rows = 0
    rows = chunk.instances.itertuples(index=False)
    objects = {key: list(some) for key, some in groupby(rows, attrgetter("ImageID"))}
    image_rows: Iterable[Any] = chunk.images.itertuples(index=False)
    for row in image_rows:
        on_image = objects.get(row.ImageID, [])
        key = chunk.release.image_key(row.Split, row.ImageID)
        header, reason = _usable(chunk.data_dir / "images" / key)
        if header is None:
            left_out.append({"open_images_id": row.ImageID, "reason": reason})
            num_left_out_rows += len(on_image)
            continue
        image = image_record(row, key, header, chunk.category_ids)
        images.append(image)
        masks_dir = chunk.data_dir / "masks"
        found = [annotation_record(each, image, masks_dir) for each in on_image]
        annotations += chunk.outlines.apply(found, header.height, header.width)
    ignored = Counter(annotation["ignore_reason"] for annotation in annotations)
    counts = {
        "num_images": len(images),
        "num_annotations": len(annotations),
        "num_objects": ignored.pop("", 0),
        "num_left_out_rows": num_left_out_rows,
    }
    lines = ([dumps(record) for record in records] for records in (images, annotations))
    finished = Finished(counts, ignored, left_out, *lines)
    with whole_file(chunk.path) as temporary:
        temporary.write_text(dumps(finished), encoding="ascii")
    return len(chunk.images)


def read_chunk(path: Path) -> Finished:
    """Return what `convert_chunk` wrote."""
    return Finished(*json.loads(path.read_text(encoding="ascii")))


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
