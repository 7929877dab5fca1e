import csv
import io
import os
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oiv5_d2.openimages import readers, release

IMAGE_ID = "0123456789abcdef"
MASK = [f"{IMAGE_ID}_m04_sv_1a2b3c4d.png", IMAGE_ID, "/m/04_sv", "1a2b3c4d"]
MASK += ["0.100000", "0.500000", "0.200000", "0.900000", "0.87654", "0.1 0.2 1;0.3 0.4 0"]
BOX = [IMAGE_ID, "xclick", "/m/0k4j", "1", "0.1", "0.5", "0.2", "0.9", "1", "0", "0", "-1", "0"]
LABEL = [IMAGE_ID, "verification", "/m/0k4j", "0"]
IMAGE = [IMAGE_ID, "train", "u", "l", "by", "p", "An, Author", 'A "title"', "9", "m", "t", "90.0"]
KINDS = {
    "masks": (readers.read_masks, release.MASK_COLUMNS, MASK),
    "boxes": (readers.read_boxes, release.BOX_COLUMNS, BOX),
    "labels": (readers.read_image_labels, release.IMAGE_LABEL_COLUMNS, LABEL),
    "images": (readers.read_images, release.IMAGE_COLUMNS, IMAGE),
}


def as_csv(header, rows, quoting=csv.QUOTE_MINIMAL):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=quoting)
    text.write(",".join(header) + "\n")
    writer.writerows(rows)
    return text.getvalue()


def read(kind, rows, **options):
    reader, columns, _ = KINDS[kind]
    stream = io.BytesIO(as_csv(columns, rows).encode())
    return pd.concat(list(reader(stream, **options)), ignore_index=True)


def read_text(kind, text, tmp_path, **options):
    path = tmp_path / f"{kind}.csv"
    path.write_bytes(text.encode())
    return pd.concat(list(KINDS[kind][0](path, **options)), ignore_index=True)


def changed(kind, **values):
    _, columns, row = KINDS[kind]
    return [values.get(column, value) for column, value in zip(columns, row, strict=True)]


def test_masks_are_typed_and_the_clicks_are_dropped():
    masks = read("masks", [MASK])
    assert masks.columns.tolist() == list(release.MASK_COLUMNS[:-1])
    row = masks.iloc[0]
    assert (row["MaskPath"], row["LabelName"], row["BoxID"]) == (MASK[0], "/m/04_sv", "1a2b3c4d")
    assert row[["BoxXMin", "BoxXMax", "BoxYMin", "BoxYMax"]].tolist() == [0.1, 0.5, 0.2, 0.9]
    assert row["PredictedIoU"] == 0.87654


def test_an_empty_predicted_iou_is_nan():
    masks = read("masks", [changed("masks", PredictedIoU="", Clicks=""), MASK])
    assert np.isnan(masks["PredictedIoU"][0])
    assert masks["PredictedIoU"][1] == 0.87654


def test_attributes_of_boxes_are_small_integers():
    boxes = read("boxes", [BOX])
    assert boxes[list(release.ATTRIBUTES)].iloc[0].tolist() == [1, 0, 0, -1, 0]
    assert (boxes[list(release.ATTRIBUTES)].dtypes == np.int8).all()


def test_commas_quotes_and_line_ends_in_a_title_are_kept():
    title = 'Stop, "he\nsaid"'
    images = read("images", [changed("images", Title=title, Rotation=""), IMAGE], block_bytes=16)
    assert images["Title"].tolist() == [title, 'A "title"']
    assert np.isnan(images["Rotation"][0])
    assert images["Rotation"][1] == 90.0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("block_bytes", [1, 37, 1 << 20])
def test_the_size_of_a_block_changes_nothing(kind, block_bytes):
    rows = [changed(kind, ImageID=f"{number:016x}") for number in range(50)]
    whole = read(kind, rows)
    pd.testing.assert_frame_equal(read(kind, rows, block_bytes=block_bytes), whole)
    assert whole["ImageID"].tolist() == [row[KINDS[kind][1].index("ImageID")] for row in rows]


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_without_rows_has_its_columns_and_types(kind):
    empty, full = read(kind, []), read(kind, [KINDS[kind][2]])
    assert len(empty) == 0
    pd.testing.assert_series_equal(empty.dtypes, full.dtypes)


def test_a_file_with_windows_line_ends_and_a_byte_order_mark_is_read(tmp_path):
    text = as_csv(release.BOX_COLUMNS, [BOX, BOX])
    plain = read_text("boxes", text, tmp_path)
    windows = read_text("boxes", "\ufeff" + text.replace("\n", "\r\n"), tmp_path)
    pd.testing.assert_frame_equal(windows, plain)


