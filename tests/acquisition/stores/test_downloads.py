import hashlib
import os
import random

import pytest
from servers import LONGER, SHORTER, serve
from zip_files import FarStore

from oiv5_d2.acquisition.stores import ChangedError, Head, StoreError
from oiv5_d2.acquisition.stores.downloads import Download, remove_arrivals

CONTENT = random.Random(0).randbytes(5500)
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def store(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "a.zip").write_bytes(CONTENT)
    return FarStore(tmp_path / "far")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "here" / "a.zip"


def interrupt(store, path, num_pieces=3):
    for number, _ in enumerate(Download(store, "a.zip", path).pieces(), start=1):
        if number == num_pieces:
            return


def bring(store, path, md5=None):
    download = Download(store, "a.zip", path)
    content = b"".join(download.pieces())
    download.finish(md5)
    assert path.read_bytes() == content
    assert [other.name for other in path.parent.iterdir()] == ["a.zip"]
    return content


def test_a_file_appears_when_it_is_whole(store, path):
    download = Download(store, "a.zip", path)
    for _ in download.pieces():
        assert not path.exists()
    download.finish(MD5)
    assert path.read_bytes() == CONTENT


def test_what_came_is_not_asked_for_again(store, path):
    interrupt(store, path)
    interrupt(store, path, 2)  # the piece that is there, and one more
    assert Download(store, "a.zip", path).num_resumed == 4000
    assert bring(store, path, MD5) == CONTENT
    assert [(get.start, get.stop) for get in store.gets] == [(0, 3000), (3000, 4000), (4000, 5500)]


def test_a_file_that_came_whole_but_has_no_name_yet_is_not_asked_for(store, path):
    interrupt(store, path, 6)
    store.gets.clear()
    assert bring(store, path, MD5) == CONTENT
    assert not store.gets


def test_an_answer_that_announces_too_little_is_no_end(store, path, connect):
    def faults(request, chance):
        return SHORTER if request.method == "GET" and request.num_before < 2 else None

    with serve(store.root, faults) as server:
        assert bring(connect(server.url), path, MD5) == CONTENT
    assert [line.range for line in server.log if line.method == "GET"] == ["", "bytes=5493-"]


@pytest.mark.parametrize("fault", [LONGER, SHORTER])
@pytest.mark.parametrize("num_came", [0, 1000, 5497, 5500])
def test_a_length_that_was_told_wrong_costs_nothing_that_came(
    store, path, connect, fault, num_came
):
    with serve(store.root) as server:
        served = connect(server.url)
        download = Download(served, "a.zip", path)
        next(download.pieces())
        [part] = path.parent.iterdir()
        part.write_bytes(CONTENT[:num_came])
        server.log.clear()
        server.faults = lambda request, chance: (
            fault if request.method == "HEAD" and len(server.log) == 0 else None
        )
        assert bring(served, path, MD5) == CONTENT
    asked = [line for line in server.log if line.method == "GET" and line.status != 416]
    assert sum(line.num_bytes for line in asked) == len(CONTENT) - num_came


def test_an_error_keeps_what_came(store, path):
    store.fail = lambda get: StoreError("no answer") if get.stop == 2000 else None
    with pytest.raises(StoreError, match="no answer"):
        list(Download(store, "a.zip", path).pieces())
    assert bring(store, path, MD5) == CONTENT
    assert store.num_bytes == len(CONTENT)


@pytest.mark.parametrize("change", ["content", "location"])
def test_another_file_begins_anew(store, path, change):
    interrupt(store, path)
    if change == "content":
        (store.root / "a.zip").write_bytes(CONTENT[::-1])
        os.utime(store.root / "a.zip", ns=(1, 1))  # the clock of files may not have moved on
    else:
        store.location = "elsewhere"
    store.gets.clear()
    bring(store, path)
    assert [get.start for get in store.gets] == [0]


def test_what_can_not_be_told_from_another_file_begins_anew(store, path):
    store.head = lambda key: Head(len(CONTENT), "")
    interrupt(store, path)
    store.gets.clear()
    assert bring(store, path) == CONTENT
    assert [get.start for get in store.gets] == [0]


def test_a_file_that_changes_on_the_way_is_dropped(store, path):
    def change(get):
        if get.stop == 3000:
            return ChangedError("the file is another one than before")
        return None

    store.fail = change
    with pytest.raises(ChangedError):
        list(Download(store, "a.zip", path).pieces())
    assert not list(path.parent.iterdir())


def test_a_file_that_grows_on_the_way_is_dropped(store, path):
    def grow(get):
        with (store.root / "a.zip").open("ab") as file:
            file.write(b"more")

    download = Download(store, "a.zip", path)
    store.fail = grow
    with pytest.raises(ChangedError):
        list(download.pieces())
    assert not list(path.parent.iterdir())


def test_a_wrong_md5_leaves_nothing(store, path):
    with pytest.raises(ValueError, match=f"its MD5 is {MD5}, and the release's is 0000") as caught:
        bring(store, path, "0" * 32)
    assert "\n" not in str(caught.value)
    assert not list(path.parent.iterdir())


def test_a_file_cut_short_leaves_nothing(store, path):
    download = Download(store, "a.zip", path)
    pieces = download.pieces()
    next(pieces)
    pieces.close()
    with pytest.raises(ValueError, match="it was cut short at 1000 of 5500 bytes"):
        download.finish()
    assert not list(path.parent.iterdir())


def test_a_part_that_is_too_long_begins_anew(store, path):
    interrupt(store, path)
    [part] = path.parent.iterdir()
    part.write_bytes(bytes(6000))
    assert bring(store, path, MD5) == CONTENT


def test_arrivals_that_are_not_wanted_any_more_are_removed(store, path):
    interrupt(store, path)
    other = path.with_name("b.zip")
    other.write_bytes(b"")
    remove_arrivals(path)
    assert list(path.parent.iterdir()) == [other]


def test_a_file_that_is_not_there_is_told_before_anything_is_made(store, path):
    with pytest.raises(FileNotFoundError):
        Download(store, "b.zip", path)
    assert not path.parent.exists()


def test_an_empty_file_comes_too(store, path):
    (store.root / "a.zip").write_bytes(b"")
    assert bring(store, path) == b""
