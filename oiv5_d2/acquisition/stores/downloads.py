"""A file that arrives over several runs: what has come is not asked for again."""

import glob
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from oiv5_d2.acquisition.stores.store import ChangedError, Head, NoRangesError, Store

ARRIVING_PREFIX = ".arriving-"
_PIECE_BYTES = 1 << 20


class Download:
    """A file of a store on its way to `path`.

    It arrives under a temporary name beside `path`, which tells what file of which store it is: an
    arrival of another one, or of a changed one, is dropped and it begins anew. So does that of a
    file of which the store can not tell whether it changed.

    Args:
        store: where the file is.
        key: the file.
        path: its name when it is whole. The folder is made.
        head: what the store said of the file; None to ask it.

    Raises:
        FileNotFoundError: there is no such file.
        StoreError: the store could not be asked.
        OSError: the folder can not be written.
    """

    def __init__(self, store: Store, key: str, path: Path, head: Head | None = None) -> None:
        self.head = head or store.head(key)
        """The file's length, mended where it turns out to have been told wrong, and ETag."""
        self._store, self._key, self._path = store, key, path
        about = "\n".join([store.location, key, self.head.etag or str(self.head.num_bytes)])
        fingerprint = hashlib.sha256(about.encode()).hexdigest()[:12]
        self._part = path.with_name(f"{ARRIVING_PREFIX}{fingerprint}-{path.name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        for other in _arrivals(path):
            is_same = other == self._part and bool(self.head.etag)
            if not is_same or not self._can_have(other.stat().st_size):
                other.unlink()
        self.num_resumed = self._part.stat().st_size if self._part.exists() else 0
        """How many bytes came in earlier runs."""

    def pieces(self) -> Iterator[bytes]:
        """Yield the whole file: what came earlier, then what arrives.

        A piece is on its way to the disk before it is yielded, so that a process which is killed
        loses none.

        Raises:
            ChangedError: the file changed, or the server has only whole files to give; what had
                come is dropped, so that the next download begins anew.
            StoreError: it could not be had; what has come stays for the next time.
            OSError: it can not be written.
        """
        with self._part.open("a+b") as file:
            file.seek(0)
            while piece := file.read(_PIECE_BYTES):
                yield piece
            try:
                for piece in self._arriving(file.tell()):
                    file.write(piece)
                    file.flush()
                    yield piece
            except ChangedError:
                self.discard()
                raise
            except NoRangesError as error:  # there is no going on, only beginning anew
                self.discard()
                raise ChangedError(str(error)) from error

    def finish(self, md5: str | None = None) -> None:
        """Give the file its name, after all `pieces`.

        Args:
            md5: what its MD5 has to be, as 32 hex digits; None where it is not known.

        Raises:
            ValueError: it is not the file it should be, and was removed; the message says only
                what is wrong.
        """
        with self._part.open("rb") as file:
            num_bytes = os.fstat(file.fileno()).st_size
            os.fsync(file.fileno())
            # Read again rather than hashed on its way: most files have no MD5 to be compared with.
            found = None if md5 is None else hashlib.file_digest(file, _md5).hexdigest()
        if num_bytes != self.head.num_bytes:
            self.discard()
            raise ValueError(f"it was cut short at {num_bytes} of {self.head.num_bytes} bytes")
        if found != md5:
            self.discard()
            raise ValueError(f"its MD5 is {found}, and the release's is {md5}")
        self._part.replace(self._path)

    def discard(self) -> None:
        """Remove what has come."""
        self._part.unlink(missing_ok=True)

    def _arriving(self, start: int) -> Iterator[bytes]:
        """Yield what has not come, and never more than was said."""
        before = -1
        while before < start < self.head.num_bytes:  # an answer may announce too few bytes
            before = start
            for piece in self._store.stream(self._key, start, self.head.etag):
                start += len(piece)
                if not self._can_have(start):
                    num_bytes = self.head.num_bytes
                    raise ChangedError(f"it has more than the {num_bytes} bytes it had before")
                yield piece
        if start < self.head.num_bytes:
            self._look_again()

    def _can_have(self, num_bytes: int) -> bool:
        """Tell whether the file is so long; if need be, ask again how long it is."""
        if num_bytes > self.head.num_bytes:
            self._look_again()
        return num_bytes <= self.head.num_bytes

    def _look_again(self) -> None:
        """Ask anew how long the file is, if it can be told that it is the same one."""
        head = self._store.head(self._key)
        if head.etag != self.head.etag:
            raise ChangedError("the file is another one than before")
        if head.etag:
            self.head = head


def _md5() -> "hashlib._Hash":
    return hashlib.md5(usedforsecurity=False)


def remove_arrivals(path: Path) -> None:
    """Remove what came of a file that is not wanted whole any more."""
    for part in _arrivals(path):
        part.unlink()


def _arrivals(path: Path) -> list[Path]:
    return list(path.parent.glob(f"{ARRIVING_PREFIX}*-{glob.escape(path.name)}"))
