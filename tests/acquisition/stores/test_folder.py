import os

import pytest

from oiv5_d2.acquisition.stores import ChangedError, FolderStore, Get, StoreError

DATA = bytes(range(256)) * 3


@pytest.fixture
def store(tmp_path):
    (tmp_path / "v5").mkdir()
    (tmp_path / "v5" / "a.zip").write_bytes(DATA)
    return FolderStore(tmp_path)


def test_a_folder_gives_files_ranges_and_sizes(store):
    assert store.read("v5/a.zip") == DATA
    assert store.read("v5/a.zip", 3, 7) == DATA[3:7]
    assert store.head("v5/a.zip").num_bytes == len(DATA)
    assert b"".join(store.stream("v5/a.zip", 5)) == DATA[5:]


def test_many_files_are_answered_in_order_the_absent_too(store):
    gets = [Get("v5/a.zip"), Get("none"), Get("v5/a.zip", 2, 4)]
    answers = list(store.read_many(gets))
    assert [answer.get for answer in answers] == gets
    assert [answer.data for answer in answers] == [DATA, b"", DATA[2:4]]
    assert isinstance(answers[1].error, FileNotFoundError)
    heads = dict(store.head_many(["v5/a.zip", "none"]))
    assert heads["v5/a.zip"].num_bytes == len(DATA)
    assert isinstance(heads["none"], FileNotFoundError)


def test_a_key_that_is_not_there_is_told(store):
    asks = (
        store.read,
        store.head,
        lambda key: store.read(key, 0, 1),
        lambda key: list(store.stream(key)),
    )
    for ask in asks:
        with pytest.raises(FileNotFoundError, match="none: there is no such file"):
            ask("none")


def test_a_key_that_is_a_folder_is_told(store):
    with pytest.raises(StoreError, match="it can not be read: Is a directory"):
        store.read("v5")


def test_a_file_that_is_too_long_to_be_read_whole_is_refused(store):
    small = FolderStore(store.root, max_file_bytes=len(DATA) - 1)
    with pytest.raises(StoreError, match=r"longer than transfer.max_file_bytes allows$"):
        small.read("v5/a.zip")
    assert small.read("v5/a.zip", 3, 7) == DATA[3:7]
    assert b"".join(small.stream("v5/a.zip")) == DATA


def test_bytes_past_the_end_are_told(store):
    with pytest.raises(StoreError, match="the file ends at byte 768, before 900"):
        store.read("v5/a.zip", 700, 900)


def test_a_file_that_became_another_is_told(store):
    etag = store.head("v5/a.zip").etag
    assert store.read("v5/a.zip", 0, 3, etag) == DATA[:3]
    os.utime(store.root / "v5" / "a.zip", ns=(0, 1))
    for ask in (
        lambda: store.read("v5/a.zip", 0, 3, etag),
        lambda: list(store.stream("v5/a.zip", 3, etag)),
    ):
        with pytest.raises(ChangedError, match="another one than before"):
            ask()


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: there is no such folder"):
        FolderStore(tmp_path / "nowhere")
