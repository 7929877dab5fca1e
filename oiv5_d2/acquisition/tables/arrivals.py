"""The release's tables from a server: each comes once, and is filtered while it arrives.

The two big tables are a gigabyte each, of which a subset wants a few per cent. What arrives lies
under a temporary name until all of it was checked, so a run that was stopped goes on at the byte
that it had. The wanted rows are kept as Parquet (`cached_rows`); the whole table is dropped, unless
it shall be kept. Neither is used again without asking the server whether the table is still the
same, as long as it answers.
"""

import hashlib
import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar

import pandas as pd

from oiv5_d2.acquisition.stores import ChangedError, DamagedError, Get, Head, Store, StoreError
from oiv5_d2.acquisition.stores.downloads import ARRIVING_PREFIX, Download
from oiv5_d2.acquisition.tables.cached_rows import (
    Filter,
    Origin,
    read_origin,
    read_rows,
    rows_path,
    write_rows,
)
from oiv5_d2.acquisition.tables.heads import Heads
from oiv5_d2.acquisition.tables.originals import Original
from oiv5_d2.acquisition.tables.piece_stream import PieceStream
from oiv5_d2.acquisition.tables.refusals import check_length, check_md5, named
from oiv5_d2.files import TalliedFile
from oiv5_d2.openimages import release
from oiv5_d2.openimages.readers import ByteStream
from oiv5_d2.openimages.release import ReleaseFile

logger = logging.getLogger(__name__)

Reader = Callable[..., Iterator[pd.DataFrame]]
"""One of `openimages.readers`."""
Advance = Callable[[int], object]
T = TypeVar("T")

_TRIES = 3  # at a small file that is not as long as was told


class _Rows(NamedTuple):
    """Some rows of a table, and where they are kept."""

    file: ReleaseFile
    read: Reader
    kept: Filter
    path: Path

    def write(self, stream: ByteStream, origin: Callable[[], Origin]) -> Origin:
        """Filter them out of the table; see `cached_rows.write_rows`."""
        keep = {} if self.kept.labels is None else {"LabelName": self.kept.labels}
        frames = self.read(stream, columns=self.kept.columns, keep=keep)
        return write_rows(self.path, frames, self.kept, origin)


