import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from raising import refused

from oiv5_d2.drawing.shapes import Shape
from oiv5_d2.drawing.sheets import Cell
from oiv5_d2.problems import Kind
from oiv5_d2.reporting.gallery import (
    CELL,
    as_fed,
    as_prepared,
    describe,
    legend,
    pick,
    sample,
    write_jpeg,
    write_sheets,
)

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")


def ids(images):
    return [image.record["id"] for image in images]


def test_a_default_choice_shows_every_class_and_oddity(part):
    chosen = ids(pick(part, 4, seed=0, classes=[], image_ids=[]))
    assert {2, 4, 5, 6} == set(chosen)  # no mask, the only light, group of, nothing at all


def test_classes_narrow_the_choice(part):
    assert ids(pick(part, 10, seed=0, classes=["Traffic light"], image_ids=[])) == [4]


def test_named_images_are_taken_as_they_are(part):
    assert ids(pick(part, 1, seed=0, classes=[], image_ids=["3", "1"])) == [1, 3]


def test_an_unknown_class_is_named_with_those_there_are(part):
    with refused(Kind.SETTING, key="classes", about="Bus") as caught:
        pick(part, 1, seed=0, classes=["Bus"], image_ids=[])
    assert "Person, Car" in caught.value.detail


def test_cells_are_drawn_images_with_what_is_on_them(part):
    (cell,) = as_prepared(part, pick(part, 1, seed=0, classes=[], image_ids=["2"]))
    assert cell.image.shape[1] == CELL[1] and cell.image.shape[0] <= CELL[0]
    assert (cell.caption, cell.detail) == ("0000000000000002", "Person 1, Car 1; ignored 1")


def test_fed_rows_hold_the_image_and_its_draws(part):
    images = pick(part, 2, seed=0, classes=[], image_ids=["1", "2"])
    asked = []

    def feed(image, num_draws):
        asked.append((image.record["id"], num_draws))
        return [(np.zeros((30, 40, 3), np.uint8), [])] * num_draws

    cells = list(as_fed(part, images, feed, columns=3))
    assert asked == [(1, 2), (2, 2)] and len(cells) == 6
    assert cells[1].caption == "as fed, 1: 40 x 30 px" and cells[1].detail == "no object"


def test_many_cells_become_several_sheets(part, tmp_path):
    cells = [Cell(np.zeros((*CELL, 3), np.uint8), str(i), "") for i in range(25)]
    paths = write_sheets(cells, part, "as prepared", 4, tmp_path / "out" / "train.jpg")
    assert [path.name for path in paths] == ["train_1.jpg", "train_2.jpg"]
    with Image.open(paths[0]) as sheet:
        assert sheet.size[0] > 4 * CELL[1] and sheet.size[1] > 6 * CELL[0]


def test_the_same_images_give_the_same_bytes(part, tmp_path):
    images = pick(part, 3, seed=0, classes=[], image_ids=[])
    for name in ("a.jpg", "b.jpg"):
        write_sheets(list(as_prepared(part, images)), part, "kind", 2, tmp_path / name)
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "b.jpg").read_bytes()


def test_the_legend_counts_the_whole_part(part):
    assert [e.text for e in legend(part)] == [
        "Person  5",
        "Car  5",
        "Traffic light  1",
        "ignored  2",
    ]


def test_what_an_image_shows_is_listed_most_frequent_first():
    car, person = Shape("Car", (0, 0, 1, 1)), Shape("Person", (0, 0, 1, 1))
    assert describe([person, car, car]) == "Car 2, Person 1"
    assert describe([car._replace(ignored=True)]) == "no object; ignored 1"


def test_an_image_is_written_within_its_bytes(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (200, 300, 3), dtype=np.uint8)
    write_jpeg(tmp_path / "free.jpg", noise)
    free = (tmp_path / "free.jpg").stat().st_size
    write_jpeg(tmp_path / "bound.jpg", noise, max_bytes=free * 3 // 4)
    assert (tmp_path / "bound.jpg").stat().st_size <= free * 3 // 4
    write_jpeg(tmp_path / "least.jpg", noise, max_bytes=1)  # as small as it gets, but there
    with Image.open(tmp_path / "least.jpg") as image:
        assert image.size == (300, 200)


TRAITS = st.dictionaries(
    st.integers(1, 10**6), st.frozensets(st.sampled_from("abcdefgh"), min_size=1), max_size=40
)


@given(TRAITS, st.integers(0, 50), st.integers(0, 3))
def test_a_choice_is_sorted_distinct_of_the_wanted_number_and_repeatable(traits, number, seed):
    chosen = sample(traits, number, seed)
    assert chosen == sorted(set(chosen)) and set(chosen) <= set(traits)
    assert len(chosen) == min(number, len(traits))
    assert chosen == sample(dict(reversed(traits.items())), number, seed)


@given(TRAITS, st.integers(0, 3))
def test_enough_images_show_every_trait(traits, seed):
    seen = frozenset().union(*(traits[id_] for id_ in sample(traits, 8, seed)))
    assert seen == frozenset().union(*traits.values())


def test_the_rarest_trait_comes_first():
    traits = {i: frozenset({"car"}) for i in range(100)} | {200: frozenset({"light"})}
    assert sample(traits, 1, seed=0) == [200]


def test_another_seed_gives_other_images():
    traits = {i: frozenset({"car"}) for i in range(100)}
    assert sample(traits, 10, seed=0) != sample(traits, 10, seed=1)
