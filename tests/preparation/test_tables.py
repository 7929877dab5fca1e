"""What a plan and a manifest look like to people."""

import pandas as pd

from oiv5_d2.acquisition.images import ImageNeed
from oiv5_d2.acquisition.mask_zips import ZipNeed
from oiv5_d2.preparation.plan import PartNeed, Plan, SplitNeed
from oiv5_d2.preparation.tables import files_line, not_fetched, plan_tables, verified_line

PLAN = Plan(
    (),
    parts=(PartNeed("train", 2_000, 1_509, {"Car": 1_200}, {"Car": 1_509}, 7, 40),),
    splits=(
        SplitNeed("test", ImageNeed(10, 1_000_000, 10, 0, None), ZipNeed(9, 9_000_000, 1), ()),
        SplitNeed(
            "train", ImageNeed(2_000, 70_000_000, 200, 4, None), ZipNeed(1_500, 600_000, 20, 3), ()
        ),
    ),
)


def test_a_plan_is_one_line_a_split():
    contents, to_fetch = plan_tables(PLAN)
    assert contents.rows == [
        ("images", "2,000"),
        ("  without a training target", "40"),
        ("training targets", "1,509"),
        ("  Car", "1,509 on 1,200"),
        ("ignored objects", "7"),
    ]
    assert to_fetch.rows == [
        ("test", "10", "1.0 MB", "0", "9", "9.0 MB", "1", "0"),
        ("train", "2,000", "about 70.0 MB", "4", "1,500", "0.6 MB", "20", "3"),
    ]
    assert all(len(row) == len(to_fetch.columns) for row in to_fetch.rows)
    assert PLAN.num_bytes == 80_600_000
    assert plan_tables(Plan(())) == []


def test_files_are_counted_by_state():
    states = ["present", "present", "missing", "failed", "failed", "failed"]
    manifest = pd.DataFrame({"State": states, "Bytes": [1_000_000, 500_000, 0, 0, 0, 0]})
    line = files_line(manifest)
    assert line.startswith("6 files (1.5 MB)")
    assert line.endswith("2 present, 1 missing, 0 corrupt, 3 failed")


def test_files_that_are_not_there_are_grouped_by_reason():
    rows = [("image", "train", "missing", "absent", f"{number}.jpg") for number in range(3)]
    rows += [("mask", "test", "corrupt", "damaged", f"{number}.png") for number in range(100)]
    rows += [("mask", "test", "present", "", "fine.png")]
    manifest = pd.DataFrame(rows, columns=["Kind", "Split", "State", "Reason", "Path"])
    assert not_fetched(manifest).rows == [
        ("masks of test", "100", "corrupt: damaged", "0.png"),
        ("images of train", "3", "missing: absent", "0.jpg"),
    ]


def test_images_that_were_kept_for_their_labels_are_counted_in_a_line():
    numbers = {"validation": (90, 60), "test": (50, 50)}
    parts = {p: {"images": {"usable": n, "with_targets": m}} for p, (n, m) in numbers.items()}
    line = verified_line({"parts": parts}, ["validation", "test"])
    assert line.endswith(": validation 30")
    assert verified_line({"parts": parts}, ["test"]) == verified_line({"parts": parts}, []) == ""
