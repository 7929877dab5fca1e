import csv

from oiv5_d2.openimages.clicks import Click, parse_clicks, read_drawings
from oiv5_d2.openimages.release import V5

ID = "0123456789abcdef"


def test_clicks_are_read_in_their_order():
    clicks = parse_clicks("0.1 0.2 1;0.30 0.40 0")
    assert clicks == (Click(0.1, 0.2, True), Click(0.3, 0.4, False))


def test_what_is_no_click_is_left_out():
    assert parse_clicks("") == ()
    assert parse_clicks("0.1 0.2;x y 1;0.1 2 1;0.5 0.5 1;") == (Click(0.5, 0.5, True),)


def test_the_drawings_of_some_images_are_read(tmp_path):
    file, path = V5.mask_csv("train"), tmp_path / "masks.csv"
    rows = [
        [f"{id_}_m0k4j_0.png", id_, "/m/0k4j", "0", 0.1, 0.4, 0.2, 0.9, "", "0.2 0.3 1"]
        for id_ in (ID, ID[::-1])
    ]
    with path.open("w", newline="") as table:
        csv.writer(table, lineterminator="\n").writerows([file.columns, *rows])
    drawings = read_drawings(path, file, [ID])
    assert drawings.keys() == {f"{ID}_m0k4j_0.png"}
    assert drawings[f"{ID}_m0k4j_0.png"].box == (0.1, 0.2, 0.4, 0.9)
    assert drawings[f"{ID}_m0k4j_0.png"].clicks == (Click(0.2, 0.3, True),)
