"""From a subset and its fetched files to one COCO file for each part.

The work is cut into chunks of images. A finished chunk is a file of its own in the data folder's
``.stamps``, so that a killed run continues where it stopped; they are joined when all are done, one
in memory at a time. The bytes depend on the subset and the fetched files alone, not on the number
of processes.
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from oiv5_d2.conversion import chunks, coco_file
from oiv5_d2.conversion.outlines import Outlines
from oiv5_d2.files import sha256
from oiv5_d2.processes import map_tasks
from oiv5_d2.selection.subset import Subset, saved_files

CHUNKS_PER_WORKER = 4  # fewer are done before another process has started
_FORMAT = 3  # increase it when the records change, so that chunks of an older version are not used


@dataclass(frozen=True)
class Converted:
    """What became of a part's rows: annotations, or rows on images that were left out."""

    part: str
    num_rows: int
    num_images: int
    num_annotations: int
    num_objects: int
    """Training targets: annotations that are not crowd regions."""
    ignored: dict[str, int]
    """Crowd regions by reason, sorted by reason."""
    left_out: tuple[dict[str, str], ...]
    """``open_images_id`` and ``reason`` of images that cannot be used, sorted."""
    num_left_out_rows: int


def coco_path(data_dir: Path, part: str) -> Path:
    """Return where a part's COCO file is."""
    return data_dir / "coco" / f"{part}.json"


def convert(
    subset: Subset,
    data_dir: Path,
    workers: int,
    advance: Callable[[int], object],
    outlines: Outlines = Outlines(),  # noqa: B008  # frozen
) -> Converted:
    """Write ``coco/{part}.json`` of a data folder.

    Images that are missing, unreadable or turned by EXIF are left out and listed; masks that are
    missing, unreadable or empty become crowd regions with that reason.

    Args:
        subset: a part, which is also saved in ``data_dir / "subset"``.
        data_dir: holds ``subset``, ``images`` and ``masks``.
        workers: the most processes to use; the result does not depend on it.
        advance: called with the number of images newly finished.
        outlines: how masks are written.

    Raises:
        FileNotFoundError: the subset was not saved there.
    """
    saved = saved_files(data_dir / "subset", subset.part)
    files = {path.name: sha256(path) for path in saved}
    chunks_dir = _chunks_dir(subset, data_dir, files, outlines)
    paths, todo = [], []
    for chunk in chunks.cut(subset, data_dir, chunks_dir, outlines):
        paths.append(chunk.path)
        if chunk.path.exists():
            advance(len(chunk.images))
        else:
            todo.append(chunk)
    num_workers = max(1, min(workers, len(todo) // CHUNKS_PER_WORKER))
    for num_images in map_tasks(chunks.convert_chunk, todo, num_workers):
        advance(num_images)
    converted = _sum(subset, map(chunks.read_chunk, paths))
    coco_file.write(
        coco_path(data_dir, subset.part),
        _head(subset, converted, files, outlines),
        (line for path in paths for line in chunks.read_chunk(path).images),
        (line for path in paths for line in chunks.read_chunk(path).annotations),
    )
    shutil.rmtree(chunks_dir.parent)
    return converted


def read_converted(path: Path) -> Converted:
    """Read from a COCO file what became of its part's rows.

    Raises:
        Problem: ABSENT, or DAMAGED: not written by `convert`.
    """
    try:
        converted = coco_file.read_head(path)["info"]["converted"]
        return Converted(**{**converted, "left_out": tuple(converted["left_out"])})
    except (KeyError, TypeError) as error:
        raise coco_file.damaged(path) from error


def _chunks_dir(
    subset: Subset, data_dir: Path, files: Mapping[str, str], outlines: Outlines
) -> Path:
    """Return the folder for this conversion's chunks; remove chunks made from other inputs."""
    splits = sorted(subset.images["Split"].unique().tolist())
    paths = [
        *sorted((data_dir / "masks").glob("*.zip")),
        *(data_dir / "images" / split for split in splits),
    ]
    stats = [(path.name, path.stat()) for path in paths if path.exists()]
    versions = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
    settings = [_FORMAT, chunks.IMAGES_PER_CHUNK, outlines.settings()]
    inputs = json.dumps([*settings, dict(files), versions])
    fingerprint = hashlib.sha256(inputs.encode()).hexdigest()[:16]
    chunks_dir = data_dir / ".stamps" / f"chunks-{subset.part}" / fingerprint
    chunks_dir.mkdir(parents=True, exist_ok=True)
    for other in chunks_dir.parent.iterdir():
        if other != chunks_dir:
            shutil.rmtree(other)
    return chunks_dir


def _sum(subset: Subset, finished: Iterable[chunks.Finished]) -> Converted:
    counts, ignored = Counter[str](), Counter[str]()
    left_out: list[dict[str, str]] = []
    for chunk in finished:
        counts.update(chunk.counts)
        ignored.update(chunk.ignored)
        left_out += chunk.left_out
    return Converted(
        part=subset.part,
        num_rows=len(subset.instances),
        **counts,
        ignored=dict(sorted(ignored.items())),
        left_out=tuple(left_out),
    )


def _head(
    subset: Subset, converted: Converted, files: Mapping[str, str], outlines: Outlines
) -> dict[str, Any]:
    """Return what comes before the images: how it was made, without a date, and the classes."""
    info = {
        "description": f"Open Images {subset.release.name}, part {subset.part}, as COCO",
        "masks": "resized to the JPG: a pixel takes the mask pixel that its centre falls into",
        "crowds": "regions to ignore; ignore_reason says why",
        "classes": list(subset.classes),
        **outlines.settings(),
        "subset_sha256": dict(files),
        "converted": asdict(converted),
    }
    licenses = [{"id": id_, "url": url} for url, id_ in chunks.license_ids(subset).items()]
    categories = [
        {"id": id_, "name": name, "supercategory": ""}
        for name, id_ in chunks.category_ids(subset).items()
    ]
    return {"info": info, "licenses": licenses, "categories": categories}
