import io
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raising import refused
from servers import NO_RANGES, always, serve
from zip_files import (
    FOUR,
    Pipe,
    end_of,
    in_end,
    in_header,
    with_end_64,
    with_field,
    zipped,
)

from oiv5_d2.acquisition import partial_zips
from oiv5_d2.acquisition.buckets import Bucket, Head
from oiv5_d2.acquisition.partial_zips import Entry, coalesce, fill, open_zip
from oiv5_d2.acquisition.shards import DAMAGE
from oiv5_d2.acquisition.transfer import Transfer
from oiv5_d2.problems import Kind

METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\\\0"), min_size=1, max_size=30)
PLAIN_NAMES = NAMES.filter(lambda name: name not in (".", ".."))


def open_data(path, data, wanted=FOUR):
    path.write_bytes(data)
    return open_zip(path, Head(len(data), ""), list(wanted))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.zip"


@pytest.fixture(scope="module")
def any_path(tmp_path_factory):
    return tmp_path_factory.mktemp("zips") / "a.zip"


def contents(zip_):
    found = {name: zip_.read(entry) for name, entry in zip_.entries.items()}
    zip_.close()
    return found


# --- What is read ---------------------------------------------------------------------------------


@given(
    st.dictionaries(PLAIN_NAMES, st.binary(max_size=2000), max_size=6),
    st.sampled_from(METHODS),
    st.binary(max_size=1100).filter(lambda comment: b"PK" not in comment),
    st.booleans(),
    st.booleans(),
)
def test_a_zip_is_read_as_it_was_written(any_path, masks, method, comment, is_piped, is_64):
    data = zipped(masks, method, comment, Pipe() if is_piped else None)
    data = with_end_64(data) if is_64 else data
    zip_ = open_data(any_path, data, masks)
    assert not zip_.refused
    stop = 0
    for entry in zip_.entries.values():
        assert entry.start == stop  # nothing between the entries of such a zip, nothing twice
        stop = entry.stop
    assert stop == zip_.archive.start_dir
    assert contents(zip_) == masks


@pytest.mark.parametrize("is_forced", [True, False])
def test_large_sizes_and_places_are_read_from_their_own_field(path, monkeypatch, is_forced):
    if not is_forced:  # writes every size and place above 20 as if it were above 4 GiB
        monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 20)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in FOUR.items():
            with archive.open(name, "w", force_zip64=True) as entry:
                entry.write(content)
    assert contents(open_data(path, file.getvalue())) == FOUR


def test_only_what_is_wanted_is_kept(path):
    zip_ = open_data(path, zipped(FOUR), ["3.png", "1.png", "absent.png"])
    assert list(zip_.entries) == ["1.png", "3.png"]
    zip_.close()


def test_an_entry_ends_soon_after_its_data_whatever_follows(path):
    data = zipped(FOUR)
    place, start = end_of(data)
    hole = bytes(1 << 20)
    end = with_field(data[place:], 16, "<L", start + len(hole))
    zip_ = open_data(path, data[:start] + hole + data[start:place] + end)
    entry = zip_.entries["3.png"]
    assert 200 < entry.stop - entry.start < 67_000
    assert contents(zip_) == FOUR


# --- What is asked for ----------------------------------------------------------------------------


@pytest.fixture
def copy_of(tmp_path):
    """Opens copies of a zip on a server; the log of a call, without HEAD, is its second value."""
    (tmp_path / "served").mkdir()

    def open_copy(data, faults=None):
        (tmp_path / "served" / "a.zip").write_bytes(data)
        with serve(tmp_path / "served", faults) as server:
            bucket = Bucket(server.url, Transfer())
            head = bucket.head("a.zip")._replace(etag="")  # servers are not the same twice
            path = tmp_path / "copies" / "a.zip"
            zip_ = open_zip(path, head, list(FOUR), bucket, "a.zip")
            return zip_, [access for access in server.log if access.method == "GET"]

    return open_copy


@pytest.mark.parametrize("comment", [b"", b"c" * 50, b"c" * 0xFFFF])
@pytest.mark.parametrize("is_64", [False, True])
def test_no_more_than_the_directory_is_fetched_and_no_byte_twice(copy_of, comment, is_64):
    many = {f"{number:030}.png": b"1" * 3000 for number in range(300)}
    data = zipped(many, comment=comment)
    data = with_end_64(data) if is_64 else data
    zip_, log = copy_of(data)
    num_bytes = sum(access.num_bytes for access in log)
    least = len(data) - zip_.archive.start_dir
    assert zip_.num_fetched == num_bytes
    assert num_bytes == least if not comment else num_bytes <= max(least, 22 + (1 << 16))
    assert len(log) <= 5
    assert zip_.path.stat().st_size == len(data)
    zip_.close()


