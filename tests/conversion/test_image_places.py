import unicodedata
from pathlib import Path

import pytest
from raising import refused
from touching import touch

from oiv5_d2.conversion.image_places import locate_images
from oiv5_d2.problems import Kind, Remedy


@pytest.mark.parametrize(
    ("json_name", "images"),
    [
        ("x.json", ""),
        ("result.json", "images"),  # Label Studio
        ("labels.json", "data"),  # FiftyOne
        ("train.json", "train"),
        ("annotations/instances_default.json", "images"),  # CVAT, of one subset and of several
        ("annotations/instances_default.json", "images/default"),
        ("annotations/instances_val2017.json", "val2017"),
        ("annotations/train.json.gz", "train"),
    ],
)
def test_images_are_found_where_tools_put_them(tmp_path, json_name, images):
    names = ["a.jpg", "day 2/b.png"]
    touch(tmp_path / images, *names)
    expected = [tmp_path / images / name for name in names]
    assert locate_images(tmp_path / json_name, None, names) == expected
    assert locate_images(tmp_path / "else/x.json", tmp_path / images, names) == expected


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("C:\\Users\\me\\a b.jpg", "a b.jpg"),
        ("/home/me/images/a b.jpg", "images/a b.jpg"),
        ("https://host/upload/a%20b.jpg?d=1".partition("?")[0], "images/a b.jpg"),
        ("../../media/upload/1/a b.jpg", "images/a b.jpg"),
        ("a b.jpg", "A B.JPG"),
        (unicodedata.normalize("NFC", "größe.jpg"), unicodedata.normalize("NFD", "größe.jpg")),
    ],
)
def test_a_name_of_another_machine_is_found_by_its_last_part(tmp_path, name, there):
    touch(tmp_path, there, "other.jpg")
    places = locate_images(tmp_path / "x.json", None, [name, "other.jpg"])
    assert places == [tmp_path / there, tmp_path / "other.jpg"]


def test_a_folder_that_is_named_is_searched_and_others_are_not(tmp_path):
    touch(tmp_path, "mine/2024/a.jpg", "images/2024/b.jpg")
    found = locate_images(tmp_path / "x.json", tmp_path / "mine", ["/old/a.jpg"])
    assert found == [tmp_path / "mine/2024/a.jpg"]
    with refused(Kind.ABSENT, key="data.images", remedy=Remedy.CHANGE_SETTING, about="b.jpg"):
        locate_images(tmp_path / "x.json", None, ["b.jpg"])


@pytest.mark.parametrize(
    ("names", "there"),
    [
        (["cam1/a.jpg", "cam2/a.jpg"], ["a.jpg"]),  # two images, one file
        (["old/a.jpg"], ["images/a.jpg", "data/a.jpg"]),  # one image, two files
        (["[" * 500], []),  # found by fuzzing: no system has such names
        (["a\0b"], []),
    ],
)
def test_what_is_not_clear_is_refused(tmp_path, names, there):
    touch(tmp_path, *there)
    with refused(Kind.ABSENT, key="data.images", about=Path(names[0]).name[:200]):
        locate_images(tmp_path / "x.json", None, names)
