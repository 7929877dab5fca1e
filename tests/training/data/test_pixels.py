from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import detection_utils as utils
from detectron2.data import transforms as T
from PIL import Image

from oiv5_d2.training.data.augmentations import Square, Window
from oiv5_d2.training.data.mapper import seeded
from oiv5_d2.training.data.pixels import Frame, decode_frame, resize_exactly, resize_fast

SIZE = (45, 70)
STEPS = (
    [],
    [T.ResizeShortestEdge([64, 31], 90, "choice"), T.RandomFlip(0.5)],
    [T.RandomFlip(1.0), T.ResizeShortestEdge(64, 90)],
    [T.RandomCrop("relative", (0.5, 0.5)), T.ResizeShortestEdge(64, 90), T.RandomFlip(1.0)],
    [T.ResizeShortestEdge(64, 90), T.RandomFlip(1.0), T.RandomContrast(0.5, 1.5)],
    [T.ResizeScale(0.3, 2.0, 64, 64), Window(64, 114), T.RandomFlip(0.5)],
    [Square(50, 96, 0), T.RandomBrightness(0.5, 1.5), T.RandomFlip(0.5)],
)


@pytest.fixture
def pixels():
    coarse = np.random.default_rng(0).integers(0, 256, (9, 14, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(SIZE[::-1], Image.Resampling.BICUBIC)


def read(path, *how):
    return decode_frame(Path(path).read_bytes(), *how)


def save(image, path, **words):
    image.save(path, **words)
    return str(path)


@pytest.mark.parametrize("steps", STEPS, ids=range(len(STEPS)))
@pytest.mark.parametrize("image_format", ["BGR", "RGB"])
def test_every_pixel_is_detectron2_s(pixels, tmp_path, steps, image_format):
    path = save(pixels, tmp_path / "a.jpg", quality=80)
    for seed in range(4):
        with seeded(seed):
            stock = T.AugInput(utils.read_image(path, image_format))
            T.AugmentationList(steps)(stock)
        with seeded(seed):
            ours = read(path, image_format)
            T.AugmentationList(steps)(ours)
        np.testing.assert_array_equal(ours.image, stock.image)
        planes = torch.from_numpy(np.ascontiguousarray(stock.image.transpose(2, 0, 1)))
        assert torch.equal(ours.to_planes(), planes)
        assert ours.to_planes().is_contiguous()


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("words", [{}, {"progressive": True}, {"optimize": True}])
def test_a_jpeg_of_any_kind_has_detectron2_s_pixels(pixels, tmp_path, subsampling, words):
    path = save(pixels, tmp_path / "a.jpg", quality=90, subsampling=subsampling, **words)
    np.testing.assert_array_equal(read(path, "BGR").image, utils.read_image(path, "BGR"))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_colours_are_read_as_detectron2_reads_them(pixels, tmp_path, mode):
    path = save(pixels.convert(mode), tmp_path / "a.jpg")
    np.testing.assert_array_equal(read(path, "BGR").image, utils.read_image(path, "BGR"))


@pytest.mark.parametrize("orientation", range(2, 9))
def test_an_image_is_turned_as_its_camera_says(pixels, tmp_path, orientation):
    exif = pixels.getexif()
    exif[274] = orientation
    path = save(pixels, tmp_path / "a.jpg", exif=exif)
    found = read(path, "BGR").image
    np.testing.assert_array_equal(found, utils.read_image(path, "BGR"))
    assert (found.shape[0] > found.shape[1]) == (orientation >= 5)


def test_a_png_and_another_format_are_read_too(pixels, tmp_path):
    path = save(pixels, tmp_path / "a.png")
    np.testing.assert_array_equal(read(path, "BGR").image, utils.read_image(path, "BGR"))
    assert read(path, "L").to_planes().shape == (1, *SIZE)


def test_half_a_jpeg_cannot_be_read(pixels, tmp_path):
    path = tmp_path / "a.jpg"
    save(pixels, path)
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(OSError):
        read(path, "BGR")


@pytest.mark.parametrize("side", [20, 31, 64, 150])
def test_fast_resizing_is_pillow_s_but_for_the_last_bit(pixels, tmp_path, side):
    path = save(pixels, tmp_path / "a.jpg", quality=80)
    steps = T.AugmentationList([T.ResizeShortestEdge(side, 400), T.RandomFlip(1.0)])
    exact, fast = (read(path, "BGR", one) for one in (resize_exactly, resize_fast))
    for one in (exact, fast):
        steps(one)
    gaps = (exact.to_planes().int() - fast.to_planes().int()).abs()
    assert gaps.max() <= 1 and gaps.float().mean() < 0.02


def test_an_image_made_by_a_step_of_one_s_own_is_kept():
    frame = Frame(np.zeros((4, 5, 3), np.uint8))
    frame.image = frame.image + 1
    assert frame.to_planes().float().mean() == 1
