import numpy as np
import pytest

from oiv5_d2.reporting.augmented import build_feed
from oiv5_d2.reporting.truth import read_images
from oiv5_d2.runs.prepared import Prepared
from oiv5_d2.training.catalog import register

from detectron2.config import CfgNode, get_cfg  # isort: skip

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
    pytest.mark.usefixtures("clean_catalog"),
]
CLASSES = ["Person", "Car", "Traffic light"]


@pytest.fixture
def image(street):
    path = street.coco_path("train")
    register([Prepared("street_train", path, street.data_dir / "images")], CLASSES)
    (image,) = read_images(path, [2])
    return image


def build_cfg(**settings):
    cfg = get_cfg()
    cfg.MODEL.MASK_ON = True
    cfg.INPUT.MASK_FORMAT = "bitmask"
    cfg.INPUT.MIN_SIZE_TRAIN = (120,)
    for key, value in settings.items():
        cfg.INPUT[key] = value
    return cfg


def test_images_come_as_training_gets_them_without_ignored_regions(image):
    feed = build_feed(build_cfg(), {}, "street_train", CLASSES, seed=0)
    draws = feed(image, 2)
    assert len(draws) == 2
    for image, shapes in draws:
        assert image.shape == (120, 180, 3) and image.dtype == np.uint8
        assert [shape.tag for shape in shapes] == ["Person", "Car"]
        assert shapes[0].mask.shape == (120, 180)


def test_a_mask_lies_on_its_object(image):
    feed = build_feed(build_cfg(), {}, "street_train", CLASSES, seed=0)
    for pixels, (person, _) in feed(image, 4):  # flipped or not
        inside, outside = pixels[person.mask], pixels[~person.mask]
        assert np.abs(np.median(inside, axis=0) - np.median(outside, axis=0)).sum() > 20
        assert inside.std(axis=0).max() < 25


def test_draws_follow_the_seed(image):
    feeds = [build_feed(build_cfg(), {}, "street_train", CLASSES, seed) for seed in (0, 0)]
    for one, other in zip(feeds[0](image, 4), feeds[1](image, 4), strict=True):
        np.testing.assert_array_equal(one[0], other[0])


def test_a_flip_is_seen(image):
    cfg = build_cfg(RANDOM_FLIP="horizontal")
    draws = build_feed(cfg, {}, "street_train", CLASSES, seed=0)(image, 12)
    lefts = {round(shapes[0].box[0]) for _, shapes in draws}
    assert lefts == {10, 180 - 50}


def test_regions_are_shown_as_ignored_and_boxes_without_their_masks(image):
    cfg = build_cfg(RANDOM_FLIP="none")
    ((_, stock),) = build_feed(cfg, {}, "street_train", CLASSES, seed=0)(image, 1)
    cfg.ANNOTATION = CfgNode({"boxes": False})
    ((_, regions),) = build_feed(cfg, {}, "street_train", CLASSES, seed=0)(image, 1)
    ignored = [shape for shape in regions if shape.ignored]
    assert len(regions) == len(stock) + len(ignored) == len(image.annotations)
    assert len(ignored) == len(image.ignored) > 0
    assert all(shape.mask is not None for shape in regions)
    cfg.ANNOTATION.boxes = True
    ((_, boxes),) = build_feed(cfg, {}, "street_train", CLASSES, seed=0)(image, 1)
    reasons = [one["ignore_reason"] for one in image.ignored]
    assert sum(shape.mask is None for shape in boxes) == reasons.count("no mask")
