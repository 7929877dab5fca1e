import numpy as np
import pytest

from oiv5_d2.synthetic.annotations import MIDS
from oiv5_d2.synthetic.scenery.canvas import Canvas, Pen
from oiv5_d2.synthetic.scenery.cast import BILLBOARD, CROWD, PLACERS
from oiv5_d2.synthetic.scenes import HIDDEN, SMALLEST, Scene, draw_scene

HEIGHT, WIDTH = 72, 96


def scene_of(seed: int, *wanted: str) -> Scene:
    return draw_scene(np.random.default_rng(seed), HEIGHT, WIDTH, wanted)


def test_the_same_generator_state_draws_the_same_scene():
    first, second = scene_of(3), scene_of(3)
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.owners, second.owners)
    assert first.things == second.things


def test_another_seed_draws_another_scene():
    assert not np.array_equal(scene_of(3).image, scene_of(4).image)


@pytest.mark.parametrize(("height", "width"), [SMALLEST, (72, 96), (96, 72), (210, 201)])
def test_a_picture_has_the_size_asked_for(height, width):
    scene = draw_scene(np.random.default_rng(0), height, width)
    assert scene.image.shape == (height, width, 3)
    assert scene.image.dtype == np.uint8
    assert scene.mask(scene.things[0], 31, 47).shape == (31, 47)


def test_too_small_a_picture_is_refused():
    with pytest.raises(ValueError):
        draw_scene(np.random.default_rng(0), 16, 96)


def test_masks_of_a_scene_do_not_overlap_and_fill_their_boxes():
    for seed in range(6):
        scene = scene_of(seed)
        height, width = scene.owners.shape
        masks = [scene.mask(thing, height, width) for thing in scene.things]
        assert np.sum(masks, axis=0).max() <= 1
        for thing, mask in zip(scene.things, masks, strict=True):
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            tight = (columns[0] / width, rows[0] / height)
            assert thing.box[:2] == pytest.approx(tight)
            tight = ((columns[-1] + 1) / width, (rows[-1] + 1) / height)
            assert thing.box[2:] == pytest.approx(tight)


def test_things_are_annotated_only_while_enough_of_them_is_visible():
    shares = [thing.visible for seed in range(12) for thing in scene_of(seed).things]
    assert HIDDEN <= min(shares) < 1.0
    assert max(shares) == 1.0


@pytest.mark.parametrize("label", sorted(MIDS.keys() & PLACERS.keys()))
def test_a_wanted_label_is_in_the_scene(label):
    # One after the other, some other things may hide it: three scenes are asked.
    labels = {thing.label for seed in range(3) for thing in scene_of(seed, label).things}
    assert label in labels


def test_a_crowd_is_one_group_and_a_billboard_a_depiction():
    groups = [t for seed in range(3) for t in scene_of(seed, CROWD).things if t.is_group]
    assert {thing.label for thing in groups} == {"Person"}
    depicted = [t for s in range(3) for t in scene_of(s, BILLBOARD).things if t.is_depiction]
    assert {thing.label for thing in depicted} <= {"Person", "Man", "Woman", "Boy", "Girl"}
    assert depicted


def test_what_goes_on_beyond_the_edge_is_truncated():
    for seed in range(12):
        for thing in scene_of(seed).things:
            if thing.is_truncated and thing.visible == 1.0:
                x0, y0, x1, y1 = thing.box
                assert x0 < 0.02 or y0 < 0.02 or x1 > 0.98 or y1 > 0.98


def test_nearer_things_cover_farther_ones_on_the_canvas():
    canvas = Canvas.blank(20, 30)
    far, near = (Pen(canvas, 15, 10, 1.0, owner) for owner in (1, 2))
    far.box(-10, -5, 10, 5, (255, 0, 0))
    near.box(0, -5, 10, 5, (0, 255, 0))
    assert canvas.owners[10, 8] == 1
    assert canvas.owners[10, 20] == 2
    assert canvas.extents[1] == [5.0, 5.0, 25.0, 15.0]


def test_a_mirrored_pen_swaps_left_and_right():
    canvas = Canvas.blank(20, 30)
    Pen(canvas, 15, 10, 1.0, 1, mirror=-1.0).box(2, 0, 8, 4, (9, 9, 9))
    columns = np.flatnonzero((canvas.owners == 1).any(0))
    assert (columns[0], columns[-1]) == (7, 13)
