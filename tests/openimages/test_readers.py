import csv
import io
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from raising import refused

from oiv5_d2.openimages import readers, release
from oiv5_d2.openimages.readers import read_rows
from oiv5_d2.problems import Kind, Problem, Remedy

IMAGE_ID = "0123456789abcdef"
MASK = [f"{IMAGE_ID}_m04_sv_1a2b3c4d.png", IMAGE_ID, "/m/04_sv", "1a2b3c4d"]
MASK += ["0.100000", "0.500000", "0.200000", "0.900000", "0.87654", "0.1 0.2 1;0.3 0.4 0"]
BOX = [IMAGE_ID, "xclick", "/m/0k4j", "1", "0.1", "0.5", "0.2", "0.9", "1", "0", "0", "-1", "0"]
LABEL = [IMAGE_ID, "verification", "/m/0k4j", "0"]
IMAGE = [IMAGE_ID, "train", "u", "l", "by", "p", "An, Author", 'A "title"', "9", "m", "t", "90.0"]
KINDS = {
    "masks": (release.MASK_COLUMNS, MASK),
    "boxes": (release.BOX_COLUMNS, BOX),
    "labels": (release.IMAGE_LABEL_COLUMNS, LABEL),
    "images": (release.IMAGE_COLUMNS, IMAGE),
}


@pytest.fixture
def read(tmp_path):
    """Read rows of a kind of table out of a file."""

    def read_them(kind, rows, **options):
        return read_text(kind, as_csv(KINDS[kind][0], rows), tmp_path, **options)

    return read_them


@pytest.fixture
def small_blocks(monkeypatch):
    """Cut files into many blocks, a few of them for each check and each frame."""
    monkeypatch.setattr(readers, "_BLOCK_BYTES", 600)
    monkeypatch.setattr(readers, "_BLOCKS_A_CHECK", 2)
    monkeypatch.setattr(readers, "_FRAME_ROWS", 7)


def as_csv(header, rows, quoting=csv.QUOTE_MINIMAL):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=quoting)
    text.write(",".join(header) + "\n")
    writer.writerows(rows)
    return text.getvalue()


def read_text(kind, text, tmp_path, **options):
    path = tmp_path / f"{kind}.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return pd.concat(list(read_rows(path, KINDS[kind][0], **options)), ignore_index=True)


def changed(kind, **values):
    columns, row = KINDS[kind]
    return [values.get(column, value) for column, value in zip(columns, row, strict=True)]


def test_masks_are_typed_and_the_clicks_are_dropped(read):
    masks = read("masks", [MASK])
    assert masks.columns.tolist() == list(release.MASK_COLUMNS[:-1])
    row = masks.iloc[0]
    assert (row["MaskPath"], row["LabelName"], row["BoxID"]) == (MASK[0], "/m/04_sv", "1a2b3c4d")
    assert row[["BoxXMin", "BoxXMax", "BoxYMin", "BoxYMax"]].tolist() == [0.1, 0.5, 0.2, 0.9]
    assert row["PredictedIoU"] == 0.87654


def test_an_empty_predicted_iou_is_nan(read):
    masks = read("masks", [changed("masks", PredictedIoU="", Clicks=""), MASK])
    assert np.isnan(masks["PredictedIoU"][0])
    assert masks["PredictedIoU"][1] == 0.87654


def test_attributes_of_boxes_are_small_integers(read):
    boxes = read("boxes", [BOX])
    assert boxes[list(release.ATTRIBUTES)].iloc[0].tolist() == [1, 0, 0, -1, 0]
    assert (boxes[list(release.ATTRIBUTES)].dtypes == np.int8).all()


def test_commas_quotes_and_line_ends_in_a_title_are_kept(read, small_blocks):
    title = 'Stop, "he\nsaid"'
    images = read("images", [changed("images", Title=title, Rotation=""), IMAGE])
    assert images["Title"].tolist() == [title, 'A "title"']
    assert np.isnan(images["Rotation"][0])
    assert images["Rotation"][1] == 90.0


@pytest.mark.parametrize("kind", KINDS)
def test_the_size_of_a_block_changes_nothing(kind, read, request):
    rows = [changed(kind, ImageID=f"{number:016x}") for number in range(50)]
    whole = read(kind, rows)
    request.getfixturevalue("small_blocks")
    pd.testing.assert_frame_equal(read(kind, rows), whole)
    assert whole["ImageID"].tolist() == [row[KINDS[kind][0].index("ImageID")] for row in rows]


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_without_rows_has_its_columns_and_types(kind, read):
    empty, full = read(kind, []), read(kind, [KINDS[kind][1]])
    assert len(empty) == 0
    pd.testing.assert_series_equal(empty.dtypes, full.dtypes)
    none = read(kind, [KINDS[kind][1]], keep={"ImageID": []})
    pd.testing.assert_series_equal(none.dtypes, full.dtypes)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("kind", KINDS)
