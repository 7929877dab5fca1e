import hashlib

import pytest
from oiv5_d2.acquisition.tables.piece_stream import PieceStream


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_pieces_are_read_as_asked_for_whatever_their_size(size):
    pieces, seen = [b"ab", b"", b"cdefghij", b"k", b"lmnopqrs"], []
    stream = PieceStream(iter(pieces), "name", seen.append, with_md5=True)
    read = []
    while data := stream.read(size):
        read.append(data)
    whole = b"".join(pieces)
    assert b"".join(read) == whole
    assert {len(data) for data in read[:-1]} <= {size}
    assert sum(seen) == stream.num_bytes == len(whole)
    assert stream.sha256() == hashlib.sha256(whole).hexdigest()
    assert stream.md5() == hashlib.md5(whole).hexdigest()
