import re
import struct
import zipfile
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zip_files import parse, zipped

from oiv5_d2.acquisition.mask_zips.central_directory import Entry
from oiv5_d2.acquisition.mask_zips.entries import unpack

CONTENT = b"a mask" * 100


def entry_of(method, content=CONTENT):
    """Return an entry and its bytes in its zip."""
    data = zipped({"a.png": content}, method)
    entry = parse(data).entries["a.png"]
    return entry, data[entry.start : entry.stop]


def with_bytes(data, place, piece):
    return data[:place] + piece + data[place + len(piece) :]


@pytest.mark.parametrize("content", [CONTENT, b""])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_content_comes_out_as_it_went_in(method, content):
    assert unpack(*entry_of(method, content)) == content


def test_a_local_header_may_have_more_in_it_than_the_directory_tells():
    entry, data = entry_of(zipfile.ZIP_STORED)
    header = with_bytes(data[:30], 28, struct.pack("<H", 9))
    longer = header + data[30:35] + b"UT\5\0\1abcd" + data[35:] + b"a descriptor"
    assert unpack(entry, longer) == CONTENT


def test_a_name_that_is_not_ascii_is_the_same_in_both_places():
    data = zipped({"ö✓.png": CONTENT})
    entry = parse(data).entries["ö✓.png"]
    assert unpack(entry, data[entry.start : entry.stop]) == CONTENT


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda entry, data: (entry, data[:20]), "its local header is cut short"),
        (lambda entry, data: (entry, b"X" + data[1:]), "its local header is damaged"),
        (lambda entry, data: (entry, with_bytes(data, 30, b"b")), "or another entry's"),
        (lambda entry, data: (entry, with_bytes(data, 8, b"\x0c")), "or another entry's"),
        (lambda entry, data: (entry, data[:-1]), "it lies over what follows it"),
        (lambda entry, data: (entry, with_bytes(data, 28, b"\xff")), "lies over what follows"),
        (lambda entry, data: (entry._replace(crc=1), data), "its CRC-32 is not"),
        (lambda entry, data: (entry, with_bytes(data, 35, b"\xff" * 8)), "can not be unpacked"),
        (
            lambda entry, data: (entry._replace(num_bytes=100), data),
            "it unpacks to more than the 100 bytes",
        ),
        (
            lambda entry, data: (entry._replace(num_bytes=1000), data),
            "it unpacks to 600 of 1000 bytes",
        ),
        (
            lambda entry, data: (entry._replace(packed_bytes=entry.packed_bytes - 3), data),
            "it unpacks to 600 of 600 bytes|it unpacks to [0-9]+ of 600",
        ),
    ],
)
def test_a_damaged_entry_is_refused(change, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        unpack(*change(*entry_of(zipfile.ZIP_DEFLATED)))
    assert "\n" not in str(caught.value)


def test_a_stored_entry_with_a_wrong_byte_is_refused():
    entry, data = entry_of(zipfile.ZIP_STORED)
    with pytest.raises(ValueError, match="its CRC-32 is not the one that the zip has for it"):
        unpack(entry, with_bytes(data, 100, b"X"))


def test_a_bomb_is_not_unpacked_further_than_it_says():
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packer.compress(bytes(1 << 30)) + packer.flush()
    header = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 0, 0, 0, 0, 1, 0)
    entry = Entry("a", 0, 31 + len(bomb), 8, 0, 5000, len(bomb))
    with pytest.raises(ValueError, match="more than the 5000 bytes it should have"):
        unpack(entry, header + b"a" + bomb)


@settings(max_examples=300)
@given(
    st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=3),
    st.floats(0, 1),
)
def test_whatever_bytes_come_the_content_is_right_or_refused(method, changes, share):
    entry, data = entry_of(method)
    damaged = bytearray(data)
    for place, value in changes:
        damaged[int(place * len(damaged))] = value
    try:
        content = unpack(entry, bytes(damaged[: round(share * len(damaged))]))
    except ValueError as error:
        assert re.fullmatch(r"[^\n]+", str(error))
    else:
        assert content == CONTENT
