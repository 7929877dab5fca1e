import io
import itertools
import re
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from servers import LONGER, SHORTER, serve
from zip_files import (
    FOUR,
    FarFolder,
    FlippingStore,
    Pipe,
    end_of,
    header_of,
    in_end,
    in_header,
    parse,
    with_end_64,
    with_field,
    zipped,
)

from oiv5_d2.acquisition.mask_zips.central_directory import read_directory
from oiv5_d2.acquisition.mask_zips.entries import unpack
from oiv5_d2.acquisition.stores import FolderStore, HttpStore, Transfer

METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\\\0"), min_size=1, max_size=30)
PLAIN_NAMES = NAMES.filter(lambda name: name not in (".", ".."))


# --- What a zip says ------------------------------------------------------------------------------


@given(
    st.dictionaries(PLAIN_NAMES, st.binary(max_size=2000), max_size=6),
    st.sampled_from(METHODS),
    st.binary(max_size=1100).filter(lambda comment: b"PK" not in comment),
    st.booleans(),
    st.booleans(),
)
def test_a_zip_is_read_as_it_was_written(entries, method, comment, is_piped, is_64):
    data = zipped(entries, method, comment, Pipe() if is_piped else None)
    data = with_end_64(data) if is_64 else data
    directory = parse(data)
    assert directory.comment == comment
    assert directory.num_bytes == len(data)
    assert list(directory.entries) == list(entries)
    assert not directory.refused
    stop = 0
    for name, entry in directory.entries.items():
        assert entry.start == stop  # nothing between the entries of such a zip, nothing twice
        stop = entry.stop
        assert unpack(entry, data[entry.start : entry.stop]) == entries[name]
    assert stop == len(data) - directory.directory_bytes


@pytest.mark.parametrize("is_forced", [True, False])
def test_large_sizes_and_places_are_read_from_their_own_field(monkeypatch, is_forced):
    if not is_forced:  # writes every size and place above 20 as if it were above 4 GiB
        monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 20)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in FOUR.items():
            with archive.open(name, "w", force_zip64=True) as entry:
                entry.write(content)
    data = file.getvalue()
    assert (b"\xff" * 8 in data[end_of(data)[1] :]) != is_forced
    directory = parse(data)
    for name, entry in directory.entries.items():
        assert unpack(entry, data[entry.start : entry.stop]) == FOUR[name]
    assert list(directory.entries) == list(FOUR)


def test_only_what_is_wanted_is_kept():
    whole = parse(zipped(FOUR))
    directory = parse(zipped(FOUR), ["3.png", "1.png", "absent.png"])
    assert directory.entries == {name: whole.entries[name] for name in ("1.png", "3.png")}


def test_an_entry_ends_soon_after_its_data_whatever_follows():
    data = zipped(FOUR)
    place, start = end_of(data)
    hole = bytes(1 << 20)
    end = with_field(data[place:], 16, "<L", start + len(hole))
    entry = parse(data[:start] + hole + data[start:place] + end).entries["3.png"]
    assert 200 < entry.stop - entry.start < 67_000


# --- What is asked for ----------------------------------------------------------------------------


@pytest.mark.parametrize("comment", [b"", b"c" * 50, b"c" * 900, b"c" * 0xFFFF])
@pytest.mark.parametrize("is_64", [False, True])
def test_no_more_than_the_directory_is_read_and_no_byte_twice(comment, is_64):
    many = {f"{number:030}.png": b"1" * 3000 for number in range(300)}
    data = zipped(many, comment=comment)
    data = with_end_64(data) if is_64 else data
    with FarFolder(data) as store:
        directory = read_directory(store, "a.zip")
        assert store.num_bytes <= max(directory.directory_bytes, 22 + 0xFFFF)
        if len(comment) < 1000:
            assert store.num_bytes == directory.directory_bytes
        gets = sorted((get.start, get.stop) for get in store.gets)
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(gets))
        assert {get.etag for get in store.gets} == {directory.etag}


def test_an_empty_zip_has_no_entries():
    with FarFolder(zipped({})) as store:
        directory = read_directory(store, "a.zip")
        assert (directory.entries, directory.directory_bytes, store.num_bytes) == ({}, 22, 22)


