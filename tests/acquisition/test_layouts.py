import zipfile
from pathlib import Path

import pandas as pd
import pytest
from raising import refused
from touching import touch

from oiv5_d2.acquisition.layouts import (
    find_images,
    find_masks,
    find_tables,
    mask_name,
    other_format,
    unusable_masks,
)
from oiv5_d2.openimages.release import V5, ReleaseFile
from oiv5_d2.problems import Kind, Remedy

A, B = "a" * 16, "b" * 16
KEYS = [f"train/{A}.jpg", f"validation/{B}.jpg"]
FILES = pd.DataFrame({"Split": ["train", "validation"], "Key": KEYS})


@pytest.mark.parametrize(
    "keys",
    [
        (f"train/{A}.jpg", f"validation/{B}.jpg"),
        (f"{A}.jpg", f"{B}.jpg"),
        (f"train/data/{A}.jpg", f"validation/data/{B}.jpg"),
        (f"train/Person/{A}.jpg", f"validation/Car/{B}.jpg"),
        (f"train/{A}.JPG", f"val/{B}.jpeg"),
        (f"train/{A}.jpe", f"val/{B}.jfif"),
        (f"images/train/{A.upper()}.jpg", f"images/Val/{B}.jpg"),
    ],
)
def test_an_image_is_found_wherever_other_tools_leave_it(tmp_path, keys):
    touch(tmp_path, *keys)
    assert find_images(tmp_path, FILES).tolist() == list(keys)


def test_an_image_of_another_split_or_that_is_hidden_is_not_taken(tmp_path):
    touch(tmp_path, f"test/{A}.jpg", f".trash/{B}.jpg", f"{A}.png")
    assert find_images(tmp_path, FILES).tolist() == FILES["Key"].tolist()


def test_images_of_another_format_are_told(tmp_path, caplog):
    touch(tmp_path, f"train/{A}.png", f"{B}.webp", "other.png")
    find_images(tmp_path, FILES)
    (record,) = caplog.records
    assert record.levelname == "WARNING" and record.args[0] == 2


@pytest.mark.parametrize("key", [f"validation/{A}.jpg", f"train/{A} (1).jpg", f"{A}_o.jpg"])
def test_an_image_that_may_be_the_missing_one_is_told(tmp_path, caplog, key):
    touch(tmp_path, key, f"validation/{B}.jpg")
    find_images(tmp_path, FILES)
    (record,) = caplog.records
    assert record.args == (1, tmp_path / key)


def test_an_archive_where_images_are_missing_is_told(tmp_path, caplog):
    touch(tmp_path, f"train/{A}.jpg", "train_0.tar.gz")
    find_images(tmp_path, FILES)
    (record,) = caplog.records
    assert record.args == (1, tmp_path / "train_0.tar.gz")


@pytest.mark.parametrize("ending", [".zip", ".bz2"])
def test_a_table_packed_in_another_way_is_told(tmp_path, ending):
    touch(tmp_path, f"{V5.class_csv.path}{ending}")
    with refused(Kind.ABSENT, about=f"class-descriptions-boxable.csv{ending} is there"):
        find_tables(tmp_path, [V5.class_csv])


def test_the_release_s_own_place_comes_first(tmp_path):
    touch(tmp_path, f"train/{A}.jpg", f"{A}.jpg", f"train/thumbs/{A}.jpg", f"{B}.jpg")
    assert find_images(tmp_path, FILES).tolist() == [f"train/{A}.jpg", f"{B}.jpg"]


@pytest.mark.parametrize("where", ["v5/train-masks", "v5/train-masks/train-masks-a", "v5/all", ""])
@pytest.mark.parametrize("ending", ["png", "PNG"])
def test_unpacked_masks_are_found_beside_their_zip_or_in_a_folder(tmp_path, where, ending):
    zip_key, name = V5.mask_zip("train", "a").path, f"{A}_m0k4j_1.png"
    path = tmp_path / where / f"{A}_m0k4j_1.{ending}"
    touch(tmp_path, str(path.relative_to(tmp_path)), "v5/train-masks/other.png")
    assert find_masks(tmp_path, zip_key, [name, "absent.png"]) == (zip_key, {name: path})


