import io

import numpy as np
import pytest
from PIL import Image

from oiv5_d2.conversion.image_store import Images, Place
from oiv5_d2.exploring.thumbnails import SIDE, Thumbnails, decode, whole_jpeg


def place(path):
    return Place(Images(path.parent), path.name)


@pytest.fixture
def photo(tmp_path):
    """A large photo, dark above and bright below, that says it is turned."""
    pixels = np.zeros((1500, 2000, 3), dtype=np.uint8)
    pixels[750:] = 250
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "photo.jpg", exif=exif)
    return tmp_path / "photo.jpg"


def test_a_photo_is_decoded_at_a_reduced_size_and_as_it_is_stored(photo):
    assert decode(photo.read_bytes(), 2000).shape == (375, 500, 3)
    with Image.open(io.BytesIO(Thumbnails().get(place(photo), 2000))) as small:
        assert small.size == (SIDE, 300)
        shades = np.asarray(small.convert("L"))
    assert shades[:140].mean() < 5 and shades[160:].mean() > 240


def test_thumbnails_stay_up_to_a_bound_and_the_oldest_goes_first(photo, tmp_path):
    paths = [tmp_path / f"{i}.jpg" for i in range(3)]
    for path in paths:
        path.write_bytes(photo.read_bytes())
    size = len(Thumbnails().get(place(photo), 2000))
    kept = Thumbnails(2 * size)
    made = [kept.get(place(path), 2000) for path in paths]
    assert kept.num_bytes == 2 * size
    for path in paths:
        path.unlink()
    assert kept.get(place(paths[2]), 2000) == made[2]
    with pytest.raises(OSError):
        kept.get(place(paths[0]), 2000)


def test_an_image_of_another_format_becomes_a_jpeg(tmp_path):
    Image.new("RGB", (30, 20), (200, 10, 10)).save(tmp_path / "image.png")
    with Image.open(io.BytesIO(whole_jpeg((tmp_path / "image.png").read_bytes()))) as image:
        assert image.format == "JPEG" and image.size == (30, 20)
