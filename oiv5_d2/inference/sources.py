"""What a model is to look at: images of a file, a folder or a pattern, a video, a camera."""

import glob
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from oiv5_d2.problems import Kind, Problem, Remedy

RgbImage = NDArray[np.uint8]  # (H, W, 3)
IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
VIDEOS = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v"})
CAMERA_RATE = 25.0  # frames a second, of a camera that does not say


@dataclass(frozen=True)
class Picture:
    """An image file.

    Attributes:
        name: unique among the images: its path below the folder that was named, without ending.
        path: the file.
    """

    name: str
    path: Path


@dataclass(frozen=True)
class Video:
    """An open video or camera.

    Attributes:
        num_frames: 0 if unknown, as of a camera.
        rate: frames a second.
        size: (height, width) in pixels.
        frames: yields them, (H, W, 3) uint8 RGB.
    """

    num_frames: int
    rate: float
    size: tuple[int, int]
    frames: Iterator[RgbImage]


def is_video(source: str) -> bool:
    """Return True for a video file, or a camera by its number."""
    return source.isdecimal() or Path(source).suffix.lower() in VIDEOS


@contextmanager
def open_source(source: str) -> Iterator[Video | list[Picture]]:
    """Yield an open video or camera, or the images of a file, a folder or a pattern.

    Raises:
        Problem: those of `open_video` and `find_pictures`.
    """
    if is_video(source):
        with open_video(source) as video:
            yield video
    else:
        yield find_pictures(source)


def name_source(source: str, pictures: Sequence[Picture]) -> str:
    """Return a short name: of the one file, of the folder, or the last words of a pattern.

    Args:
        source: what is looked at.
        pictures: its images; none of a video.
    """
    path = Path(source)
    if path.is_dir():
        return path.resolve().name or "images"
    if len(pictures) == 1:
        return pictures[0].path.stem
    if pictures:
        return "_".join(re.findall(r"\w+", source)[-3:]) or "images"
    return f"camera_{source}" if source.isdecimal() else path.stem


def find_pictures(source: str) -> list[Picture]:
    """Return the images of a file, of a folder and those below it, or of a pattern, by name.

    Raises:
        Problem: ABSENT, there is nothing; EMPTY, a folder without images; MISMATCH, two images
            would have one name.
    """
    path = Path(source)
    if path.is_dir():
        root, paths = path, [one for one in path.rglob("*") if one.suffix.lower() in IMAGES]
    elif path.is_file():
        root, paths = path.parent, [path]
    else:
        paths = [Path(one) for one in glob.glob(source, recursive=True) if Path(one).is_file()]
        root = Path(*_common(paths))
        if not paths:
            raise Problem(Kind.ABSENT, source, key="input", remedy=Remedy.CHANGE_SETTING)
    if not paths:
        detail = f"no image there ({', '.join(sorted(IMAGES))})"
        raise Problem(Kind.EMPTY, source, detail, key="input", remedy=Remedy.CHANGE_SETTING)
    found = [Picture(one.relative_to(root).with_suffix("").as_posix(), one) for one in paths]
    found.sort(key=lambda one: (one.name, one.path))
    for one, other in pairwise(found):
        if one.name == other.name:
            detail = f"two images of one name: {one.path.name} and {other.path.name}"
            raise Problem(Kind.MISMATCH, source, detail, key="input", remedy=Remedy.CHANGE_SETTING)
    return found


def read_picture(path: Path) -> RgbImage:
    """Return an image as a person sees it: turned as its EXIF says, (H, W, 3) uint8 RGB.

    Raises:
        Problem: ABSENT or DAMAGED.
    """
    try:
        return to_picture(path)
    except FileNotFoundError as error:
        raise Problem(Kind.ABSENT, path, key="input", remedy=Remedy.CHANGE_SETTING) from error
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        detail = f"no image that can be read: {error}"
        raise Problem(
            Kind.DAMAGED, path, detail, key="input", remedy=Remedy.CHANGE_SETTING
        ) from error


def to_picture(file: Path | BinaryIO) -> RgbImage:
    """Do the same with a file of a data set, which was looked at before; errors are Pillow's."""
    with Image.open(file) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


@contextmanager
def open_video(source: str) -> Iterator[Video]:
    """Open a video file, or a camera by its number.

    Raises:
        Problem: ABSENT, no such file or camera; DAMAGED, it cannot be played.
    """
    is_camera = source.isdecimal()
    if not is_camera and not Path(source).is_file():
        raise Problem(Kind.ABSENT, source, key="input", remedy=Remedy.CHANGE_SETTING)
    # OpenCV tells of each way to open a source that does not work for it.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    capture: Any = cv2.VideoCapture(int(source) if is_camera else source)
    try:
        if not capture.isOpened():
            kind, where = (Kind.ABSENT, f"camera {source}") if is_camera else (Kind.DAMAGED, source)
            detail = "" if is_camera else "no video that can be played"
            raise Problem(kind, where, detail, key="input", remedy=Remedy.CHANGE_SETTING)
        number = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        size = (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH)
        height, width = (int(capture.get(one)) for one in size)
        rate = capture.get(cv2.CAP_PROP_FPS) or CAMERA_RATE
        yield Video(0 if is_camera else number, rate, (height, width), _frames(capture))
    finally:
        capture.release()


def _frames(capture: Any) -> Iterator[RgbImage]:
    while True:
        is_read, frame = capture.read()
        if not is_read:
            return
        yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)


def _common(paths: list[Path]) -> list[str]:
    """Return the parts of the folder that all of some files are below."""
    parts = [path.parent.parts for path in paths]
    together = zip(*parts, strict=False)
    return [group[0] for group in _while_equal(together)]


def _while_equal(groups: Iterator[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    for group in groups:
        if len(set(group)) > 1:
            return
        yield group
