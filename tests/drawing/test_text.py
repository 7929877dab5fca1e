import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from oiv5_d2.drawing.colours import PALETTE
from oiv5_d2.drawing.text import Tag, draw_tags, overlap, place_tags, text_size

HEIGHT, WIDTH = 240, 320


@st.composite
def boxes(draw):
    x, y = draw(st.floats(0, WIDTH - 10)), draw(st.floats(0, HEIGHT - 10))
    return (x, y, draw(st.floats(x + 2, WIDTH)), draw(st.floats(y + 2, HEIGHT)))


def test_a_tag_sits_above_its_object_where_there_is_room():
    (place,) = place_tags([Tag("Person", (100.0, 100.0, 150.0, 200.0), PALETTE[0])], HEIGHT, WIDTH)
    assert place.box[3] <= 100 and place.box[0] == 100


def test_a_tag_at_the_top_edge_stays_in_the_image():
    (place,) = place_tags([Tag("Person", (300.0, 0.0, 320.0, 200.0), PALETTE[0])], HEIGHT, WIDTH)
    assert place.box[1] >= 0 and place.box[2] <= WIDTH


def test_a_tag_gives_way_to_a_small_object_above():
    above = Tag("", (100.0, 80.0, 130.0, 98.0), PALETTE[1])
    tags = [Tag("Person", (100.0, 100.0, 150.0, 200.0), PALETTE[0]), above]
    (place,) = place_tags(tags, HEIGHT, WIDTH)
    assert overlap(place.box, above.box) == 0


@given(st.lists(boxes(), max_size=12))
def test_no_tag_covers_another_or_leaves_the_image(found):
    tags = [
        Tag("Traffic light", box, PALETTE[i % 4], minor=i % 3 == 0) for i, box in enumerate(found)
    ]
    placed = [place.box for place in place_tags(tags, HEIGHT, WIDTH)]
    for x0, y0, x1, y1 in placed:
        assert 0 <= x0 < x1 <= WIDTH and 0 <= y0 < y1 <= HEIGHT
    for one, other in itertools.combinations(placed, 2):
        smaller = min((b[2] - b[0]) * (b[3] - b[1]) for b in (one, other))
        assert overlap(one, other) <= 0.05 * smaller


def test_only_the_tag_is_painted():
    image = np.full((HEIGHT, WIDTH, 3), 90, dtype=np.uint8)
    tags = [Tag("Car", (100.0, 100.0, 150.0, 200.0), PALETTE[1])]
    (place,) = place_tags(tags, HEIGHT, WIDTH)
    touched = (draw_tags(image, tags) != image).any(axis=2)
    rows, columns = np.flatnonzero(touched.any(1)), np.flatnonzero(touched.any(0))
    x0, y0, x1, y1 = place.box
    assert touched.any()
    assert x0 - 1 <= columns[0] and columns[-1] <= x1 + 1
    assert y0 - 1 <= rows[0] and rows[-1] <= y1 + 1


def test_letters_grow_with_the_image():
    assert text_size(200, 300) < text_size(700, 900)
