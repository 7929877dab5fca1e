import csv
import gzip
import io

import pytest
from raising import refused

from oiv5_d2.openimages import release
from oiv5_d2.openimages.readers import read_rows
from oiv5_d2.openimages.tidy import find_fault, is_as_released, write_tidy
from oiv5_d2.problems import Kind, Problem, Remedy

BOXES = release.BOX_COLUMNS
ID = "0123456789abcdef"
BOX = [ID, "xclick", "/m/0k4j", "1", "0.1", "0.4", "0.2", "0.9", "0", "1", "0", "-1", "0"]
MASK = [f"{ID}_m0k4j_12345678.png", ID, "/m/0k4j", "12345678"]
MASK += ["0.1", "0.4", "0.2", "0.9", "0.8", "0.1 0.2 1"]


def text_of(rows, header=BOXES, **options):
    file = io.StringIO(newline="")
    csv.writer(file, **{"lineterminator": "\n", **options}).writerows([header, *rows])
    return file.getvalue()


RELEASED = text_of([BOX, BOX]).encode()


def tidied(tmp_path, data, columns=BOXES):
    path, copy = tmp_path / "mine.csv", tmp_path / "copy" / "tidy.csv"
    path.write_bytes(data)
    write_tidy(path, columns, copy)
    return copy.read_bytes()


def changed(**values):
    return [values.get(column, text) for column, text in zip(BOXES, BOX, strict=True)]


UNTIDY = {
    "byte order mark": RELEASED.decode().encode("utf-8-sig"),
    "UTF-16": RELEASED.decode().encode("utf-16"),
    "gzip": gzip.compress(RELEASED),
    "gzip of UTF-16": gzip.compress(RELEASED.decode().encode("utf-16")),
    "CRLF": RELEASED.replace(b"\n", b"\r\n"),
    "CR": RELEASED.replace(b"\n", b"\r"),
    "no last line end": RELEASED[:-1],
    "two last line ends": RELEASED + b"\n",
    "quoted": text_of([BOX, BOX], quoting=csv.QUOTE_ALL).encode(),
    "semicolons": text_of([BOX, BOX], delimiter=";").encode(),
    "tabs": text_of([BOX, BOX], delimiter="\t").encode(),
    "blanks in the header": RELEASED.replace(b"Source,LabelName", b" Source , LabelName", 1),
    "another order": text_of([BOX[::-1]] * 2, BOXES[::-1]).encode(),
    "V6": text_of([[*BOX, *map(str, range(8))]] * 2, release.V6_BOX_COLUMNS).encode(),
    "an index": text_of([["0", *BOX], ["1", *BOX]], ("", *BOXES)).encode(),
    "whole numbers with a point": text_of(
        [changed(IsOccluded="0.0", IsTruncated="1.0", IsDepiction="-1.0", IsInside="0.0")] * 2
    ).encode(),
    "lines that end in a separator": RELEASED.replace(b"\n", b",\n").replace(b",\n", b"\n", 1),
    "empty lines first": b"\r\n \n" + RELEASED,
    "two tables joined": text_of([BOX]).encode() * 2,
    "file names for ids": text_of([changed(ImageID=f"{ID}.jpg"), BOX]).encode(),
    "UTF-16 without a mark": RELEASED.decode().encode("utf-16-le"),
    "UTF-16 of the other kind without a mark": RELEASED.decode().encode("utf-16-be"),
    "blanks around values": text_of([[f" {value} " for value in BOX]] * 2).encode(),
    "UTF-32": RELEASED.decode().encode("utf-32"),
    "Excel's first line": b"sep=,\r\n" + RELEASED,
    "a header in small letters": RELEASED.replace(
        RELEASED.split(b"\n")[0], ",".join(BOXES).lower().encode()
    ),
    "R's row names": text_of([["1", *BOX], ["2", *BOX]], quoting=csv.QUOTE_ALL).encode(),
    "decimal commas": text_of([[v.replace(".", ",") for v in BOX]] * 2, delimiter=";").encode(),
    "yes and no as words": text_of(
        [changed(IsOccluded="False", IsTruncated="TRUE", IsDepiction="-1.0", IsInside="false")] * 2
    ).encode(),
    "ids in capital letters": text_of([changed(ImageID=ID.upper())] * 2).encode(),
}


@pytest.mark.parametrize("kind", UNTIDY)
def test_a_table_of_another_form_becomes_the_release_s(tmp_path, kind):
    assert tidied(tmp_path, UNTIDY[kind]) == RELEASED


def test_a_mask_s_name_follows_its_image_s_id(tmp_path):
    loud = [MASK[0].replace(ID, ID.upper()), ID.upper(), *MASK[2:]]
    found = tidied(tmp_path, text_of([loud], release.MASK_COLUMNS).encode(), release.MASK_COLUMNS)
    assert found == text_of([MASK], release.MASK_COLUMNS).encode()


def test_an_empty_value_is_one_whatever_it_is_called(tmp_path):
    rows = [[*MASK[:8], none, MASK[9]] for none in ("NA", "nan", "NULL", "None", "")]
    found = tidied(tmp_path, text_of(rows, release.MASK_COLUMNS).encode(), release.MASK_COLUMNS)
    assert found == text_of([rows[-1]] * 5, release.MASK_COLUMNS).encode()


