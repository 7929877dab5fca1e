import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oiv5_d2.dataset.stores import FolderStore, Head, open_key

DATA = bytes(range(256)) * 3


class MemoryStore:
    """A store of one file."""

    def read(self, key):
        return DATA

    def read_range(self, key, start, stop):
        return DATA[start:stop]

    def head(self, key):
        return Head(len(DATA), "")


def test_a_key_that_is_not_there_is_told(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_key(FolderStore(tmp_path), "none")


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
