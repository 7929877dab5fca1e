import json

import numpy as np
import pytest

from oiv5_d2.exploring import truth
from oiv5_d2.exploring.sources import find_parts
from oiv5_d2.jobs import unseen
from oiv5_d2.problems import Kind, Problem


def test_an_image_is_described_with_all_that_its_file_says(album):
    about = album.describe(0, 400)
    woman, car = about["layers"]["truth"]
    assert about["record"]["author"] == "Ann Other" and about["size"] == [80.0, 60.0]
    assert about["findings"] == ["mask far from its box"]
    assert (woman["child"], woman["flags"], woman["area"]) == ("Woman", ["occluded"], 100)
    assert woman["path"].startswith("M4.5,2.5L") and woman["box"] == [4.0, 2.0, 10.0, 10.0]
    assert car["record"]["predicted_iou"] == 0.75 and car["findings"] == ["mask far from its box"]


def test_outlines_are_drawn_smaller_where_the_drawing_is(album):
    about = album.describe(0, 40)
    assert about["size"] == [40.0, 30.0]
    assert about["layers"]["truth"][1]["box"] == [4.0, 2.0, 10.0, 10.0]


def test_detections_come_with_what_is_true_of_them(run_album):
    layers = run_album.describe(0, 400)["layers"]
    found = [(one["score"], one["outcome"], one["category"]) for one in layers["a"]]
    assert found == [(0.9, "right", 0), (0.8, "background", 1)]
    assert [one["finders"] for one in layers["truth"]] == [[0.9, 0.3], [None, 0.7]]


def test_facets_count_what_can_be_asked_for(album):
    facets = album.facets()
    assert facets["parts"] == {"train": 4, "test": 1}
    assert [(one["name"], one["number"]) for one in facets["classes"]] == [
        ("Person", 4),
        ("Car", 3),
    ]
    assert facets["children"] == {"Woman": 1, "Van": 1}
    assert facets["flags"]["ignored"] == facets["flags"]["truncated"] == 1
    assert facets["reasons"] == {"group of": 1}


@pytest.fixture
def copied(blocks, tmp_path):
    """A part in a folder of its own."""
    (tmp_path / "coco").mkdir()
    path = tmp_path / "coco" / "train.json"
    path.write_bytes((blocks.data_dir / "coco" / "train.json").read_bytes())
    return path


def open_again(path, cache_dir):
    (prepared,) = find_parts("copied", path.parents[1], [])
    return truth.open_part(prepared, cache_dir, unseen)


def test_a_file_is_read_once_and_again_when_it_has_changed(copied, tmp_path, monkeypatch):
    cache_dir, reads = tmp_path / "cache", []
    count_lines = truth.count_lines
    monkeypatch.setattr(truth, "count_lines", lambda path: reads.append(path) or count_lines(path))
    before = open_again(copied, cache_dir)
    assert len(open_again(copied, cache_dir)) == len(before) == 4
    assert len(reads) == 1
    copied.write_text(copied.read_text().replace('"bbox":[4.0,', '"bbox":[6.00,'))
    assert open_again(copied, cache_dir).truth.boxes[0, 0] == 6
    assert len(reads) == 2 and len(list(cache_dir.glob("copied*"))) == 1


def test_annotations_in_any_order_are_sorted_by_image(copied, tmp_path):
    lines = copied.read_text().splitlines()
    start = lines.index('"annotations": [') + 1
    rows = [json.loads(line.rstrip(",")) for line in lines[start : start + 5]]
    turned = ",\n".join(json.dumps(row) for row in rows[::-1])
    copied.write_text("\n".join([*lines[:start], turned, *lines[start + 5 :]]) + "\n")
    found = open_again(copied, tmp_path / "cache").truth
    assert found.image.tolist() == [0, 0, 1, 1, 2]
    assert found.ids[found.rows(1)].tolist() == [3, 5]
    assert [found.records[row]["id"] for row in range(5)] == found.ids.tolist()
    np.testing.assert_array_equal(found.masks.areas, found.areas)


def test_a_damaged_file_leaves_nothing_behind(copied, tmp_path):
    copied.write_text(copied.read_text().replace('"image_id":1,', '"image_id":77,'))
    with pytest.raises(Problem) as caught:
        open_again(copied, tmp_path / "cache")
    assert caught.value.kind is Kind.DAMAGED
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_what_a_killed_process_left_is_no_store(copied, tmp_path):
    left = tmp_path / "cache" / ".part-copied_train"
    left.mkdir(parents=True)
    (left / "about.json").write_text("{}")
    assert len(open_again(copied, tmp_path / "cache")) == 4
    assert not left.exists()
