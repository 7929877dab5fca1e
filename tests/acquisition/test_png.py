"""PNGs, whole and damaged, as Pillow and OpenCV see them."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from oiv5_d2.acquisition.png import check_png

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MASK = np.zeros((12, 17), np.uint8)
MASK[3:9, 4:14] = 1


def saved(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def chunk(name, content):
    checksum = zlib.crc32(name + content)
    return struct.pack(">L", len(content)) + name + content + struct.pack(">L", checksum)


def png(mask, rows=None, height=None, interlace=0):
    """Return a mask as PNG of 8 bits, with other rows or another height than its own if given."""
    header = struct.pack(">LLBBBBB", mask.shape[1], height or len(mask), 8, 0, 0, 0, interlace)
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in (rows or list(mask))))
    chunks = [
        (b"IHDR", header),
        (b"IDAT", packed[:9]),
        (b"IDAT", packed[9:]),
        (b"IEND", b""),
    ]
    return SIGNATURE + b"".join(chunk(*each) for each in chunks)


SMALL = saved(Image.fromarray(MASK * 255).convert("1"))
HEAD = SMALL[: len(SIGNATURE)]
ADAM7 = [
    MASK[top::down, left::across]
    for left, top, across, down in [
        (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
        (0, 1, 1, 2),
    ]
]  # fmt: skip


def interlaced(mask=MASK):
    return png(mask, [row for each in ADAM7 for row in each], interlace=1)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "I;16"])
def test_a_complete_png_passes(mode):
    image = Image.fromarray(MASK.astype(np.uint16) if mode == "I;16" else MASK * 255)
    check_png(saved(image if mode == "I;16" else image.convert(mode)))


def test_rows_are_counted_in_every_pass_of_an_interlaced_one():
    data = interlaced()
    check_png(data)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), MASK)
    with pytest.raises(ValueError):
        check_png(png(MASK, interlace=1))


def test_one_that_pillow_fills_up_is_refused():
    data = png(MASK, height=500)
    assert np.asarray(Image.open(io.BytesIO(data))).shape == (500, 17)
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) is None
    with pytest.raises(ValueError):
        check_png(data)


def png_of_size(width, height):
    header = struct.pack(">LLBBBBB", width, height, 1, 0, 0, 0, 0)
    return HEAD + chunk(b"IHDR", header) + SMALL[33:]


DAMAGED = {
    "empty": b"",
    "a JPEG": b"\xff\xd8\xff\xe0 a JPEG",
    "only the signature": HEAD,
    "no pixels": SMALL[:33] + chunk(b"IEND", b""),
    "cut in the header": SMALL[:30],
    "cut in the pixels": SMALL[:-20],
    "cut in the last checksum": SMALL[:-1],
    "another bit": SMALL[:45] + bytes([SMALL[45] ^ 1]) + SMALL[46:],
    "fewer rows": png(MASK, list(MASK[:5])),
    "more rows": png(MASK, [*MASK, MASK[0]]),
    "another first chunk": HEAD + SMALL[33:],
    "a size of billions": png_of_size(60_000, 60_000),
    "an unknown chunk that matters": SMALL[:33] + chunk(b"PLPL", b"") + SMALL[33:],
    "no palette": saved(Image.fromarray(MASK).convert("P")).replace(b"PLTE", b"plTE"),
    "no size": png_of_size(0, 5),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_no_complete_png_is_refused(name):
    with pytest.raises(ValueError) as caught:
        check_png(DAMAGED[name])
    assert str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=200), st.integers(0, len(SMALL)))
def test_any_bytes_pass_or_are_refused_with_one_line(data, place):
    for tried in (data, SMALL[:place] + data, SMALL[:place] + data + SMALL[place + 9 :]):
        try:
            check_png(tried)
        except ValueError as error:
            assert "\n" not in str(error)