@pytest.mark.parametrize("where", ["v5/train-masks", "masks", ""])
def test_a_zip_of_masks_is_found_by_its_name(tmp_path, where):
    zip_key, name = V5.mask_zip("train", "a").path, f"{A}_m0k4j_1.png"
    touch(tmp_path, str(Path(where, Path(zip_key).name)))
    found, unpacked = find_masks(tmp_path, zip_key, [name])
    assert Path(found) == Path(where, "train-masks-a.zip") and not unpacked


def test_a_folder_with_a_zip_s_name_is_no_zip(tmp_path):
    zip_key, name = V5.mask_zip("train", "a").path, f"{A}_m0k4j_1.png"
    touch(tmp_path, f"{zip_key}/{name}")
    assert find_masks(tmp_path, zip_key, [name]).unpacked == {name: tmp_path / zip_key / name}


def test_one_zip_with_all_masks_stands_for_each(tmp_path):
    name = f"{A}_m0k4j_1.png"
    with zipfile.ZipFile(tmp_path / "masks.zip", "w") as archive:
        archive.writestr(f"all/{name}", b"")
    touch(tmp_path, "damaged.zip")
    for digit in "ab":
        key = V5.mask_zip("train", digit).path
        assert find_masks(tmp_path, key, [name]) == ("masks.zip", {})
        assert find_masks(tmp_path, key, ["other.png"]) == (key, {})


def test_masks_that_are_not_png_are_found_for_the_message(tmp_path):
    wanted = [f"{A}_m0k4j_1.png", f"{B}_m0k4j_1.png"]
    paths = ["x/readme.txt", f"x/{B}_m0k4j_1.PNG", f"x/{A}_m0k4j_1.JPG"]
    assert other_format(paths, wanted) == paths[-1]
    assert other_format(paths[:2], wanted) == ""
    touch(tmp_path, *paths)
    key = V5.mask_zip("train", "a").path
    kind, facts = unusable_masks(tmp_path, key, wanted)
    assert kind is Kind.MISMATCH and str(tmp_path / paths[-1]) in facts
    touch(tmp_path, "train-masks-a.tar.gz", "train-masks-b.tar")
    kind, facts = unusable_masks(tmp_path, key, ["c.png"])
    assert kind is Kind.ABSENT and "train-masks-a.tar.gz" in facts
    kind, facts = unusable_masks(tmp_path, V5.mask_zip("train", "c").path, ["c.png"])
    assert kind is Kind.ABSENT and str(tmp_path) in facts


def test_a_mask_s_name_is_its_own_in_any_folder_of_a_zip():
    assert mask_name("train-masks-a/x_y.PNG") == "x_y.png"
    assert mask_name("x_y.png") == mask_name("train-masks-a\\x_y.png") == "x_y.png"


@pytest.mark.parametrize("name", ["oidv6-{}.csv", "oidv7-{}.csv.gz", "{} (2).csv", "{} - Copy.csv"])
def test_a_table_is_found_by_the_names_that_people_have(tmp_path, name):
    path = tmp_path / name.format("train-annotations-bbox")
    path.touch()
    file = V5.box_csv("train")
    assert find_tables(tmp_path, [file]) == {file.path: path}


def test_a_table_may_be_elsewhere_but_only_once(tmp_path):
    file = ReleaseFile("v5/boxes.csv", ("ImageID",))
    with refused(Kind.ABSENT, remedy=Remedy.LAY_OUT_SOURCE, about=tmp_path / file.path):
        find_tables(tmp_path, [file])
    touch(tmp_path, "mine/boxes.csv.gz")
    assert find_tables(tmp_path, [file]) == {file.path: tmp_path / "mine/boxes.csv.gz"}
    touch(tmp_path, "oidv6-boxes (1).csv")
    with refused(Kind.ABSENT, about="mine/boxes.csv.gz"):
        find_tables(tmp_path, [file])
    touch(tmp_path, file.path)
    assert find_tables(tmp_path, [file]) == {file.path: tmp_path / file.path}
