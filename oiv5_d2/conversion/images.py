"""Every image of a COCO file, looked at before a training begins: is it there, whole, of its size?

Of each file the header is read, and its last bytes. What was right once is not read again while its
size and time stay, so that the second look at a hundred thousand images takes a second.
"""

import json
import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import simplejpeg

from oiv5_d2.acquisition.jpeg import header_of
from oiv5_d2.files import whole_file
from oiv5_d2.processes import map_tasks

CHECKED_JSON = ".stamps/checked-{}.json"  # below a data folder, by part
IMAGES_PER_TASK = 2000
FEW = 4000  # images that this process has read before another one has started
_HEAD_BYTES = 1 << 14  # nearly always enough; otherwise Pillow reads more
_JPEG_END = b"\xff\xd9"
_EXIF = b"Exif\0\0"
_TURNED = range(5, 9)  # EXIF orientations that exchange height and width

Known = dict[str, list[int]]  # file name -> bytes and time of writing in ns


class Fault(NamedTuple):
    """An image that training cannot use, and why."""

    file_name: str
    what: str


def check_images(
    records: Iterable[Mapping[str, Any]],
    images_dir: Path,
    workers: int,
    checked_path: Path | None,
    advance: Callable[[int], object] = lambda num_images: None,
) -> list[Fault]:
    """Return the images that are not there, cut short, unreadable, or of another size.

    Args:
        records: of a COCO file's images: file_name, and height and width in pixels if known, as the
            image is seen, after its EXIF orientation.
        images_dir: the folder that file names are relative to.
        workers: the most processes to use; the result does not depend on it.
        checked_path: keeps what was right; None, or a folder that cannot be written to, keeps
            nothing.
        advance: called with the number of images newly looked at.
    """
    known = _read_known(checked_path)
    sizes = [(r["file_name"], r.get("height"), r.get("width")) for r in records]
    starts = range(0, len(sizes), IMAGES_PER_TASK)
    tasks = [sizes[start : start + IMAGES_PER_TASK] for start in starts]
    faults: list[Fault] = []
    right: Known = {}
    num_workers = 1 if len(sizes) <= FEW or len(known) >= len(sizes) else workers
    looked_at = map_tasks(partial(_check, images_dir, known), tasks, num_workers)
    for task, (found, some) in zip(tasks, looked_at, strict=True):
        faults += found
        right |= some
        advance(len(task))
    if right != known and checked_path:
        with suppress(OSError), whole_file(checked_path) as temporary:
            temporary.write_text(json.dumps(right) + "\n", encoding="utf-8")
    return faults


def size_of(path: Path) -> tuple[int, int]:
    """Return an image's (height, width) in pixels as it is seen.

    Raises:
        OSError: it is not there.
        ValueError: it is no image, or is cut short.
    """
    with path.open("rb") as file:
        return seen_size(file)


def seen_size(file: BinaryIO) -> tuple[int, int]:
    """Return the same of an open file; its errors are those of `size_of`."""
    head = file.read(_HEAD_BYTES)
    file.seek(-min(len(_JPEG_END), file.seek(0, os.SEEK_END)), os.SEEK_END)
    is_whole = file.read() == _JPEG_END
    if is_whole and _EXIF not in head:  # the quick way: nearly all
        with suppress(ValueError):
            height, width, *_ = simplejpeg.decode_jpeg_header(head)
            return height, width
    header = header_of(file)
    size = header.height, header.width
    return size[::-1] if header.orientation in _TURNED else size


def _check(
    images_dir: Path, known: Known, sizes: Sequence[tuple[str, int | None, int | None]]
) -> tuple[list[Fault], Known]:
    faults: list[Fault] = []
    right: Known = {}
    folder = str(images_dir)
    for name, height, width in sizes:
        path = os.path.join(folder, name)
        try:
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):  # to open a pipe would never end
                raise ValueError("it is no file")
            stamp = [status.st_size, status.st_mtime_ns]
            if known.get(name) != stamp:
                found = size_of(Path(path))
                if height is not None and found != (height, width):
                    what = f"{found[1]} x {found[0]} px, not {width} x {height}"
                    raise ValueError(what)
            right[name] = stamp
        except FileNotFoundError:
            faults.append(Fault(name, "it is not there"))
        except (OSError, ValueError) as error:
            faults.append(Fault(name, getattr(error, "strerror", None) or str(error)))
    return faults, right


def _read_known(path: Path | None) -> Known:
    """Return what was right before; nothing if that cannot be read."""
    with suppress(OSError, ValueError, AttributeError):
        if path is not None:
            return dict(json.loads(path.read_text(encoding="utf-8")))
    return {}
