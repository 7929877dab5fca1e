from oiv5_d2.table import Table, to_text


def test_text_aligns_names_left_and_numbers_right():
    text = to_text(Table("", ("name", "AP"), (("car", "1.0"), ("traffic light", "10.0"))))
    assert text.splitlines() == [
        "name             AP",
        "car             1.0",
        "traffic light  10.0",
    ]