def test_all_bytes_are_reported(kind, tmp_path):
    path, seen = tmp_path / "table.csv", []
    path.write_text(as_csv(KINDS[kind][0], [KINDS[kind][1]] * 99))
    list(read_rows(path, KINDS[kind][0], advance=seen.append))
    assert sum(seen) == path.stat().st_size
    assert min(seen) >= 0


def test_a_file_with_windows_line_ends_and_a_byte_order_mark_is_read(tmp_path):
    text = as_csv(release.BOX_COLUMNS, [BOX, BOX])
    plain = read_text("boxes", text, tmp_path)
    windows = read_text("boxes", "\ufeff" + text.replace("\n", "\r\n"), tmp_path)
    pd.testing.assert_frame_equal(windows, plain)


def test_columns_and_rows_can_be_chosen(read):
    rows = [changed("boxes", ImageID=f"{n:016x}", LabelName=f"/m/{n % 3}") for n in range(9)]
    ids = [f"{n:016x}" for n in range(5)]
    keep = {"LabelName": {"/m/0"}, "ImageID": pd.Series(ids)}
    boxes = read("boxes", rows, columns=["XMin", "ImageID"], keep=keep)
    assert boxes.columns.tolist() == ["XMin", "ImageID"]
    assert boxes["ImageID"].tolist() == [ids[0], ids[3]]


def test_a_missing_file_is_an_error_of_its_own(tmp_path):
    with pytest.raises(FileNotFoundError):
        list(read_rows(tmp_path / "none.csv", release.MASK_COLUMNS))


# --- What is refused -----------------------------------------------------------------------------


def fault(kind, text, tmp_path, **options):
    """Return the facts of the refusal of a text."""
    with refused(Kind.DAMAGED, remedy=Remedy.FETCH_AGAIN, about=f"{kind}.csv") as caught:
        read_text(kind, text, tmp_path, **options)
    assert "\n" not in str(caught.value)
    return caught.value.detail


@pytest.mark.parametrize(
    ("kind", "header", "facts"),
    [
        ("masks", release.BOX_COLUMNS, "box table"),
        ("boxes", release.IMAGE_LABEL_COLUMNS, "image labels"),
        ("boxes", release.V6_BOX_COLUMNS, "XClick1X"),
        ("boxes", BOX, "another file"),
        ("boxes", release.BOX_COLUMNS[:-1], "IsInside"),
        ("boxes", (*release.BOX_COLUMNS, "Extra"), "Extra"),
        ("boxes", release.BOX_COLUMNS[::-1], "order"),
        ("boxes", (*release.BOX_COLUMNS, "XMin"), "twice"),
    ],
)
def test_another_header_is_refused_with_what_differs(tmp_path, kind, header, facts):
    found = fault(kind, as_csv(header, [KINDS[kind][1]]), tmp_path)
    assert found.startswith("line 1: ")
    assert facts in found