def test_a_pipe_is_read_as_it_comes():
    reading, writing = os.pipe()
    text = as_csv(release.BOX_COLUMNS, [BOX] * 5000).encode()

    def write():
        with open(writing, "wb") as pipe:
            pipe.write(text)

    thread = threading.Thread(target=write)
    thread.start()
    with open(reading, "rb") as pipe:
        assert sum(len(frame) for frame in readers.read_boxes(pipe, block_bytes=4096)) == 5000
    thread.join()


def test_columns_and_rows_can_be_chosen():
    rows = [changed("boxes", ImageID=f"{n:016x}", LabelName=f"/m/{n % 3}") for n in range(9)]
    ids = [f"{n:016x}" for n in range(5)]
    keep = {"LabelName": {"/m/0"}, "ImageID": pd.Series(ids)}
    boxes = read("boxes", rows, columns=["XMin", "ImageID"], keep=keep, block_bytes=64)
    assert boxes.columns.tolist() == ["XMin", "ImageID"]
    assert boxes["ImageID"].tolist() == [ids[0], ids[3]]


def test_a_missing_file_is_an_error_of_its_own(tmp_path):
    with pytest.raises(FileNotFoundError):
        list(readers.read_masks(tmp_path / "none.csv"))


# --- What is refused -----------------------------------------------------------------------------


def fault(kind, text, tmp_path, **options):
    with pytest.raises(ValueError, match=f"{kind}.csv: line ") as caught:
        read_text(kind, text, tmp_path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert "Fetch the file again" in message
    return message


def test_v6_boxes_are_recognised(tmp_path):
    columns = [*release.BOX_COLUMNS, *release.V6_BOX_COLUMNS]
    message = fault("boxes", as_csv(columns, [BOX + ["0.5"] * 8]), tmp_path)
    assert "XClick1X" in message
    assert "V6" in message


@pytest.mark.parametrize(
    ("kind", "header", "said"),
    [
        ("masks", release.BOX_COLUMNS, "it looks like a box table"),
        ("boxes", release.IMAGE_LABEL_COLUMNS, "it looks like a table of image labels"),
        ("boxes", BOX, "the header line is missing"),
        ("boxes", release.BOX_COLUMNS[:-1], "columns missing: IsInside"),
        ("boxes", (*release.BOX_COLUMNS, "Extra"), "columns not of this table: Extra"),
        ("boxes", release.BOX_COLUMNS[::-1], "another order"),
        ("boxes", (*release.BOX_COLUMNS, "XMin"), "twice"),
    ],
)
def test_another_header_is_refused_with_what_differs(tmp_path, kind, header, said):
    assert said in fault(kind, as_csv(header, [KINDS[kind][2]]), tmp_path)


def test_an_empty_file_is_refused(tmp_path):
    assert "is empty" in fault("masks", "", tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_anywhere_in_its_last_line_is_refused(tmp_path, kind):
    row = KINDS[kind][2]
    text = as_csv(KINDS[kind][1], [row, row, row])
    last = len(text) - len(as_csv(row, []))
    for end in range(last + 1, len(text)):
        message = fault(kind, text[:end], tmp_path)
        assert "line 4: the file ends in the middle of a line" in message


def test_a_file_cut_in_its_header_is_refused(tmp_path):
    assert "line 1" in fault("masks", ",".join(release.MASK_COLUMNS)[:40], tmp_path)


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        ("masks", {"BoxXMin": "abc"}, "BoxXMin is 'abc', not a number"),
        ("masks", {"BoxXMin": ""}, "BoxXMin is empty"),
        ("masks", {"BoxXMin": "nan"}, "BoxXMin nan"),
        ("masks", {"BoxXMax": "1.000001"}, "BoxXMin 0.1 and BoxXMax 1.000001"),
        ("masks", {"BoxYMin": "-0.1"}, "BoxYMin -0.1"),
        ("masks", {"BoxYMin": "0.95"}, "BoxYMin 0.95 and BoxYMax 0.9 do not keep"),
        ("masks", {"PredictedIoU": "x"}, "PredictedIoU is 'x', not a number"),
        ("masks", {"ImageID": ""}, "ImageID '' is not 16 hex digits"),
        ("boxes", {"XMax": "0.05"}, "XMin 0.1 and XMax 0.05"),
        ("boxes", {"YMax": "inf"}, "YMin 0.2 and YMax inf"),
        ("boxes", {"IsInside": "2"}, "IsInside is 2, not 1, 0 or -1"),
        ("boxes", {"IsInside": "0.5"}, "IsInside is '0.5', not a number"),
        ("boxes", {"IsInside": "1000"}, "IsInside is '1000'"),
        ("boxes", {"IsGroupOf": ""}, "IsGroupOf is empty"),
        ("labels", {"Confidence": "yes"}, "Confidence is 'yes', not a number"),
        ("labels", {"Confidence": ""}, "Confidence is empty"),
        ("images", {"ImageID": "../etc/passwd"}, "ImageID '../etc/passwd' is not 16 hex digits"),
        ("images", {"Rotation": "left"}, "Rotation is 'left', not a number"),
    ],
)
@pytest.mark.parametrize("block_bytes", [100, 1 << 20])
def test_a_bad_value_is_refused_with_its_line(tmp_path, kind, values, said, block_bytes):
    rows = [KINDS[kind][2]] * 7
    rows[4] = changed(kind, **values)
    text = as_csv(KINDS[kind][1], rows)
    message = fault(kind, text, tmp_path, block_bytes=block_bytes)
    assert f"line 6: {said}" in message