def test_a_kept_directory_is_not_read_again(tmp_path):
    kept = tmp_path / "masks" / "kept"
    with FarFolder(zipped(FOUR)) as store:
        first = read_directory(store, "a.zip", kept_path=kept)
        store.gets.clear()
        assert read_directory(store, "a.zip", kept_path=kept) == first
        assert not store.gets


@pytest.mark.parametrize("is_changed", [True, False])
def test_a_kept_directory_of_another_zip_or_a_damaged_one_is_not_believed(tmp_path, is_changed):
    kept = tmp_path / "kept"
    with FarFolder(zipped(FOUR)) as store:
        read_directory(store, "a.zip", kept_path=kept)
        if is_changed:
            (store.root / "a.zip").write_bytes(zipped({"other.png": b"1"}))
        else:
            kept.write_bytes(kept.read_bytes()[:-5] + b"12345")
        names = ["other.png"] if is_changed else list(FOUR)
        assert list(read_directory(store, "a.zip", kept_path=kept).entries) == names
        store.gets.clear()
        assert list(read_directory(store, "a.zip", kept_path=kept).entries) == names
        assert not store.gets


def test_a_directory_damaged_on_its_way_is_read_again_and_not_kept(tmp_path):
    data = zipped(FOUR)
    (tmp_path / "a.zip").write_bytes(data)
    store = FlippingStore(tmp_path, header_of(data, "2.png"))
    directory = read_directory(store, "a.zip", kept_path=tmp_path / "kept")
    assert store.has_erred
    assert list(directory.entries) == list(FOUR)
    store.gets.clear()
    assert read_directory(store, "a.zip", kept_path=tmp_path / "kept") == directory
    assert not store.gets


def test_a_directory_that_stays_damaged_is_not_kept(tmp_path):
    kept = tmp_path / "kept"
    with FarFolder(in_header("2.png", 20, "<L", 0xFFFF_FFFF)(zipped(FOUR))) as store:
        read_directory(store, "a.zip", ["1.png"], kept)  # the damaged entry is not looked into
        with pytest.raises(ValueError, match="a ZIP64 entry"):
            read_directory(store, "a.zip", ["2.png"], kept)
        assert not kept.exists()


def test_a_zip_that_is_not_there_is_no_damaged_zip(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_directory(FolderStore(tmp_path), "a.zip")


# --- What is not believed -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"", "not a zip"),
        (lambda data: b"<html>not found</html>", "not a zip"),
        (lambda data: data[:-1], "not a zip"),
        (lambda data: data + b"\n", "not a zip"),
        (lambda data: data[1:], "not where its end record says"),
        (lambda data: b"1" + data, "not where its end record says"),
        (in_end(16, "<L", 5), "not where its end record says"),
        (in_end(12, "<L", 5), "not where its end record says"),
        (in_end(4, "<H", 1), "one of several parts"),
        (in_end(10, "<H", 5), "says it has 5 entries, and names 4"),
        (in_header("2.png", 0, "<L", 0), "damaged at entry 3"),
        (in_header("1.png", 30, "<H", 3), "damaged at entry 3"),
        (in_header("3.png", 30, "<H", 3), "ends in the middle of an entry"),
        (in_header("2.png", 20, "<L", 0xFFFF_FFFF), "a ZIP64 entry .* is damaged"),
        (lambda data: with_end_64(data, count=9), "says it has 9 entries, and names 4"),
        (lambda data: with_end_64(data).replace(b"PK\6\6", b"PK\6\0"), "ZIP64 end .* is damaged"),
        (
            lambda data: with_field(with_end_64(data), len(data) - 22 + 56 + 8, "<Q", 1 << 40),
            "ZIP64 end record is not where",
        ),
    ],
)
def test_a_zip_that_is_damaged_as_a_whole_is_refused(change, message):
    with pytest.raises(ValueError, match=message) as caught:
        parse(change(zipped(FOUR)))
    assert "\n" not in str(caught.value)