def test_an_empty_file_is_refused(tmp_path):
    assert "line 1" in fault("masks", "", tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_anywhere_in_its_last_line_is_refused(tmp_path, kind):
    row = KINDS[kind][1]
    text = as_csv(KINDS[kind][0], [row, row, row])
    last = len(text) - len(as_csv(row, []))
    for end in range(last + 1, len(text)):
        assert fault(kind, text[:end], tmp_path).startswith("line 4: ")


def test_a_file_cut_in_its_header_is_refused(tmp_path):
    assert "line 1" in fault("masks", ",".join(release.MASK_COLUMNS)[:40], tmp_path)


@pytest.mark.parametrize("blocks", ["small_blocks", "tmp_path"])
@pytest.mark.parametrize(
    ("kind", "values", "facts"),
    [
        ("masks", {"BoxXMin": "abc"}, "BoxXMin 'abc'"),
        ("masks", {"BoxXMin": ""}, "BoxXMin ''"),
        ("masks", {"BoxXMin": "nan"}, "BoxXMin 'nan'"),
        ("masks", {"BoxXMax": "1.000001"}, "BoxXMax 1.000001"),
        ("masks", {"BoxYMin": "-0.1"}, "BoxYMin -0.1"),
        ("masks", {"BoxYMin": "0.95"}, "BoxYMin 0.95"),
        ("masks", {"PredictedIoU": "x"}, "PredictedIoU 'x'"),
        ("masks", {"ImageID": ""}, "ImageID ''"),
        ("masks", {"ImageID": "0123456789ABCDEF"}, "ImageID '0123456789ABCDEF'"),
        ("boxes", {"XMax": "0.05"}, "XMax 0.05"),
        ("boxes", {"YMax": "inf"}, "YMax 'inf'"),
        ("boxes", {"IsInside": "2"}, "IsInside '2'"),
        ("boxes", {"IsInside": "0.5"}, "IsInside '0.5'"),
        ("boxes", {"IsInside": "1000"}, "IsInside '1000'"),
        ("boxes", {"IsGroupOf": ""}, "IsGroupOf ''"),
        ("labels", {"Confidence": "yes"}, "Confidence 'yes'"),
        ("labels", {"Confidence": ""}, "Confidence ''"),
        ("labels", {"Confidence": "inf"}, "Confidence 'inf'"),
        ("labels", {"Confidence": "7"}, "Confidence '7'"),
        ("labels", {"Confidence": "1_0"}, "Confidence '1_0'"),
        ("masks", {"PredictedIoU": "-0.5"}, "PredictedIoU '-0.5'"),
        ("images", {"Rotation": "1e999"}, "Rotation '1e999'"),
        ("images", {"ImageID": "../etc/passwd"}, "ImageID '../etc/passwd'"),
        ("images", {"Rotation": "left"}, "Rotation 'left'"),
    ],
)
def test_a_bad_value_is_refused_with_its_line(tmp_path, kind, values, facts, blocks, request):
    request.getfixturevalue(blocks)
    rows = [KINDS[kind][1]] * 70
    rows[40] = changed(kind, **values)
    found = fault(kind, as_csv(KINDS[kind][0], rows), tmp_path)
    assert found.startswith("line 42: ")
    assert facts in found


def test_a_bad_value_is_refused_in_a_row_that_is_not_kept(tmp_path):
    rows = [BOX, changed("boxes", LabelName="/m/other", XMax="0.05")]
    text = as_csv(release.BOX_COLUMNS, rows)
    keep = {"LabelName": [BOX[2]]}
    found = fault("boxes", text, tmp_path, columns=["ImageID"], keep=keep)
    assert found.startswith("line 3: ")


@pytest.mark.parametrize("fields", [1, 9, 11])
def test_a_ragged_row_is_refused_with_its_line(tmp_path, fields):
    rows = [MASK, [*MASK, "more"][:fields], MASK]
    found = fault("masks", as_csv(release.MASK_COLUMNS, rows), tmp_path)
    assert found.startswith("line 3: ")
    assert str(fields) in found


def test_lines_are_counted_as_an_editor_counts_them(tmp_path):
    rows = [changed("images", Title="two\nlines"), changed("images", ImageID="x"), IMAGE]
    assert "line 4: " in fault("images", as_csv(release.IMAGE_COLUMNS, rows), tmp_path)
    rows = [changed("images", Title="two\nlines"), IMAGE[:5]]
    assert "line 4: " in fault("images", as_csv(release.IMAGE_COLUMNS, rows), tmp_path)


def test_an_empty_line_is_refused(tmp_path):
    text = as_csv(release.MASK_COLUMNS, [MASK]) + "\n" + ",".join(MASK) + "\n"
    assert "line 3" in fault("masks", text, tmp_path)


@pytest.mark.parametrize("num_rows", [3, 5000])
def test_a_quote_that_is_never_closed_is_refused(tmp_path, num_rows):
    text = as_csv(release.IMAGE_COLUMNS, []) + '"' + as_csv(IMAGE, [IMAGE] * num_rows)
    assert "line 2" in fault("images", text, tmp_path)


def test_a_quote_that_is_never_closed_is_refused_in_a_column_that_is_not_read(tmp_path):
    text = as_csv(release.MASK_COLUMNS, [changed("masks", Clicks="here"), MASK])
    text = text.replace("here", '"0.1 0.2 1')  # found by fuzzing: the rows below were lost
    assert "line 2" in fault("masks", text, tmp_path)


def test_a_quote_inside_a_value_that_is_not_quoted_is_text(tmp_path):
    text = as_csv(release.IMAGE_COLUMNS, [changed("images", Title="inches")] * 2)
    images = read_text("images", text.replace("inches", '5" nail', 1), tmp_path)
    assert images["Title"].tolist() == ['5" nail', "inches"]


def test_bytes_that_are_not_text_are_refused(tmp_path):
    row = ",".join(BOX).replace("xclick", "\xff\xfe").encode("latin-1")
    text = as_csv(release.BOX_COLUMNS, [BOX]).encode() + row + b"\n"
    assert "line 3" in fault("boxes", text, tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "../mask.png",
        "/etc/mask.png",
        "masks/mask.png",
        "masks\\mask.png",
        "..png",
        ".png",
        ".hidden.png",
        "a..png",
        "C:mask.png",
        "mask.jpg",
        "mask.png\n",
        "mask.png.exe",
        "mask\x00.png",
        "",
    ],
)
def test_a_mask_path_that_could_leave_the_data_folder_is_refused(tmp_path, name):
    text = as_csv(release.MASK_COLUMNS, [MASK, changed("masks", MaskPath=name)])
    assert "line 3" in fault("masks", text, tmp_path)


