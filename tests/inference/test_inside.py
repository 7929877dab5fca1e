import numpy as np
import pytest
import torch
from PIL import Image
from raising import refused

from oiv5_d2.drawing.colours import colours_of
from oiv5_d2.inference.inside import look_inside
from oiv5_d2.inference.predictor import Predictor
from oiv5_d2.inference.sources import find_pictures, read_picture
from oiv5_d2.inference.strip import draw_strip, write_strips
from oiv5_d2.jobs import unseen
from oiv5_d2.problems import Kind
from oiv5_d2.training.models import load_cfg, load_model

# isort: split
from detectron2.layers.mask_ops import paste_masks_in_image
from detectron2.structures import Boxes, pairwise_iou

CLASSES = ["Person", "Car", "Traffic light"]
EVERYTHING = {"MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.0}
LEVELS = {"p2": 4, "p3": 8, "p4": 16, "p5": 32, "p6": 64}


@pytest.fixture(scope="module")
def model(run_dir):
    cfg = load_cfg(run_dir, run_dir / "model_final.pth", None, EVERYTHING)
    return load_model(cfg).eval()


@pytest.fixture(scope="module")
def predictor(run_dir, model):
    cfg = load_cfg(run_dir, run_dir / "model_final.pth", None, EVERYTHING)
    return Predictor(cfg, model, CLASSES, {})


@pytest.fixture
def image(images_dir):
    """48 x 80; the model sees it at 64 x 107."""
    return read_picture(images_dir / "a.jpg")


@pytest.fixture
def inside(model, predictor, image):
    return look_inside(model, predictor.to_input(image), [0.0] * 3, most=10)


def test_the_last_step_is_what_the_model_finds(inside, predictor, image):
    found = predictor.to_detections(inside.found)
    expected = predictor(image)
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        assert (one.class_name, one.score) == (other.class_name, other.score)
        np.testing.assert_allclose(one.box, other.box, atol=1e-4)
        np.testing.assert_array_equal(one.mask, other.mask)


def test_each_step_has_boxes_of_the_image_and_what_they_are_about(inside):
    num_anchors = sum(3 * -(-96 // stride) * -(-128 // stride) for stride in LEVELS.values())
    assert inside.anchors.total == inside.refined.total
    assert num_anchors * 0.5 < inside.anchors.total < num_anchors * 2
    assert len(inside.refined.boxes) == len(inside.proposals.boxes) == 10
    assert 10 <= inside.proposals.total <= 20
    for step in (inside.refined, inside.proposals):
        assert (step.boxes >= -1e-3).all() and (step.boxes <= [80.5, 48.5] * 2).all()
        assert set(step.about.tolist()) <= {-1, *range(len(inside.found))}


def test_a_matched_anchor_is_about_the_object_that_it_overlaps_most(inside):
    anchors = Boxes(torch.from_numpy(inside.anchors.boxes))
    overlap = pairwise_iou(inside.found.pred_boxes, anchors).numpy()
    about = overlap[inside.anchors.about, np.arange(len(anchors))]
    assert len(anchors) > 0 and (about > 0).all()
    np.testing.assert_allclose(about, overlap.max(axis=0), atol=0.02)  # sides are rounded


def test_the_best_anchors_moved_are_what_goes_into_nms(inside):
    """The first proposal is the best box of all: NMS removes only what is worse."""
    np.testing.assert_allclose(inside.refined.boxes[0], inside.proposals.boxes[0], atol=1e-3)


def test_activations_are_of_the_image_without_its_padding(inside):
    assert inside.strides == LEVELS
    shapes = {name: one.shape for name, one in inside.activations.items()}
    assert shapes["p2"] == (16, 27) and shapes["p5"] == (2, 4)
    assert all((one >= 0).all() for one in inside.activations.values())


def test_masks_before_resizing_are_those_that_are_resized(inside):
    small = torch.from_numpy(inside.small_masks)
    assert ((small >= 0) & (small <= 1)).all()
    pasted = paste_masks_in_image(small, inside.found.pred_boxes, (48, 80), 0.5)
    assert len(pasted) and torch.equal(pasted, inside.found.pred_masks)


def test_nothing_found_is_no_error(model, predictor, image):
    inside = look_inside(model, predictor.to_input(image), [1.1] * 3)
    assert len(inside.found) == len(inside.anchors.boxes) == 0
    assert (inside.proposals.about == -1).all()
    strip = draw_strip("a", image, inside, [], colours_of(CLASSES))
    assert strip.shape[1] > 5 * 500


def test_a_strip_an_image_is_written(model, predictor, images_dir, tmp_path):
    thresholds = dict.fromkeys(CLASSES, 0.0)
    pictures = find_pictures(str(images_dir / "more"))
    (path,) = write_strips(model, predictor, pictures, thresholds, tmp_path / "out", unseen)
    assert path == tmp_path / "out" / "a.jpg"
    with Image.open(path) as strip:
        assert strip.width > 6 * 500 and strip.height > 2 * 300


def test_another_kind_of_model_is_refused():
    with refused(Kind.UNSUPPORTED):
        look_inside(torch.nn.Identity(), {}, [0.5])
