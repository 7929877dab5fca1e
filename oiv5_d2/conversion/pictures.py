"""What must be known of a JPG before a model reads it: its size, whether it is turned, and whole.

Detectron2's reader obeys the EXIF orientation: a picture that carries one comes out turned or
mirrored, while its boxes and masks were drawn on the pixels as stored. Such pictures can't be used.
"""

import warnings
from pathlib import Path
from typing import NamedTuple

from PIL import ExifTags, Image

UPRIGHT = 1  # EXIF's value for "as stored", also what no EXIF means
_END_OF_IMAGE = b"\xff\xd9"
# What Pillow raises on files that are no pictures, are cut short or of absurd dimensions.
_BROKEN = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


class Picture(NamedTuple):
    """A JPG's header: size in pixels as stored, and EXIF orientation (1 to 8, 1 is upright)."""

    height: int
    width: int
    orientation: int


def read_header(path: Path) -> Picture:
    """Read a picture's header, and see that the file is not cut short.

    A file that ends with JPEG's end marker is taken to be whole; any other (cut short, or with
    something appended) is decoded to know.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no picture, or is cut short. The message says only what is wrong.
    """
    try:
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore")  # odd EXIF: Detectron2 passes over it as well
            picture = Image.open(file)
            header = Picture(picture.height, picture.width, _orientation(picture))
            if not _has_end(path):
                picture.load()
            return header
    except FileNotFoundError:
        raise
    except _BROKEN as error:
        raise ValueError(_plainly(error, path)) from error


def decode(path: Path) -> None:
    """Decode every pixel of a picture as training will.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it can't be decoded. The message says only what is wrong.
    """
    try:
        with warnings.catch_warnings(), Image.open(path) as picture:
            warnings.simplefilter("ignore")
            picture.convert("RGB")
    except FileNotFoundError:
        raise
    except _BROKEN as error:
        raise ValueError(_plainly(error, path)) from error


def _orientation(picture: Image.Image) -> int:
    try:
        value = picture.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
    except (
        Exception
    ):  # Pillow raises whatever its parser of broken EXIF meets; Detectron2: the same
        return UPRIGHT
    return value if value in range(1, 9) else UPRIGHT


def _has_end(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(file.tell() - len(_END_OF_IMAGE), 0))
        return file.read() == _END_OF_IMAGE


def _plainly(error: BaseException, path: Path) -> str:
    """Return an error's text without the path, which the caller names in its own way."""
    return str(error).replace(f" {str(path)!r}", "").replace(str(path), "the file")
