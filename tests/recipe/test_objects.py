import json

import numpy as np
import pytest
from raising import refused

from oiv5_d2.problems import Kind
from oiv5_d2.recipe.objects import in_model, read_objects
from oiv5_d2.runs.prepared import Prepared

CLASSES = ("Person", "Car")


def box(image_id, category_id, bbox, iscrowd=0):
    found = {"image_id": image_id, "category_id": category_id, "bbox": bbox, "iscrowd": iscrowd}
    return {"id": 1, **found}


@pytest.fixture
def write(tmp_path):
    def write_part(name, annotations, num_images=3):
        images = [
            {"id": i, "file_name": f"{i}.jpg", "height": 10 * i, "width": 100}
            for i in range(1, num_images + 1)
        ]
        categories = [{"id": 2, "name": "Person"}, {"id": 7, "name": "Car"}]
        content = {"images": images, "annotations": annotations, "categories": categories}
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(content))
        return Prepared(name, path, tmp_path)

    return write_part


def test_images_without_objects_and_ignored_regions_do_not_count(write):
    first = write("a", [box(1, 7, [0, 1, 2, 3]), box(2, 2, [0, 0, 9, 9], iscrowd=1)])
    second = write("b", [box(3, 2, [4, 5, 6, 7]), box(3, 7, [1, 1, 1, 1])])
    found = read_objects([first, second], CLASSES)
    assert found.sizes.tolist() == [[10, 100], [30, 100]]
    assert found.boxes.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [1, 1, 1, 1]]
    assert found.image_of.tolist() == [0, 1, 1] and found.class_of.tolist() == [1, 0, 1]
    assert found.per_image().tolist() == [[0, 1], [1, 1]]


def test_data_of_other_classes_or_without_objects_is_refused(write):
    with refused(Kind.MISMATCH, key="data.classes"):
        read_objects([write("a", [box(1, 7, [0, 1, 2, 3])])], ("Car", "Person"))
    with refused(Kind.EMPTY):
        read_objects([write("b", [])], CLASSES)


def test_boxes_are_scaled_as_detectron2_scales_images(objects):
    found = objects([[10, 20, 30, 40]], size=(480, 640))
    np.testing.assert_allclose(in_model(found, 240, 1000), [[5, 10, 15, 20]])
    np.testing.assert_allclose(in_model(found, 480, 320), [[5, 10, 15, 20]])


def test_the_scale_is_that_of_detectron2(objects):
    from oiv5_d2.training import compat  # noqa: F401

    from detectron2.data.transforms import ResizeShortestEdge  # isort: skip

    for height, width, short, longest in [(427, 640, 160, 256), (300, 1200, 200, 400)]:
        image = np.zeros((height, width, 3), np.uint8)
        transform = ResizeShortestEdge(short, longest).get_transform(image)
        (found,) = in_model(objects([[0, 0, width, height]], size=(height, width)), short, longest)
        np.testing.assert_allclose(found[2:], [transform.new_w, transform.new_h], atol=1)
