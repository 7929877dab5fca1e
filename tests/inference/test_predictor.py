import numpy as np
import pytest
from raising import refused

from oiv5_d2.inference.predictor import Predictor
from oiv5_d2.inference.slices import Slices
from oiv5_d2.inference.sources import read_picture
from oiv5_d2.problems import Kind

EVERYTHING = {"MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.0}


@pytest.fixture(scope="module")
def predictor(run_dir):
    return Predictor.from_run(run_dir, thresholds=0.0, changes=EVERYTHING)


def test_detections_are_of_the_image_best_first(predictor, images_dir):
    image = read_picture(images_dir / "a.jpg")
    found = predictor(image)
    assert found and {one.class_name for one in found} <= set(predictor.classes)
    scores = [one.score for one in found]
    assert scores == sorted(scores, reverse=True) and 0 <= scores[-1] <= scores[0] <= 1
    for one in found:
        x0, y0, x1, y1 = one.box
        assert 0 <= x0 <= x1 <= 80 and 0 <= y0 <= y1 <= 48
        assert one.mask.shape == (48, 80) and one.mask.dtype == bool


def test_several_images_at_a_time_give_what_each_gives(predictor, images_dir):
    images = [read_picture(images_dir / name) for name in ("a.jpg", "b.png")]
    together = predictor.predict(images)
    for image, found in zip(images, together, strict=True):
        alone = predictor(image)
        assert [one.class_name for one in alone] == [one.class_name for one in found]
        np.testing.assert_allclose(
            [one.box for one in alone], [one.box for one in found], atol=1e-3
        )


def test_a_class_has_its_own_threshold(run_dir, images_dir):
    image = read_picture(images_dir / "a.jpg")
    thresholds = {"Person": 1.1, "Car": 0.0}
    found = Predictor.from_run(run_dir, thresholds=thresholds, changes=EVERYTHING)(image)
    assert found and "Person" not in {one.class_name for one in found}


def test_a_large_image_is_seen_in_pieces_and_its_masks_are_the_images(run_dir):
    image = np.random.default_rng(0).integers(0, 255, (70, 120, 3), dtype=np.uint8)
    sliced = Predictor.from_run(run_dir, thresholds=0.0, slices=Slices(64), changes=EVERYTHING)(
        image
    )
    assert any(one.box[0] > 70 for one in sliced)
    for one in sliced:
        assert one.mask.shape == (70, 120)
        ys, xs = np.nonzero(one.mask)
        if len(xs):
            assert one.box[0] - 1 <= xs.min() and xs.max() <= one.box[2] + 1
            assert one.box[1] - 1 <= ys.min() and ys.max() <= one.box[3] + 1


def test_weights_that_are_not_there_are_told(run_dir):
    with refused(Kind.ABSENT, key="weights"):
        Predictor.from_run(run_dir, weights="model_0000099.pth")