def test_a_directory_that_would_fill_the_memory_is_refused(tmp_path):
    data = zipped(FOUR)
    place, _ = end_of(data)
    size = 300 << 20
    end = with_field(data[place:], 12, "<LL", size, 1000)
    with (tmp_path / "a.zip").open("wb") as file:
        file.truncate(1000 + size)
        file.seek(1000 + size)
        file.write(end)
    with pytest.raises(ValueError, match=f"a central directory of {size} bytes is refused"):
        read_directory(FolderStore(tmp_path), "a.zip")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (in_header("2.png", 8, "<H", 1), "it is encrypted"),
        (in_header("2.png", 10, "<H", 12), r"a method that is not read here \(12\)"),
        (in_header("2.png", 24, "<L", 40 << 20), "it would unpack to 41943040 bytes: refused"),
        (in_header("2.png", 24, "<L", 200_000), "it would unpack to 200000 bytes: refused"),
        (in_header("2.png", 24, "<L", 149), "its sizes can not be true: 149 bytes in 150"),
        (in_header("2.png", 20, "<L", 20 << 20), "its sizes can not be true"),
        (in_header("2.png", 20, "<LL", 5000, 5000), "it lies over what follows it"),
        (in_header("2.png", 42, "<L", 4_000_000), "it lies over what follows it"),
        (in_header("2.png", 42, "<L", 0), "another entry lies at the same place"),
        (in_header("2.png", 46, "<5s", b"1.png"), ""),
    ],
)
def test_an_entry_that_lies_is_refused_and_the_others_are_not(change, reason):
    directory = parse(change(zipped(FOUR)))
    if not reason:
        assert directory.refused == {"1.png": "the zip has several entries of this name"}
        assert list(directory.entries) == ["0.png", "3.png"]
        return
    assert re.search(reason, directory.refused["2.png"])
    assert "1.png" in directory.entries
    assert "3.png" in directory.entries


@pytest.mark.parametrize("name", ["../evil.png", "a/b.png", "a\\b.png", "/etc/passwd", "..", "."])
def test_a_name_that_could_lead_elsewhere_is_refused(name):
    directory = parse(zipped({name: b"1", "good.png": b"1"}))
    assert directory.refused == {name: "its name is not a plain file's name: refused"}
    assert list(directory.entries) == ["good.png"]


def test_entries_packed_by_other_methods_are_refused():
    data = zipped({"a.png": b"1" * 100}, zipfile.ZIP_BZIP2)
    assert parse(data).refused == {"a.png": "it is packed by a method that is not read here (12)"}


@settings(max_examples=300)
@given(
    st.sampled_from([zipped(FOUR), with_end_64(zipped(FOUR, zipfile.ZIP_DEFLATED, b"c"))]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=4)), max_size=4),
    st.floats(0, 1),
)
def test_whatever_bytes_come_what_is_believed_lies_in_the_zip(data, changes, share):
    damaged = bytearray(data)
    for place, piece in changes:
        start = int(place * len(data))
        damaged[start : start + len(piece)] = piece
    damaged = bytes(damaged[round(share * len(damaged)) * (share < 0.1) :])
    try:
        directory = parse(damaged)
    except ValueError as error:
        assert "\n" not in str(error)
        return
    stop = 0
    for entry in sorted(directory.entries.values(), key=lambda entry: entry.start):
        assert stop <= entry.start < entry.stop
        stop = entry.stop
    assert stop <= len(damaged) - directory.directory_bytes
    assert directory.entries.keys().isdisjoint(directory.refused)


@pytest.mark.parametrize("fault", [LONGER, SHORTER])
def test_a_length_that_was_told_wrong_once_is_asked_for_again(tmp_path, fault):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as new:
        new.writestr("a.png", bytes(500))

    def lie_once(request, chance):
        return fault if request.method == "HEAD" and not request.num_before else None

    with serve(tmp_path, lie_once) as server:
        store = HttpStore(server.url, Transfer(pause_seconds=0.01))
        directory = read_directory(store, "a.zip")
        store.close()
    assert directory.num_bytes == (tmp_path / "a.zip").stat().st_size
    assert list(directory.entries) == ["a.png"]
