import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from oiv5_d2.conversion import pictures


def jpg(height=20, width=30, mode="RGB", orientation=None):
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_the_header_gives_height_and_width(tmp_path, mode):
    path = tmp_path / "a.jpg"
    path.write_bytes(jpg(mode=mode))
    assert pictures.read_header(path) == (20, 30, 1)
    pictures.decode(path)


@pytest.mark.parametrize(
    ("written", "meant"), [(0, 1), (1, 1), (3, 3), (6, 6), (8, 8), (9, 1), (77, 1)]
)
def test_the_orientation_is_exif_s_and_nonsense_is_upright(tmp_path, written, meant):
    path = tmp_path / "a.jpg"
    path.write_bytes(jpg(orientation=written))
    assert pictures.read_header(path) == (20, 30, meant)  # the size stays as stored


def test_broken_exif_is_passed_over(tmp_path):
    whole = jpg(orientation=6)
    path = tmp_path / "a.jpg"
    path.write_bytes(whole.replace(b"MM\x00*", b"XX\xff*"))
    assert pictures.read_header(path) == (20, 30, 1)


@given(cut=st.integers(2, 600))
def test_a_picture_cut_short_is_a_value_error_without_its_path(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("cut") / "a.jpg"
    path.write_bytes(jpg(40, 60)[:-cut])
    for read in (pictures.read_header, pictures.decode):
        with pytest.raises(ValueError) as caught:
            read(path)
        assert "a.jpg" not in str(caught.value)


def test_bytes_after_the_end_do_no_harm(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(jpg() + b"appended by a camera")
    assert pictures.read_header(path) == (20, 30, 1)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"\xff\xd8\xff\xd9"])
def test_what_is_no_picture_is_a_value_error(tmp_path, content):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(ValueError):
        pictures.read_header(path)


def test_an_absent_picture_is_told_from_a_broken_one(tmp_path):
    for read in (pictures.read_header, pictures.decode):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "absent.jpg")