@pytest.mark.parametrize("fields", [1, 9, 11])
def test_a_ragged_row_is_refused_with_its_line(tmp_path, fields):
    rows = [MASK, [*MASK, "more"][:fields], MASK]
    message = fault("masks", as_csv(release.MASK_COLUMNS, rows), tmp_path)
    assert f"line 3: {fields} fields instead of 10" in message


def test_lines_are_counted_as_an_editor_counts_them(tmp_path):
    rows = [changed("images", Title="two\nlines"), changed("images", ImageID="x"), IMAGE]
    assert "line 4: ImageID" in fault("images", as_csv(release.IMAGE_COLUMNS, rows), tmp_path)
    rows = [changed("images", Title="two\nlines"), IMAGE[:5]]
    assert "line 4: 5 fields" in fault("images", as_csv(release.IMAGE_COLUMNS, rows), tmp_path)


def test_an_empty_line_is_refused(tmp_path):
    text = as_csv(release.MASK_COLUMNS, [MASK]) + "\n" + ",".join(MASK) + "\n"
    assert "line 3" in fault("masks", text, tmp_path)


def test_a_quote_that_is_never_closed_is_refused(tmp_path):
    text = as_csv(release.IMAGE_COLUMNS, []) + '"' + as_csv(IMAGE, [IMAGE] * 3)
    assert "line 2" in fault("images", text, tmp_path)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "boxes.csv"
    row = ",".join(BOX).replace("xclick", "\xff\xfe").encode("latin-1")
    path.write_bytes(as_csv(release.BOX_COLUMNS, [BOX]).encode() + row + b"\n")
    with pytest.raises(ValueError, match=r"boxes\.csv: line 2: "):
        list(readers.read_boxes(path))


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


@given(st.lists(titles, max_size=8), st.integers(1, 200))
def test_any_text_survives(titles, block_bytes):
    rows = [changed("images", Title=title) for title in titles]
    text = as_csv(release.IMAGE_COLUMNS, rows, csv.QUOTE_ALL).encode()
    frames = readers.read_images(io.BytesIO(text), block_bytes=block_bytes)
    assert [title for frame in frames for title in frame["Title"]] == titles


@given(st.binary(max_size=300), st.integers(1, 400))
def test_any_bytes_are_read_or_refused_with_one_line(data, block_bytes):
    header = ",".join(release.IMAGE_LABEL_COLUMNS).encode() + b"\n"
    for text in (data, header + data):
        try:
            list(readers.read_image_labels(io.BytesIO(text), block_bytes=block_bytes))
        except ValueError as error:
            assert "\n" not in str(error)


# --- Memory --------------------------------------------------------------------------------------

# What is in use at the peak, not what allocators hold back; and the same on any number of cores.
# Not by getrusage: its peak begins with that of the process that started this one.
STEADY = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_MMAP_THRESHOLD_": "65536"}
STEADY |= {"OMP_NUM_THREADS": "2"}
MEASURE = """
import sys, time
from pathlib import Path
from oiv5_d2.openimages.readers import read_masks
peak = lambda: int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) >> 10
next(read_masks(Path(sys.argv[1]), block_bytes=1 << 16))
before, start = peak(), time.perf_counter()
num_rows = sum(len(masks) for masks in read_masks(Path(sys.argv[2])))
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
