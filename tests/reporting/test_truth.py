import json

import numpy as np
import pytest
from PIL import Image
from raising import refused

from oiv5_d2.conversion import masks
from oiv5_d2.conversion.image_store import Images
from oiv5_d2.problems import Kind, Remedy
from oiv5_d2.reporting.truth import (
    AnnotatedImage,
    find_ids,
    open_part,
    read_image,
    read_images,
    read_label_names,
    to_shapes,
)

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")


def test_a_survey_counts_objects_apart_from_ignored_regions(street):
    part = open_part(street.prepared("train"))
    assert part.num_objects == {"Person": 5, "Car": 5, "Traffic light": 1}
    assert part.num_ignored == 2 and len(part.traits) == 6


def test_a_survey_notes_children_reasons_and_empty_images(street):
    traits = open_part(street.prepared("train")).traits
    assert {"Person", "Car", "label /m/03bt1vf", "ignored: no mask"} <= traits[2]
    assert "ignored: group of" in traits[5] and traits[6] == {"nothing"}


def test_only_wanted_images_are_read_with_all_that_is_on_them(street):
    images = read_images(street.coco_path("train"), [5, 2])
    assert [p.record["id"] for p in images] == [2, 5]
    assert [len(p.annotations) for p in images] == [3, 3]


def test_images_are_found_by_either_id(street):
    assert find_ids(street.coco_path("train"), ["0000000000000003", "5", 4]) == [3, 5, 4]


def test_an_unknown_image_is_named(street):
    with refused(Kind.ABSENT, key="image_ids part", about="ffff, 77"):
        find_ids(street.coco_path("train"), ["5", "ffff", 77])


def test_shapes_carry_class_child_and_reason(street):
    part = open_part(street.prepared("train"))
    (image,) = read_images(part.coco_path, [2])
    person, car, ignored = to_shapes(part, image)
    assert (person.tag, car.tag, ignored.tag) == ("Person (Woman)", "Car", "no mask")
    assert ignored.ignored and not car.ignored
    assert person.box == (5, 5, 25, 55)
    expected = masks.decode(image.annotations[0]["segmentation"])
    np.testing.assert_array_equal(person.mask, expected)


def test_without_names_a_tag_is_the_class(street):
    part = open_part(street.prepared("train"))._replace(label_names={})
    (image,) = read_images(part.coco_path, [1])
    shapes = to_shapes(part, image)
    assert [shape.tag for shape in shapes] == ["Person", "Car"]


def test_label_names_of_a_folder_without_a_subset_are_none(tmp_path):
    assert read_label_names(tmp_path / "train.json") == {}


def test_label_names_are_found_wherever_the_subset_lists_them(tmp_path):
    path = tmp_path / "train.json"
    path.write_text(json.dumps({"a": [1], "b": {"c": {"Man": {"mid": "/m/04yx4", "masks": 2}}}}))
    assert read_label_names(path) == {"/m/04yx4": "Man"}


def test_a_missing_image_is_named_with_the_remedy(street):
    with refused(Kind.ABSENT, remedy=Remedy.PREPARE, about="none.jpg"):
        read_image(
            open_part(street.prepared("train")), AnnotatedImage({"file_name": "none.jpg"}, [])
        )


def test_a_damaged_image_is_named_with_the_remedy(street, tmp_path):
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n")
    part = open_part(street.prepared("train"))._replace(images=Images(tmp_path))
    with refused(Kind.DAMAGED, remedy=Remedy.PREPARE_AGAIN, about=tmp_path / "cut.png"):
        read_image(part, AnnotatedImage({"file_name": "cut.png"}, []))


def test_a_grey_image_is_read_as_colour(street, tmp_path):
    part = open_part(street.prepared("train"))._replace(images=Images(tmp_path))
    Image.new("L", (8, 5), 77).save(tmp_path / "grey.png")
    assert read_image(part, AnnotatedImage({"file_name": "grey.png"}, [])).shape == (5, 8, 3)
