"""What a plan says to people."""

from dataclasses import replace

import pandas as pd

from oiv5_d2.acquisition.mask_zips.ranges import ZipPlan
from oiv5_d2.preparation import tables as summary
from oiv5_d2.preparation.plan import ImageNeed, Need, Plan, ZipNeed

BY_RANGE = ZipPlan(True, 1_500, 3, 600_000, 20, 9_000_000, "600 of 9,000 bytes are wanted")
ONE_RANGE = BY_RANGE._replace(num_requests=1)
WHOLE = ZipPlan(False, 9, 0, 0, 0, 9_000, "nearly all is wanted")
PLAN = Plan(
    (),
    needs=(Need("train", 2_000, 1_509, {"Car": 1_200}, {"Car": 1_509}, 7),),
    images=(
        ImageNeed("test", 10, 1_000, 10, 0),
        ImageNeed("train", 2_000, 70_000_000, 200, 4, 3, "403"),
    ),
    zips=(
        ZipNeed("train", "0", 1_500, BY_RANGE, BY_RANGE.why),
        ZipNeed("train", "1", 9, WHOLE, WHOLE.why),
        ZipNeed("train", "2", 1_500, ONE_RANGE, ONE_RANGE.why),
        ZipNeed("train", "3", 5, None, "it is not there"),
    ),
    locations=("https://masks", "s3://pictures"),
)


def test_every_zip_is_told_with_how_and_why():
    wanted, pictures, zips = summary.plan_tables(PLAN)
    assert wanted.rows == [
        ("pictures", "2,000"),
        ("masks to learn", "1,509"),
        ("  Car", "1,509 on 1,200"),
        ("objects to ignore", "7"),
    ]
    assert pictures.rows == [
        ("test", "10", "1.0 kB", "all", "0", "0"),
        ("train", "2,000", "about 70.0 MB", "200", "4", "3: 403"),
    ]
    assert [row[0] for row in zips.rows] == ["train-0", "train-1", "train-2", "train-3"]
    assert zips.columns[-2:] == ("how", "why")
    assert "at most 10% more" in zips.note
    assert [row[-2:] for row in zips.rows] == [
        ("20 ranges", BY_RANGE.why),
        ("whole", WHOLE.why),
        ("1 range", ONE_RANGE.why),
        ("-", "it is not there"),
    ]
    assert all(len(row) == len(zips.columns) for row in zips.rows)


def test_a_zip_that_is_here_is_not_fetched():
    here = ZipNeed("train", "4", 1_500, BY_RANGE._replace(is_here=True), "it is here")
    (zips,) = summary.plan_tables(Plan((), zips=(here,)))
    assert zips.rows[0][-3:] == ("0 B", "from here", BY_RANGE.why)
    assert summary.to_fetch(Plan((), zips=(here,))) == []
    assert summary.to_fetch(replace(PLAN, zips=(*PLAN.zips, here))) == summary.to_fetch(PLAN)


def test_a_column_of_nothing_but_0_is_left_out():
    (_, _, some), (_, pictures, none) = (
        summary.plan_tables(replace(PLAN, images=PLAN.images[:1], zips=zips))
        for zips in (PLAN.zips, PLAN.zips[1:2])
    )
    assert "not in it" in some.columns and "not in it" not in none.columns
    assert "of these not there" not in pictures.columns
    assert all(len(row) == len(none.columns) for row in none.rows)


def test_files_and_bytes_are_told_by_store():
    pictures, masks = summary.to_fetch(PLAN)
    assert pictures == "2,010 pictures, about 70.0 MB, from s3://pictures"
    assert masks == ("3,009 masks out of 4 zips, 1.2 MB, in 22 requests, from https://masks")
    assert summary.to_fetch(Plan(())) == []


def test_files_are_counted_by_what_became_of_them():
    states = ["present", "present", "missing", "failed", "failed", "failed"]
    manifest = pd.DataFrame({"State": states, "Bytes": [1_000, 500, 0, 0, 0, 0]})
    assert summary.files_line(manifest) == (
        "6 files: 2 present (1.5 kB), 1 missing, 0 corrupt, 3 failed"
    )


def test_files_that_could_not_be_had_are_few_rows_whatever_the_numbers_in_their_reasons():
    reasons = [f"it would unpack to {number} bytes: refused" for number in range(100)]
    reasons += [f"reason {'x' * number}" for number in range(20)]
    rows = pd.DataFrame({"Reason": reasons}).assign(
        Kind="mask", Split="train", State="corrupt", Path="a.png"
    )
    shown = summary.not_fetched(rows).rows
    assert shown[0][1:3] == ("100", "corrupt: it would unpack to N bytes: refused")
    assert shown[-1][:3] == ("all others", "9", "9 more reasons, see the manifest")
    assert len(shown) == 13