def test_a_directory_that_came_is_not_fetched_again(copy_of):
    data = zipped(FOUR)
    copy_of(data)[0].close()
    zip_, log = copy_of(data)
    assert (log, zip_.num_fetched) == ([], 0)
    fill(zip_.file, 0, data[: zip_.archive.start_dir])
    assert contents(zip_) == FOUR


def test_a_copy_whose_directory_came_only_in_part_is_made_anew(copy_of):
    data = zipped(FOUR)
    zip_, _ = copy_of(data)
    fill(zip_.file, zip_.archive.start_dir, bytes(60))
    zip_.close()
    zip_, log = copy_of(data)
    assert log
    assert list(zip_.entries) == list(FOUR)
    zip_.close()


def test_what_did_not_come_is_not_read(copy_of):
    data = zipped(FOUR)
    zip_, _ = copy_of(data)
    fill(zip_.file, zip_.entries["1.png"].start, data[zip_.entries["1.png"].start :][:80])
    for name in FOUR:
        with pytest.raises(DAMAGE):
            zip_.read(zip_.entries[name])
    zip_.close()


def test_nothing_is_left_where_the_directory_does_not_come(copy_of, tmp_path):
    for data, faults, kind in [
        (zipped(FOUR), always(NO_RANGES), Kind.UNSUPPORTED),
        (b"<html>not found</html>", None, Kind.DAMAGED),
        (b"", None, Kind.DAMAGED),
        (in_end(12, "<L", 1 << 30)(zipped(FOUR)), None, Kind.DAMAGED),
    ]:
        with refused(kind, about="a.zip"):
            copy_of(data, faults)
        assert not list((tmp_path / "copies").iterdir())


def test_a_directory_that_would_fill_the_memory_is_refused(copy_of):
    data = zipped(FOUR)
    place, _ = end_of(data)
    size = 70 << 20
    end = with_field(data[place:], 12, "<LL", size, 1000)
    with refused(Kind.DAMAGED, about=size - 76):  # what came with the end record is not counted
        copy_of(bytes(1000 + size) + end)


# --- What is not believed -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"",
        lambda data: b"<html>not found</html>",
        lambda data: data[:-1],
        in_end(12, "<L", 5),
        in_end(12, "<L", 1 << 30),
        in_header("2.png", 0, "<L", 0),
        in_header("1.png", 30, "<H", 3),
        lambda data: with_field(with_end_64(data), len(data) - 22 + 40, "<Q", 1 << 40),
        lambda data: with_field(with_end_64(data), len(data) - 22 + 40, "<Q", 1 << 63),
    ],
)
def test_a_zip_that_is_damaged_as_a_whole_is_refused(path, change):
    with refused(Kind.DAMAGED, about=path) as caught:
        open_data(path, change(zipped(FOUR))).close()
    assert caught.value.detail
    assert "\n" not in caught.value.detail


@pytest.mark.parametrize(
    "change",
    [
        in_header("2.png", 8, "<H", 1),
        in_header("2.png", 10, "<H", 12),
        in_header("2.png", 10, "<H", 14),
        in_header("2.png", 10, "<H", 99),
        in_header("2.png", 24, "<L", 40 << 20),
        in_header("2.png", 20, "<L", 20 << 20),
        in_header("2.png", 20, "<L", 0xFFFF_FFFF),
        in_header("2.png", 20, "<LL", 5000, 5000),
        in_header("2.png", 42, "<L", 4_000_000),
        in_header("2.png", 42, "<L", 0),
    ],
)
def test_an_entry_that_cannot_be_read_is_refused_and_the_others_are_not(path, change):
    zip_ = open_data(path, change(zipped(FOUR)))
    assert "2.png" in zip_.refused
    assert zip_.read(zip_.entries["1.png"]) == FOUR["1.png"]
    assert zip_.read(zip_.entries["3.png"]) == FOUR["3.png"]
    zip_.close()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (in_header("2.png", 24, "<L", 200_000), ValueError),
        (in_header("2.png", 46, "<5s", b"1.png"), DAMAGE),
    ],
)
def test_an_entry_that_is_not_what_its_header_says_is_not_read(path, change, error):
    zip_ = open_data(path, change(zipped(FOUR)))
    with pytest.raises(error):
        zip_.read(zip_.entries.get("2.png") or zip_.entries["1.png"])
    assert zip_.read(zip_.entries["3.png"]) == FOUR["3.png"]
    zip_.close()


