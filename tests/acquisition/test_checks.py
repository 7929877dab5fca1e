import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from oiv5_d2.acquisition.checks import check_jpeg, check_png


def picture(kind, size=(24, 16)):
    noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    image = Image.fromarray(noise)
    buffer = io.BytesIO()
    (image.convert("1") if kind == "PNG" else image).save(buffer, kind)
    return buffer.getvalue()


JPEG, PNG = picture("JPEG"), picture("PNG")


def png_of_size(width, height):
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return PNG[:8] + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


def test_whole_pictures_pass():
    check_jpeg(JPEG)
    check_jpeg(JPEG, full_decode=True)
    check_jpeg(JPEG + b"\0 a camera's own data")
    check_png(PNG)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"<html>404</html>", "not a JPEG"),
        (PNG, "not a JPEG"),
        (JPEG[:20], "damaged"),
        (JPEG[: len(JPEG) // 2], "damaged"),
        (JPEG[:-2], "damaged"),
    ],
)
def test_what_is_no_whole_jpeg_is_refused(data, said):
    with pytest.raises(ValueError, match=said):
        check_jpeg(data)


def test_damage_inside_is_found_by_a_full_decode():
    tables = JPEG.index(b"\xff\xc4")
    gutted = JPEG[: tables + 5] + b"\xff" * 16 + JPEG[tables + 21 :]
    check_jpeg(gutted)
    with pytest.raises(ValueError, match="damaged"):
        check_jpeg(gutted, full_decode=True)


@pytest.mark.parametrize("middle", [bytes(300), b""])
def test_a_hole_in_the_middle_is_found_by_a_full_decode(middle):
    """Pillow shows the rest of such a picture in grey and says nothing."""
    whole = picture("JPEG", (240, 160))
    start = len(whole) // 2
    holed = whole[:start] + middle + whole[start + 300 :]
    check_jpeg(holed)
    with pytest.raises(ValueError, match=r"^a damaged JPEG: Corrupt JPEG data: "):
        check_jpeg(holed, full_decode=True)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (JPEG, "not a PNG"),
        (PNG[:8], "not a PNG"),
        (PNG[:30], "damaged"),
        (PNG[:-20], "damaged"),
        (PNG[:50] + bytes([PNG[50] ^ 1]) + PNG[51:], "damaged"),
    ],
)
def test_what_is_no_whole_png_is_refused(data, said):
    with pytest.raises(ValueError, match=said):
        check_png(data)


def test_a_picture_of_absurd_size_is_refused_before_it_is_unpacked():
    with pytest.raises(ValueError, match="60000x60000 pixels are refused"):
        check_png(png_of_size(60_000, 60_000))
    start = JPEG.index(b"\xff\xc0") + 5
    bomb = JPEG[:start] + struct.pack(">HH", 65_000, 65_000) + JPEG[start + 4 :]
    with pytest.raises(ValueError, match=r"damaged|refused"):
        check_jpeg(bomb)


@given(st.binary(max_size=200), st.integers(0, len(JPEG)))
def test_any_bytes_pass_or_are_refused_with_one_line(data, place):
    for check, whole in [(check_jpeg, JPEG), (check_png, PNG)]:
        for tried in (data, whole[:place] + data, whole[:place] + data + whole[place + 9 :]):
            try:
                check(tried)
            except ValueError as error:
                assert "\n" not in str(error)
