"""JPEG files: their size, whether they are turned, and whether they are whole.

Detectron2's reader obeys the EXIF orientation: an image that carries one comes out turned or
mirrored, while its boxes and masks were drawn on the pixels as stored.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import simplejpeg
from PIL import ExifTags, Image

LARGEST_IMAGE = 100_000_000  # pixels; the release's are below two million
UPRIGHT = 1  # EXIF's value for "as stored", which is also what no EXIF means
_START, _END = b"\xff\xd8\xff", b"\xff\xd9"


class Header(NamedTuple):
    """A JPEG's size in pixels as stored, and its EXIF orientation (1 to 8, 1 is upright)."""

    height: int
    width: int
    orientation: int


def check_jpeg(data: bytes, full_decode: bool = False) -> None:
    """Check that bytes are a whole JPEG: by header and end marker, or by decoding every pixel.

    A file without JPEG's end marker is cut short or has something appended, so it is decoded to
    know. Safe to call from several threads.

    Raises:
        ValueError: it is not a whole JPEG; the message has the bare facts.
    """
    if not data.startswith(_START):
        raise ValueError("not a JPEG" if data else "the file is empty")
    with as_value_errors("JPEG"):
        height, width = _size(data)
        if height * width > LARGEST_IMAGE:
            raise ValueError(f"{width}x{height} pixels are too many")
        if full_decode or not data.endswith(_END):
            # Strict: what libjpeg only warns of, and Pillow shows as grey, is damage too.
            simplejpeg.decode_jpeg(data, strict=True)


def read_header(path: Path, full_decode: bool = False) -> Header:
    """Read an image's header, and check that the file is not cut short, or decode every pixel.

    Odd EXIF is ignored, as by Detectron2. Not for several threads.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not an image, is damaged, or has more than 8 bits a channel; the message
            has the bare facts.
    """
    with path.open("rb") as file:
        return header_of(file, full_decode)


def header_of(file: BinaryIO, full_decode: bool = False) -> Header:
    """Do the same with an open file."""
    with as_value_errors("image"), warnings.catch_warnings(action="ignore"):
        file.seek(0)
        image = Image.open(file)
        header = Header(image.height, image.width, _orientation(image))
        file.seek(max(file.seek(0, io.SEEK_END) - len(_END), 0))
        if file.read() != _END or full_decode:
            image.convert("RGB")
    if image.mode.startswith(("I", "F")):  # Pillow, and so Detectron2, cuts them: all is white
        raise ValueError("more than 8 bits a channel: save it with 8")
    return header


def _size(data: bytes) -> tuple[int, int]:
    """Return height and width: by libjpeg, far faster than Pillow, which has the last word."""
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
        return height, width
    except ValueError:
        with Image.open(io.BytesIO(data)) as image:
            return image.height, image.width


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
    except Exception:  # a parser of broken EXIF raises anything; Detectron2 ignores it as well
        return UPRIGHT
    return value if value in range(1, 9) else UPRIGHT


@contextmanager
def as_value_errors(what: str) -> Iterator[None]:
    """Turn whatever a parser of broken files raises into a ValueError of one line."""
    try:
        yield
    except Exception as error:
        facts = line_of(error).partition(" <")[0]  # Pillow names an object in memory, or the file
        raise ValueError(f"a damaged {what}: {facts}") from error


def line_of(error: Exception) -> str:
    """Return the first line of an error's words."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
