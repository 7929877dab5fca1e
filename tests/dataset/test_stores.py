import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oiv5_d2.dataset.stores import FolderStore, folder_source, open_key

DATA = bytes(range(256)) * 3


class MemoryStore:
    """A store of one file."""

    def read(self, key):
        return DATA

    def read_range(self, key, start, stop):
        return DATA[start:stop]

    def size(self, key):
        return len(DATA)


def test_a_folder_gives_files_ranges_and_sizes(tmp_path):
    (tmp_path / "v5").mkdir()
    (tmp_path / "v5" / "a.zip").write_bytes(DATA)
    store = FolderStore(tmp_path)
    assert store.read("v5/a.zip") == DATA
    assert store.read_range("v5/a.zip", 3, 7) == DATA[3:7]
    assert store.size("v5/a.zip") == len(DATA)


def test_a_key_that_is_not_there_is_told(tmp_path):
    store = FolderStore(tmp_path)
    for ask in (store.read, store.size, lambda key: store.read_range(key, 0, 1)):
        with pytest.raises(FileNotFoundError):
            ask("none")
    with pytest.raises(FileNotFoundError):
        open_key(store, "none")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="openimages"):
        folder_source(tmp_path)
    (tmp_path / "openimages").mkdir()
    with pytest.raises(FileNotFoundError, match="open-images-dataset"):
        folder_source(tmp_path)


moves = st.lists(
    st.one_of(
        st.tuples(st.just("seek"), st.integers(0, 900), st.just(io.SEEK_SET)),
        st.tuples(st.just("seek"), st.integers(-768, 100), st.just(io.SEEK_END)),
        st.tuples(st.just("read"), st.integers(0, 300)),
    ),
    max_size=20,
)


@settings(deadline=None)
@given(moves)
def test_a_file_over_a_store_behaves_as_a_file(moves):
    with open_key(MemoryStore(), "key") as opened, io.BytesIO(DATA) as plain:
        for verb, *arguments in moves:
            assert getattr(opened, verb)(*arguments) == getattr(plain, verb)(*arguments)
            assert opened.tell() == plain.tell()


def test_a_place_before_the_beginning_is_refused():
    with open_key(MemoryStore(), "key") as opened, pytest.raises(OSError, match="before"):
        opened.seek(-1)
