"""Whether bytes that came from outside are the picture they should be."""

import io
import struct

import simplejpeg
from PIL import Image, UnidentifiedImageError

LARGEST_PICTURE = 100_000_000  # pixels; the release's are below two million
_PNG_START = b"\x89PNG\r\n\x1a\n"
_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"


def check_jpeg(data: bytes, full_decode: bool = False) -> None:
    """See that bytes are a JPEG: by its header and its end, or by decoding every pixel.

    A file without JPEG's end marker is cut short or has something appended: that is decoded to
    know. Decoding finds what breaks JPEG's code; a changed bit that gives another picture is not
    found by anybody. Safe to call from several threads.

    Raises:
        ValueError: it is not a whole JPEG; the message says only what is wrong.
    """
    if not data:
        raise ValueError("the file is empty")
    if not data.startswith(_JPEG_START):
        raise ValueError("not a JPEG")
    try:
        if not _has_plain_header(data):
            with Image.open(io.BytesIO(data)) as picture:
                _check_size(*picture.size)
        if full_decode or not data.endswith(_JPEG_END):
            # Strict: what libjpeg only warns of, and Pillow shows as grey, is damage too.
            simplejpeg.decode_jpeg(data, strict=True)
    except _TooLargeError:
        raise
    except Exception as error:  # a parser of broken files meets anything
        raise ValueError(f"a damaged JPEG: {_plain(error)}") from error


class _TooLargeError(ValueError):
    pass


def _has_plain_header(data: bytes) -> bool:
    """Tell whether libjpeg reads the header: far faster than Pillow, which has the last word.

    Raises:
        ValueError: the picture is too large.
    """
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return False
    _check_size(width, height)
    return True


def check_png(data: bytes) -> None:
    """See that bytes are a whole PNG, by its header and the checksums of its pieces.

    Raises:
        ValueError: it is not; the message says only what is wrong.
    """
    if not data:
        raise ValueError("the file is empty")
    if not data.startswith(_PNG_START) or len(data) < 24:
        raise ValueError("not a PNG")
    # Before Pillow sees it: a few bytes may claim a picture that no memory holds.
    _check_size(*struct.unpack(">II", data[16:24]))
    try:
        with Image.open(io.BytesIO(data)) as picture:
            picture.verify()
    except Exception as error:
        raise ValueError(f"a damaged PNG: {_plain(error)}") from error


def _check_size(width: int, height: int) -> None:
    if width * height > LARGEST_PICTURE:
        raise _TooLargeError(f"{width}x{height} pixels are refused")


def _plain(error: Exception) -> str:
    """Return one line without Pillow's mention of an object in memory."""
    if isinstance(error, UnidentifiedImageError):
        return "its header can not be read"
    return str(error).splitlines()[0] if str(error) else type(error).__name__
