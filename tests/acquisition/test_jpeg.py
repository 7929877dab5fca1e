import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from oiv5_d2.acquisition.jpeg import check_jpeg, read_header


def encoded(height=16, width=24, mode="RGB", orientation=None, kind="JPEG"):
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(buffer, kind, exif=exif)
    return buffer.getvalue()


JPEG, PNG = encoded(), encoded(kind="PNG")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.jpg"


def test_a_whole_image_passes():
    for mode in ("RGB", "L", "CMYK"):
        check_jpeg(encoded(mode=mode))
        check_jpeg(encoded(mode=mode), full_decode=True)
    check_jpeg(JPEG + b"\0 a camera's own data")


@pytest.mark.parametrize(
    "data", [b"", b"<html>404</html>", PNG, JPEG[:20], JPEG[: len(JPEG) // 2], JPEG[:-2]]
)
def test_what_is_not_a_whole_jpeg_is_refused(data):
    with pytest.raises(ValueError):
        check_jpeg(data)


def test_damage_inside_is_found_by_a_full_decode():
    tables = JPEG.index(b"\xff\xc4")
    gutted = JPEG[: tables + 5] + b"\xff" * 16 + JPEG[tables + 21 :]
    check_jpeg(gutted)
    with pytest.raises(ValueError):
        check_jpeg(gutted, full_decode=True)


@pytest.mark.parametrize("middle", [bytes(300), b""])
def test_a_hole_in_the_middle_is_found_by_a_full_decode(middle):
    """Pillow shows the rest of such an image in grey and says nothing."""
    whole = encoded(160, 240)
    start = len(whole) // 2
    holed = whole[:start] + middle + whole[start + 300 :]
    check_jpeg(holed)
    with pytest.raises(ValueError):
        check_jpeg(holed, full_decode=True)


def test_an_image_of_absurd_size_is_refused_before_it_is_unpacked():
    start = JPEG.index(b"\xff\xc0") + 5
    for end in (b"", b"\0"):
        with pytest.raises(ValueError):
            check_jpeg(JPEG[:start] + struct.pack(">HH", 65_000, 65_000) + JPEG[start + 4 :] + end)


@given(st.binary(max_size=200), st.integers(0, len(JPEG)))
def test_any_bytes_pass_or_are_refused_with_one_line(data, place):
    for tried in (data, JPEG[:place] + data, JPEG[:place] + data + JPEG[place + 9 :]):
        try:
            check_jpeg(tried)
        except ValueError as error:
            assert str(error) and "\n" not in str(error) and "object at" not in str(error)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_the_header_gives_height_and_width(path, mode):
    path.write_bytes(encoded(20, 30, mode))
    assert read_header(path) == read_header(path, full_decode=True) == (20, 30, 1)


@pytest.mark.parametrize(
    ("written", "meant"), [(0, 1), (1, 1), (3, 3), (6, 6), (8, 8), (9, 1), (77, 1)]
)
def test_the_orientation_is_the_one_in_exif_and_nonsense_is_upright(path, written, meant):
    path.write_bytes(encoded(20, 30, orientation=written))
    assert read_header(path) == (20, 30, meant)  # the size stays as stored


def test_broken_exif_is_ignored(path):
    path.write_bytes(encoded(20, 30, orientation=6).replace(b"MM\x00*", b"XX\xff*"))
    assert read_header(path) == (20, 30, 1)


@given(cut=st.integers(2, 600))
def test_an_image_cut_short_is_a_value_error_without_its_path(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("cut") / "a.jpg"
    path.write_bytes(encoded(40, 60)[:-cut])
    for full_decode in (False, True):
        with pytest.raises(ValueError) as caught:
            read_header(path, full_decode)
        assert "a.jpg" not in str(caught.value)


def test_bytes_after_the_end_do_no_harm(path):
    path.write_bytes(encoded(20, 30) + b"appended by a camera")
    assert read_header(path) == (20, 30, 1)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"\xff\xd8\xff\xd9"])
def test_what_is_not_an_image_is_a_value_error(path, content):
    path.write_bytes(content)
    for full_decode in (False, True):
        with pytest.raises(ValueError):
            read_header(path, full_decode)


def test_an_absent_image_is_not_a_broken_one(path):
    for full_decode in (False, True):
        with pytest.raises(FileNotFoundError):
            read_header(path, full_decode)
