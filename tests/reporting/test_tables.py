import math

from oiv5_d2.reporting.tables import ap_table, class_table, score, to_markdown
from oiv5_d2.runs.metrics import COCO
from oiv5_d2.runs.results import Results
from oiv5_d2.table import Table

SEGM = dict(zip(COCO.summary, (40.04, 70.0, 41.0, math.nan, 30.0, 50.0), strict=True))
BOX = dict.fromkeys(COCO.summary, 45.0)
PER_CLASS = {"AP-Car": 40.0, "AP50-Car": 71.0, "AP-Bus": math.nan, "AP50-Bus": math.nan}
RESULTS = Results(
    "mini_test", "ab" * 32, 1200, {"Car": 1234, "Bus": 0}, {"segm": SEGM | PER_CLASS, "bbox": BOX}
)


def test_the_main_table_has_all_of_cocos_mask_metrics_and_box_ap():
    table = ap_table([RESULTS])
    assert table.columns == (
        *("data", "images", "segm AP"),
        *("AP50", "AP75", "APs", "APm", "APl", "box AP"),
    )
    assert table.rows == [
        ("mini_test", "1,200", "40.0", "70.0", "41.0", "-", "30.0", "50.0", "45.0"),
    ]


def test_a_box_model_has_its_box_metrics_there():
    table = ap_table([RESULTS._replace(tasks={"bbox": BOX})])
    assert table.columns[2] == "box AP" and len(table.columns) == 8


def test_the_class_table_shows_absent_classes_without_a_number():
    rows = class_table([RESULTS]).rows
    assert rows[0][:5] == ("mini_test", "Car", "1,234", "40.0", "71.0")
    assert rows[1][:5] == ("mini_test", "Bus", "0", "-", "-")


def test_markdown_has_a_row_a_line_and_survives_bars():
    lines = to_markdown(Table("", ("name", "AP"), (("a|b", "1.0"),))).splitlines()
    assert lines == ["| name | AP |", "| --- | ---: |", r"| a\|b | 1.0 |"]


def test_zero_is_a_score_and_nothing_is_none():
    assert (score(0.0), score(math.nan)) == ("0.0", "-")