class ArrivingTables:
    """A bucket on a server; see `sources.TableSource`.

    Args:
        store: the bucket.
        tables_dir: keeps the wanted rows, and under ``original/`` whole files.
        keep_originals: keep there not only the small files but the whole tables.
    """

    def __init__(self, store: Store, tables_dir: Path, keep_originals: bool) -> None:
        self._store, self._tables_dir, self._keep_originals = store, tables_dir, keep_originals
        self._heads = Heads(store)
        self._counted: set[str] = set()

    def parse(self, file: ReleaseFile, parser: Callable[[Path], T]) -> tuple[T, dict[str, Any]]:
        """Return what `parser` makes of a small file, and its fingerprint; see `TableSource`."""
        original = Original(self._tables_dir, file.path)
        origin = self._if_current(file, original.origin())
        if origin is None or not original.is_unchanged(origin):
            origin = self._fetch(file, original)
        try:
            return parser(original.path), origin.fingerprint()
        except ValueError as error:
            original.drop()
            raise ValueError(str(error).replace(str(original.path), origin.url)) from error

    def frames(
        self,
        read: Reader,
        file: ReleaseFile,
        columns: Sequence[str],
        *,
        labels: Iterable[str] | None,
        image_ids: Iterable[str] | None,
        advance: Advance,
    ) -> Generator[pd.DataFrame, None, dict[str, Any]]:
        """Yield the wanted rows; return the table's fingerprint; see `TableSource`.

        Rows are kept by label, so that another choice of images needs no other download.
        """
        kept = Filter.of(columns, labels)
        path = rows_path(self._tables_dir, self._url(file), kept)
        if file.path in self._counted:
            advance = _ignore
        origin = self._if_current(file, read_origin(path))
        if origin is None or self._lacks_original(file, origin):
            origin = self._filter(_Rows(file, read, kept, path), advance)
        else:
            advance(origin.num_bytes)
            self._sweep(file, origin)
        self._counted.add(file.path)
        yield from read_rows(path, image_ids)
        return origin.fingerprint()

    def num_bytes_to_read(self, files: Iterable[ReleaseFile]) -> int:
        """Return how many bytes arrive, or have arrived; each file counts once."""
        return sum(self._num_bytes(file) for file in set(files))

    def num_bytes_to_come(self, tables: Iterable[tuple[ReleaseFile, Filter]]) -> int:
        """Return how many bytes are still to arrive; see `TableSource`."""
        return sum(self._num_bytes_to_come(file, kept) for file, kept in tables)

    def _num_bytes_to_come(self, file: ReleaseFile, kept: Filter) -> int:
        path = rows_path(self._tables_dir, self._url(file), kept)
        original = Original(self._tables_dir, file.path)
        if any(self._if_current(file, here) for here in (read_origin(path), original.origin())):
            return 0
        parts = original.path.parent.glob(f"{ARRIVING_PREFIX}*-{original.path.name}")
        return max(0, self._head(file).num_bytes - sum(part.stat().st_size for part in parts))

    def _num_bytes(self, file: ReleaseFile) -> int:
        try:
            return self._head(file).num_bytes
        except StoreError:
            stem = PurePosixPath(file.path).stem
            for path in sorted(self._tables_dir.glob(f"{stem}-*.parquet")):
                origin = read_origin(path)
                if origin and origin.url == self._url(file):
                    return origin.num_bytes
            raise

    def _url(self, file: ReleaseFile) -> str:
        return f"{self._store.location}/{file.path}"

    def _head(self, file: ReleaseFile) -> Head:
        with named(self._url(file)):
            return self._heads.of(file.path)

    def _if_current(self, file: ReleaseFile, origin: Origin | None) -> Origin | None:
        """Return the origin of what is here, or None where the server has another file by now."""
        if origin is None or origin.url != self._url(file):
            return None
        is_news = self._heads.will_ask(file.path)
        try:
            head = self._head(file)
        except StoreError as error:
            if is_news:
                told = f"{self._url(file)}: {error.__cause__}"  # no remedy: none is needed
                logger.warning("%s. The tables that arrived earlier are used", told)
            return origin
        return origin if _is_same(head, origin) else None

    def _lacks_original(self, file: ReleaseFile, origin: Origin) -> bool:
        """Tell whether the table that some rows were made of is to be kept and is not here."""
        return self._keep_originals and Original(self._tables_dir, file.path).origin() != origin

    def _fetch(self, file: ReleaseFile, original: Original) -> Origin:
        """Fetch a small file whole."""
        url = self._url(file)
        head, data = self._read(file)
        if self._is_released(file, head):
            check_md5(url, hashlib.md5(data, usedforsecurity=False).hexdigest(), file)
        origin = Origin(url, head.etag, len(data), hashlib.sha256(data).hexdigest())
        original.write(data, origin)
        return origin

    def _read(self, file: ReleaseFile) -> tuple[Head, bytes]:
        """Read a small file; where it is not as long as was told, either may have been wrong."""
        for _ in range(_TRIES - 1):
            with suppress(DamagedError):
                return self._read_once(file)
            self._heads.forget(file.path)
        return self._read_once(file)

    def _read_once(self, file: ReleaseFile) -> tuple[Head, bytes]:
        head = self._head(file)
        check = partial(check_length, num_bytes=head.num_bytes)
        [answer] = self._store.read_many([Get(file.path)], check)
        with named(self._url(file)):
            if answer.error:
                raise answer.error
        return head, answer.data

    def _filter(self, rows: _Rows, advance: Advance) -> Origin:
        """Write a table's rows, out of the whole one if it is here."""
        original = Original(self._tables_dir, rows.file.path)
        if origin := self._if_current(rows.file, original.origin()):
            _filter_original(rows, original, origin, advance)
            return origin
        try:
            return self._filter_arriving(rows, original, advance)
        except ChangedError as error:
            logger.warning("%s. It is fetched anew", error)
            self._heads.forget(rows.file.path)
            return self._filter_arriving(rows, original, _ignore)

    def _filter_arriving(self, rows: _Rows, original: Original, advance: Advance) -> Origin:
        """Write a table's rows while it arrives; drop it, or give it its name.

        Killed at any moment, the next run finds what had arrived under one name or the other, or
        the rows themselves.
        """
        file, url, head = rows.file, self._url(rows.file), self._head(rows.file)
        with named(url):
            download = Download(self._store, file.path, original.path, head)

        def arrived() -> Origin:
            head = download.head
            self._heads.note(file.path, head)
            if stream.num_bytes != head.num_bytes:
                download.discard()
                came = f"{stream.num_bytes} bytes came of {head.num_bytes}"
                raise ChangedError(f"{url}: {came}")
            if self._is_released(file, head):
                check_md5(url, stream.md5(), file)
            origin = Origin(url, head.etag, stream.num_bytes, stream.sha256())
            if self._keep_originals:
                original.drop()
                original.note(origin)  # without the file it says nothing
                download.finish()
            return origin

        with closing(_named_pieces(download, url)) as pieces:
            stream = PieceStream(pieces, url, advance, with_md5=file.md5 is not None)
            try:
                origin = rows.write(stream, arrived)
            except ValueError:
                download.discard()  # or every further run would go on with the damaged bytes
                raise
        if not self._keep_originals:
            download.discard()
        return origin

    def _is_released(self, file: ReleaseFile, head: Head) -> bool:
        """Tell whether a file seems to be the real release's, not a mirror of a part of it."""
        if file.num_bytes is None or file.md5 is None:
            return False
        is_as_long = file.num_bytes == head.num_bytes
        if self._url(file) == f"{release.ANNOTATIONS_URL}{file.path}" and not is_as_long:
            logger.warning(
                "%s has %d bytes, and the release's had %d: its MD5 can not be checked. What a"
                " subset was made of stands in its recipe",
                self._url(file),
                head.num_bytes,
                file.num_bytes,
            )
        return is_as_long

    def _sweep(self, file: ReleaseFile, origin: Origin) -> None:
        """Remove a whole table that a run left behind which was killed right after its rows."""
        path = Original(self._tables_dir, file.path).path
        for part in path.parent.glob(f"{ARRIVING_PREFIX}*-{path.name}"):
            if part.stat().st_size == origin.num_bytes:
                part.unlink()


def _filter_original(rows: _Rows, original: Original, origin: Origin, advance: Advance) -> None:
    with original.path.open("rb") as opened:
        tallied = TalliedFile(opened, advance)

        def unchanged() -> Origin:
            if tallied.sha256() != origin.sha256:
                raise ValueError(f"{original.path}: it is not what {origin.url} gave. Delete it")
            return origin

        rows.write(tallied, unchanged)


def _named_pieces(download: Download, url: str) -> Generator[bytes, None, None]:
    with named(url, remedy=". What has arrived is kept: run the same command again"):
        yield from download.pieces()


def _is_same(head: Head, origin: Origin) -> bool:
    """Tell whether a file is still the one that came; a length alone may be told wrong."""
    return head.etag == origin.etag and bool(head.etag or head.num_bytes == origin.num_bytes)


def _ignore(num_bytes: int) -> None:
    """Count no byte twice."""