def test_a_bomb_is_not_unpacked_further_than_it_says(path, monkeypatch):
    data = zipped({"a.png": bytes(200 << 20)}, zipfile.ZIP_DEFLATED)
    zip_ = open_data(path, in_header("a.png", 24, "<L", 5000)(data), ["a.png"])
    unpacked = []
    update = zipfile.ZipExtFile._update_crc
    monkeypatch.setattr(
        zipfile.ZipExtFile,
        "_update_crc",
        lambda self, new: (unpacked.append(len(new)), update(self, new)),
    )
    with pytest.raises(DAMAGE):
        zip_.read(zip_.entries["a.png"])
    assert sum(unpacked) <= 5000
    zip_.close()


@pytest.mark.parametrize("num_bytes", [100, 1000])
def test_an_entry_of_another_size_than_it_says_is_not_read(path, num_bytes):
    data = zipped({"a.png": b"a mask" * 100}, zipfile.ZIP_DEFLATED)
    zip_ = open_data(path, in_header("a.png", 24, "<L", num_bytes)(data), ["a.png"])
    with pytest.raises(DAMAGE):
        zip_.read(zip_.entries["a.png"])
    zip_.close()


@settings(max_examples=300)
@given(
    st.sampled_from([zipped(FOUR), with_end_64(zipped(FOUR, zipfile.ZIP_DEFLATED, b"c"))]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=4)), max_size=4),
    st.floats(0, 1),
)
def test_whatever_bytes_come_only_right_content_is_read(any_path, data, changes, share):
    damaged = bytearray(data)
    for place, piece in changes:
        start = int(place * len(data))
        damaged[start : start + len(piece)] = piece
    damaged = bytes(damaged[round(share * len(damaged)) * (share < 0.1) :])
    any_path.write_bytes(damaged)
    try:
        zip_ = open_zip(any_path, Head(len(damaged), ""), list(FOUR))
    except partial_zips.Problem as problem:
        assert problem.kind is Kind.DAMAGED
        return
    stop = 0
    for entry in sorted(zip_.entries.values(), key=lambda entry: entry.start):
        assert stop <= entry.start < entry.stop
        stop = entry.stop
        try:
            content = zip_.read(entry)
        except DAMAGE:
            continue
        assert content in FOUR.values()
    assert stop <= zip_.archive.start_dir
    zip_.close()


# --- Spans ----------------------------------------------------------------------------------------


def entries_at(*places):
    """Make entries of (start, stop)."""
    return [Entry(f"{start}.png", start, stop, zipfile.ZipInfo()) for start, stop in places]


def spans_of(*places, **limits):
    return [(span[0].start, span[-1].stop) for span in coalesce(entries_at(*places), **limits)]


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 500)), max_size=40),
    st.floats(0, 2),
    st.randoms(),
)
def test_spans_hold_each_entry_once_and_little_else(steps, max_waste, chance):
    places, at = [], 0
    for gap, num_bytes in steps:
        places.append((at + gap, at + gap + num_bytes))
        at += gap + num_bytes
    entries = entries_at(*places)
    shuffled = chance.sample(entries, len(entries))
    spans = coalesce(shuffled, max_waste)
    assert [entry for span in spans for entry in span] == entries
    wanted_bytes = sum(stop - start for start, stop in places)
    num_bytes = sum(span[-1].stop - span[0].start for span in spans)
    assert num_bytes <= (1 + max_waste) * wanted_bytes


def test_neighbours_are_one_request():
    assert spans_of((0, 10), (10, 20), (20, 30)) == [(0, 30)]


def test_the_smallest_gaps_are_bridged_first():
    assert spans_of((0, 100), (105, 200), (203, 300), max_waste=0.02) == [(0, 100), (105, 300)]


def test_a_span_has_a_limit():
    spans = spans_of(*((at << 19, (at + 1) << 19) for at in range(10)))
    assert [stop - start for start, stop in spans] == [2 << 20, 2 << 20, 1 << 20]


def test_nothing_wanted_is_no_request():
    assert coalesce([]) == []


@pytest.mark.parametrize(("step", "is_nearly_all"), [(2, True), (10, False)])
def test_very_many_requests_become_all_of_the_zip_in_large_pieces(path, step, is_nearly_all):
    many = {f"{number:06}.png": bytes(1700) for number in range(12_000)}
    zip_ = open_data(path, zipped(many), list(many)[::step])
    entries = list(zip_.entries.values())
    requests = zip_.requests(entries)
    num_bytes = sum(get.stop - get.start for get in requests)
    least = sum(entry.stop - entry.start for entry in entries)
    if is_nearly_all:
        assert len(requests) <= 12
        assert num_bytes > 1.8 * least
    else:
        assert len(requests) > 1000
        assert num_bytes <= 1.05 * least
    assert [entry for span in requests.values() for entry in span] == entries
    zip_.close()
