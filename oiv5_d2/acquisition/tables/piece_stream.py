"""Bytes that come in pieces of any size, read as a file is."""

import hashlib
from collections.abc import Callable, Iterator


class PieceStream:
    """Pieces of bytes as a stream that gives just as much as is asked for, counted and hashed.

    Args:
        pieces: in their order.
        name: of the whole, for messages.
        advance: called with the number of bytes of each piece.
        with_md5: hash with MD5 too, which takes its time.
    """

    def __init__(
        self, pieces: Iterator[bytes], name: str, advance: Callable[[int], object], with_md5: bool
    ) -> None:
        self.name = name
        self.num_bytes = 0
        self._pieces, self._advance, self._rest = pieces, advance, bytearray()
        self._sha256, self._md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        self._hashes = [self._sha256, self._md5] if with_md5 else [self._sha256]

    def read(self, size: int, /) -> bytes:
        """Return `size` bytes, fewer only at the end."""
        while len(self._rest) < size and (piece := next(self._pieces, None)) is not None:
            self._rest += piece
            for hashed in self._hashes:
                hashed.update(piece)
            self.num_bytes += len(piece)
            self._advance(len(piece))
        with memoryview(self._rest) as rest:
            data = bytes(rest[:size])
        del self._rest[:size]
        return data

    def sha256(self) -> str:
        """Return the SHA-256 of what has come so far."""
        return self._sha256.hexdigest()

    def md5(self) -> str:
        """Return the MD5 of what has come so far."""
        return self._md5.hexdigest()
