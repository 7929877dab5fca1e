import csv

import pandas as pd
import pytest
from raising import refused

from oiv5_d2.openimages.release import ANNOTATIONS_DIR, V5
from oiv5_d2.preparation.listings import (
    CREDIT_COLUMNS,
    read_image_list,
    write_credits,
    write_image_list,
)
from oiv5_d2.problems import Kind
from oiv5_d2.selection.choice import Choice, Limit
from oiv5_d2.selection.select import select
from oiv5_d2.selection.subset import INSTANCE_SCHEMA, Subset


def make_subset(part, *images):
    columns = [*CREDIT_COLUMNS, "PositiveClasses"]
    frame = pd.DataFrame([[*row, ""] for row in images], columns=columns)
    return Subset(part, ("Car",), frame, pd.DataFrame(columns=INSTANCE_SCHEMA.names), {})


def image(number, split, author="Who, I", title='A "title"\nin two lines, 东京'):
    return (f"{number:016x}", split, author, "https://who", "by/2.0", "https://page", title)


SUBSETS = [
    make_subset("train", image(3, "train"), image(1, "train", author="", title="")),
    make_subset("val", image(2, "validation")),
    make_subset("small", image(3, "train")),
]


def test_credits_name_every_picture_once_in_order(tmp_path):
    write_credits(SUBSETS, tmp_path / "credits.csv")
    with (tmp_path / "credits.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == CREDIT_COLUMNS
    assert [tuple(row) for row in rows] == [
        image(1, "train", author="", title=""),
        image(2, "validation"),
        image(3, "train"),
    ]


def test_a_list_of_images_is_as_the_official_downloader_takes_it(tmp_path):
    path = tmp_path / "image_list.txt"
    write_image_list(SUBSETS, path)
    assert path.read_bytes() == (
        b"train/0000000000000001\ntrain/0000000000000003\nvalidation/0000000000000002\n"
    )
    assert read_image_list(path) == {
        "0000000000000001": "train",
        "0000000000000003": "train",
        "0000000000000002": "validation",
    }


def test_the_order_of_the_subsets_changes_nothing(tmp_path):
    for write in (write_credits, write_image_list):
        write(SUBSETS, tmp_path / "a")
        write(SUBSETS[::-1], tmp_path / "b")
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_list_that_was_written_selects_the_same_images(tiny_release, tmp_path):
    annotations_dir = tiny_release / ANNOTATIONS_DIR
    subsets = select(annotations_dir.joinpath, V5, Choice(("Car",), limit=Limit(2)))
    write_image_list(subsets.values(), tmp_path / "list.txt")
    listed = tuple(read_image_list(tmp_path / "list.txt"))
    again = select(annotations_dir.joinpath, V5, Choice(("Car",), image_ids=listed))
    for part, subset in subsets.items():
        pd.testing.assert_frame_equal(again[part].images, subset.images)
        pd.testing.assert_frame_equal(again[part].instances, subset.instances)


def test_a_list_may_be_written_by_other_hands(tmp_path):
    path = tmp_path / "list.txt"
    text = "0000000000000002\r\n\r\n  test/0000000000000001.jpg  \r\ntest/0000000000000002\r\n"
    text += "# mine\nTEST/000000000000000A  # a tram"
    expected = {name: "test" for name in ("0000000000000002", "0000000000000001")}
    for encoding in ("utf-8-sig", "utf-16"):
        path.write_bytes(text.encode(encoding))
        assert read_image_list(path) == {**expected, "000000000000000a": "test"}


@pytest.mark.parametrize(
    "line",
    [
        "val/0000000000000001",
        "train/1",
        "../../etc/passwd",
        "train/000000000000000g",
        "train/0000000000000001.png",
        "0000000000000001,train",
        "\udcff\udcfe",
        "test/0000000000000000",  # which is in train on line 1
    ],
)
def test_another_line_is_refused_with_its_number(tmp_path, line):
    path = tmp_path / "list.txt"
    path.write_text(f"train/0000000000000000\n\n{line}\n", errors="surrogateescape")
    with refused(Kind.DAMAGED, key="data.image_ids", about=path) as caught:
        read_image_list(path)
    assert "line 3" in caught.value.detail and "\n" not in caught.value.detail


def test_an_empty_list_is_refused(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("\n\n")
    with refused(Kind.EMPTY, key="data.image_ids", about=path):
        read_image_list(path)


def test_a_writer_that_fails_leaves_nothing_behind(tmp_path):
    broken = make_subset("train")
    del broken.images["Author"]
    for write in (write_credits, write_image_list):
        with pytest.raises(KeyError):
            write([broken], tmp_path / "list")
    assert list(tmp_path.iterdir()) == []
