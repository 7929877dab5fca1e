import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from oiv5_d2.drawing import shapes as drawing
from oiv5_d2.drawing.colours import colours_of
from oiv5_d2.drawing.shapes import Shape, fit

COLOURS = colours_of(["Person", "Car"])


def draw(image, shapes, room=None):
    return drawing.draw(image, shapes, COLOURS, room or image.shape[:2])


def grey(height, width):
    return np.full((height, width, 3), 120, dtype=np.uint8)


def disc(height, width, centre, radius):
    y, x = np.ogrid[:height, :width]
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2


def shape(mask, **settings):
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    return Shape("Person", box, mask, **settings)


def changed(before, after):
    return (before != after).any(axis=2)


def test_every_pixel_of_a_mask_changes_and_none_outside_its_box():
    image, mask = grey(90, 140), disc(90, 140, (40, 70), 25)
    drawn = draw(image, [shape(mask)])
    touched = changed(image, drawn)
    assert touched[mask].all()
    box = np.zeros_like(mask)
    box[15:66, 45:96] = True
    assert not touched[~box].any()
    interior = np.s_[17:64, 47:94]  # within the box's line nothing but the mask changes
    np.testing.assert_array_equal(touched[interior], mask[interior])


def test_the_outline_is_stronger_than_the_fill():
    image, mask = grey(90, 140), disc(90, 140, (40, 70), 25)
    drawn = draw(image, [shape(mask)]).astype(int)
    distance = np.abs(drawn - COLOURS["Person"]).sum(axis=2)
    assert distance[40, 70 - 25] < distance[40, 70] < np.abs(image[0, 0] - [20, 130, 250]).sum()


def test_the_input_is_left_alone():
    image, mask = grey(60, 80), disc(60, 80, (30, 40), 10)
    draw(image, [shape(mask, tag="Person")])
    assert (image == 120).all() and mask.sum() == disc(60, 80, (30, 40), 10).sum()


def test_an_ignored_region_is_hatched_in_grey_without_a_class_colour():
    image, mask = grey(90, 140), np.zeros((90, 140), dtype=bool)
    mask[20:70, 30:100] = True
    drawn = draw(image, [shape(mask, ignored=True)])
    touched = changed(image, drawn)
    assert touched[mask].all() and not touched[~mask].any()
    spread = drawn.astype(int).max(axis=2) - drawn.astype(int).min(axis=2)
    assert spread.max() <= 8  # grey stays grey
    stripes = drawn[40, 35:95, 0]
    assert stripes.max() - stripes.min() > 30


def test_a_box_without_a_mask_is_a_frame():
    image = grey(60, 80)
    touched = changed(image, draw(image, [Shape("Car", (10.0, 5.0, 30.0, 25.0))]))
    assert touched[5, 10:30].all() and touched[24, 10:30].all() and not touched[7:22, 12:28].any()


def test_a_small_object_lies_above_a_large_one():
    image = grey(90, 140)
    large, small = disc(90, 140, (45, 70), 40), disc(90, 140, (45, 70), 6)
    shapes = [shape(small)._replace(class_name="Car"), shape(large)]
    drawn = draw(image, shapes)
    np.testing.assert_array_equal(drawn, draw(image, shapes[::-1]))
    assert drawn[45, 70, 0] > drawn[45, 70 - 30, 0]  # redder by the car's orange


def test_drawing_smaller_keeps_the_object_in_its_place():
    image, mask = grey(200, 400), disc(200, 400, (100, 300), 40)
    drawn = draw(image, [shape(mask)], room=(50, 100))
    assert drawn.shape == (50, 100, 3)
    touched = changed(grey(50, 100), drawn)
    assert touched[25, 75] and not touched[:, :60].any() and not touched[:13].any()


def test_drawing_larger_keeps_the_object_in_its_place():
    image, mask = grey(50, 100), disc(50, 100, (25, 75), 10)
    drawn = draw(image, [shape(mask)], room=(500, 200))
    assert drawn.shape == (100, 200, 3)
    touched = changed(grey(100, 200), drawn)
    assert touched[50, 150] and not touched[:, :120].any() and not touched[:26].any()


def test_an_object_outside_or_empty_does_no_harm():
    empty = np.zeros((60, 80), dtype=bool)
    image = grey(60, 80)
    drawn = draw(image, [Shape("Car", (0.0, 0.0, 0.0, 0.0), empty, "Car")])
    assert drawn.shape == image.shape


@given(st.tuples(*[st.integers(1, 3000)] * 2), st.tuples(*[st.integers(10, 500)] * 2))
def test_a_fitted_image_fills_its_cell_in_one_direction_and_overflows_in_none(size, cell):
    height, width = fit(size, cell)
    assert 1 <= height <= cell[0] and 1 <= width <= cell[1]
    assert height == cell[0] or width == cell[1]