# --- Properties ----------------------------------------------------------------------------------

titles = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)


@given(st.lists(titles, max_size=8))
def test_any_text_survives(tmp_path_factory, titles):
    rows = [changed("images", Title=title) for title in titles]
    text = as_csv(release.IMAGE_COLUMNS, rows, csv.QUOTE_ALL)
    images = read_text("images", text, tmp_path_factory.mktemp("titles"))
    assert images["Title"].tolist() == titles


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_with_one_line(tmp_path_factory, data):
    tmp_path = tmp_path_factory.mktemp("bytes")
    header = ",".join(release.IMAGE_LABEL_COLUMNS).encode() + b"\n"
    for text in (data, header + data, header + data + b"\n"):
        try:
            read_text("labels", text, tmp_path)
        except Problem as problem:
            assert problem.kind is Kind.DAMAGED
            assert "\n" not in str(problem)


fields = st.sampled_from(["0.1", "0.5", "1", "0", "-1", "1.1", "nan", "", "x", "1e-1", "0" * 16])


@given(st.lists(st.lists(fields, min_size=13, max_size=13), min_size=1, max_size=3))
def test_the_fast_checks_and_the_checks_by_row_agree(tmp_path_factory, rows):
    """What is refused block by block is found again row by row, with its line."""
    rows = [[IMAGE_ID, *row[1:]] for row in rows]
    text = as_csv(release.BOX_COLUMNS, [BOX, *rows])
    tmp_path = tmp_path_factory.mktemp("rows")
    try:
        read_text("boxes", text, tmp_path)
    except Problem as problem:
        assert problem.detail.startswith("line ")


# --- Memory --------------------------------------------------------------------------------------

# What is in use at the peak, not what allocators hold back; and the same on any number of cores.
# Not by getrusage: its peak begins with that of the process that started this one.
STEADY = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_MMAP_THRESHOLD_": "65536"}
STEADY |= {"OMP_NUM_THREADS": "2"}
MEASURE = """
import sys, time
from pathlib import Path
from oiv5_d2.openimages.readers import read_rows
from oiv5_d2.openimages.release import MASK_COLUMNS
peak = lambda: int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) >> 10
list(read_rows(Path(sys.argv[1]), MASK_COLUMNS))
before, start = peak(), time.perf_counter()
num_rows = sum(len(masks) for masks in read_rows(Path(sys.argv[2]), MASK_COLUMNS))
print(num_rows, peak() - before, time.perf_counter() - start)
"""


@pytest.mark.slow
def test_a_table_is_read_in_the_memory_of_a_few_blocks(tmp_path):
    small, large = tmp_path / "small.csv", tmp_path / "large.csv"
    rows = [changed("masks", ImageID=f"{n:016x}", Clicks="0.1 0.2 1;" * 18) for n in range(5000)]
    small.write_text(as_csv(release.MASK_COLUMNS, rows))
    header, body = small.read_text().split("\n", 1)
    with large.open("w") as file:
        file.write(header + "\n")
        for _ in range(200_000_000 // len(body)):
            file.write(body)
    command = [sys.executable, "-c", MEASURE, str(small), str(large)]
    num_rows, grown_mb, seconds = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | STEADY
    ).stdout.split()
    print(f"{large.stat().st_size / 1e6 / float(seconds):.0f} MB/s, {grown_mb} MB more at the peak")
    assert int(num_rows) > 600_000
    assert int(grown_mb) < 100  # 60 are seen, and 140 with all rows in memory