@pytest.mark.parametrize(
    ("given", "right"),
    [
        ({"XMax": "1.0000001"}, {"XMax": "1"}),
        ({"YMin": "-1e-7"}, {"YMin": "0"}),
        ({"XMin": "0.4000001", "XMax": "0.4"}, {"XMin": "0.4000001", "XMax": "0.4000001"}),
    ],
)
def test_a_box_off_by_rounding_is_brought_inside(tmp_path, given, right):
    found = tidied(tmp_path, text_of([changed(**given)]).encode())
    assert found == text_of([changed(**right)]).encode()


def test_the_reader_takes_what_was_tidied(tmp_path):
    path, copy = tmp_path / "mine.csv", tmp_path / "tidy.csv"
    path.write_bytes(UNTIDY["V6"])
    assert not is_as_released(path, BOXES)
    write_tidy(path, BOXES, copy)
    assert is_as_released(copy, BOXES)
    (rows,) = read_rows(copy, BOXES)
    assert rows["XMax"].tolist() == [0.4, 0.4]


@pytest.mark.parametrize(
    ("values", "facts", "remedy"),
    [
        ({"XMax": "1.01"}, "XMax 1.01", Remedy.FIX_LINE),
        ({"XMin": "0.5"}, "XMin 0.5", Remedy.FIX_LINE),
        ({"IsInside": "no"}, "IsInside 'no'", Remedy.FIX_LINE),
        ({"ImageID": "street_001"}, "street_001", Remedy.OWN_IMAGES),
        ({"XMin": "left"}, "XMin 'left'", Remedy.FIX_LINE),
    ],
)
def test_a_value_that_cannot_be_taken_is_named_with_its_line(tmp_path, values, facts, remedy):
    path = tmp_path / "mine.csv"
    path.write_bytes(text_of([BOX, changed(**values)], quoting=csv.QUOTE_ALL).encode())
    problem = find_fault(path, BOXES)
    assert (problem.kind, problem.subject) == (Kind.DAMAGED, str(path))
    assert problem.detail.startswith("line 3: ") and facts in problem.detail
    assert problem.remedy is remedy


def test_bytes_that_are_no_utf_8_are_named_with_line_and_column(tmp_path):
    data = text_of([BOX, changed(Source="Ren\xe9")]).encode("cp1252")
    with refused(Kind.DAMAGED, remedy=Remedy.SAVE_AS_UTF8, about="line 3: Source") as caught:
        tidied(tmp_path, data)
    assert "0xe9" in caught.value.detail
    assert not (tmp_path / "copy").exists() or not list((tmp_path / "copy").iterdir())


def test_an_id_that_is_missing_is_left_to_the_reader(tmp_path):
    data = text_of([["", "verification", "/m/0k4j", "1"]], release.IMAGE_LABEL_COLUMNS).encode()
    assert tidied(tmp_path, data, release.IMAGE_LABEL_COLUMNS) == data


@pytest.mark.parametrize(
    ("data", "facts"),
    [
        (b"", "line 1: "),
        (text_of([BOX[:-1]], BOXES[:-1]).encode(), "IsInside"),
        (text_of([MASK], release.MASK_COLUMNS).encode(), "a mask table"),
        (text_of([[*BOX, "0"]], (*BOXES, "XMin")).encode(), "line 1: "),
        (text_of([BOX, BOX[:5]]).encode(), "line 3: 5 fields"),
        (text_of([BOX, [*BOX, ""]]).encode(), "line 3: 14 fields"),
        (b"sep=;\n" + text_of([BOX[:5]], delimiter=";").encode(), "line 3: 5 fields"),
        (RELEASED[:-20] + b',"0,1', "line 3: "),  # a quote that is not closed
        (b'"' + RELEASED.replace(b",", b'","')[:50], "line 1: "),
        (gzip.compress(RELEASED)[:-9], "line "),
        (gzip.compress(RELEASED * 99)[:-99], "line "),
    ],
)
def test_what_is_no_such_table_is_refused(tmp_path, data, facts):
    with refused(Kind.DAMAGED, about=facts) as caught:
        tidied(tmp_path, data)
    assert "\n" not in str(caught.value)


def test_any_bytes_are_tidied_or_refused(tmp_path):
    rng = __import__("random").Random(1)
    for data in (RELEASED, *UNTIDY.values()):
        for _ in range(20):
            damaged = bytearray(data)
            for _ in range(rng.randint(1, 4)):
                damaged[rng.randrange(len(damaged))] = rng.randrange(256)
            try:
                tidied(tmp_path, bytes(damaged))
            except Problem as problem:
                assert problem.kind is Kind.DAMAGED


@pytest.mark.parametrize(
    ("start", "about"),
    [
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\xef\xbb\xbf<?xml version='1.0'?><Error>", "server"),
        (b"PK\3\4", "Excel"),
        (b"\xd0\xcf\x11\xe0", "Excel"),
    ],
)
def test_what_is_no_table_is_called_what_it_is(tmp_path, start, about):
    with refused(Kind.DAMAGED, remedy=Remedy.FIX_SOURCE, about=about):
        tidied(tmp_path, start + b"\xff" * 99)


@pytest.mark.parametrize("folder", ["train-masks-0/", "C:\\masks\\"])
def test_a_mask_s_folder_is_left_out(tmp_path, folder):
    data = text_of([[folder + MASK[0], *MASK[1:]]], release.MASK_COLUMNS).encode()
    assert (
        tidied(tmp_path, data, release.MASK_COLUMNS)
        == text_of([MASK], release.MASK_COLUMNS).encode()
    )


def test_a_compressed_table_that_is_cut_short_is_to_be_fixed_at_its_source(tmp_path):
    with refused(Kind.DAMAGED, remedy=Remedy.FIX_SOURCE):
        tidied(tmp_path, gzip.compress(RELEASED)[:-20])
