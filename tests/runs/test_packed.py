import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from odd_coco import coco
from raising import refused

from oiv5_d2.problems import Kind, Remedy
from oiv5_d2.runs import packed
from oiv5_d2.runs.packed import OBJECT, REAL_REGION, REGION, open_packed


@pytest.fixture
def path(tmp_path):
    """A prepared COCO file."""
    path = tmp_path / "data" / "coco" / "train.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(coco()))
    return path


@pytest.fixture
def reads(monkeypatch):
    """Forget what this process has opened, and list the COCO files that it reads."""
    found = []
    packed._open.cache_clear()
    read = packed.read_json
    monkeypatch.setattr(packed, "read_json", lambda p, remedy: found.append(p) or read(p, remedy))
    yield found
    packed._open.cache_clear()


def open_again(path):
    packed._open.cache_clear()
    return open_packed(path)


def all_of(found):
    images = [found.read(index) for index in range(len(found))]
    return images, list(found.images()), found.about, found.kinds.tolist(), found.ends.tolist()


def kept(path):
    (table,) = path.parent.parent.glob(".stamps/*.arrow")
    return table


def test_a_file_is_read_once_by_all_that_open_it(path, reads):
    first = all_of(open_packed(path))
    assert all_of(open_again(path)) == first
    assert reads == [path]


def test_annotations_are_counted_by_kind(path):
    found = open_packed(path)
    assert found.ends.tolist() == [3, 3, 6]  # of images 3, 5 and 7
    assert found.kinds.tolist() == [OBJECT] * 4 + [REGION, REAL_REGION]
    assert found.categories.tolist() == [0, 1, 1, 2, 0, 1]
    assert found.about["counts"] == [5, 2]
    assert found.about["categories"] == [[10, "class 10"], [20, "class 20"], [30, "class 30"]]


def test_a_class_is_known_where_people_said_so_or_nobody_says_anything(path):
    found = open_packed(path)
    assert found.known(0) == [True, True, True]  # an object of the second
    assert found.known(1) == [True, True, True]
    assert found.count_known(np.array([True, True, False])).tolist() == [2, 2, 2]


def test_a_changed_file_is_read_again(path, reads):
    open_packed(path)
    path.write_text(json.dumps({**coco(), "info": {"pseudo": {}}}))
    assert open_packed(path).about["info"] == {"pseudo": {}}
    assert reads == [path] * 2


@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 0.9, 0.9999])
def test_a_flipped_byte_is_noticed(path, reads, place):
    expected = all_of(open_packed(path))
    data = bytearray(kept(path).read_bytes())
    data[int(place * len(data))] ^= 16
    kept(path).write_bytes(data)
    assert all_of(open_again(path)) == expected
    assert reads == [path] * 2


@pytest.mark.parametrize("length", [0, 20, 500])
def test_half_a_table_is_noticed(path, reads, length):
    expected = all_of(open_packed(path))
    kept(path).write_bytes(kept(path).read_bytes()[:length])
    assert all_of(open_again(path)) == expected
    assert reads == [path] * 2


def test_a_table_of_another_format_is_made_again(path, reads, monkeypatch):
    open_packed(path)
    monkeypatch.setattr(packed, "FORMAT", packed.FORMAT + 1)
    open_again(path)
    assert reads == [path] * 2


def test_data_that_cannot_be_written_to_are_left_alone(path, reads):
    path.parent.parent.joinpath(".stamps").write_text("no folder can be made here")
    first = all_of(open_packed(path))
    assert all_of(open_again(path)) == first
    assert reads == [path]
    assert {one.name for one in path.parent.parent.iterdir()} == {"coco", ".stamps"}


def test_a_file_of_the_user_s_own_has_nothing_beside_it(tmp_path, reads):
    own = tmp_path / "mine" / "train.json"
    own.parent.mkdir()
    own.write_text(json.dumps(coco()))
    first = all_of(open_packed(own))
    assert all_of(open_again(own)) == first
    assert reads == [own] and sorted(tmp_path.rglob("*")) == [own.parent, own]


def test_without_any_place_to_keep_it_a_file_is_opened_all_the_same(path, reads, monkeypatch):
    expected = all_of(open_packed(path))
    nowhere = path.parent / "train.json" / "below a file"
    monkeypatch.setattr(packed, "_places", lambda json_path: iter([nowhere]))
    assert all_of(open_again(path)) == expected
    assert reads == [path] * 2


def test_another_process_gets_it_by_its_path(path):
    assert all_of(pickle.loads(pickle.dumps(open_packed(path)))) == all_of(open_packed(path))


def test_processes_that_pack_at_once_all_succeed(path):
    code = "import sys, pathlib; from oiv5_d2.runs.packed import open_packed;"
    code += "print(open_packed(pathlib.Path(sys.argv[1])).about['sha256'])"
    command = [sys.executable, "-c", code, str(path)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(3)]
    printed = {one.communicate()[0] for one in started}
    assert len(printed) == 1 and len(printed.pop()) == 65
    assert [one.name for one in kept(path).parent.iterdir()] == [kept(path).name]


@pytest.mark.parametrize("text", ['{"images": [', "[]", "{}", '{"images": [{}], "categories": []}'])
def test_what_is_no_coco_file_is_refused_by_name(path, text):
    path.write_text(text)
    with refused(Kind.DAMAGED, remedy=Remedy.PREPARE_AGAIN, about="train.json"):
        open_packed(path)
    with refused(Kind.ABSENT, about="other.json"):
        open_packed(Path(path.with_name("other.json")))
