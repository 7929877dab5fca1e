"""Where the release's tables come from: a folder, in which they are read in place, or a server."""

from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pandas as pd

from oiv5_d2.acquisition.stores import FolderStore, Store
from oiv5_d2.acquisition.tables.arrivals import ArrivingTables, Reader
from oiv5_d2.acquisition.tables.cached_rows import Filter
from oiv5_d2.files import TalliedFile, sha256
from oiv5_d2.openimages import release
from oiv5_d2.openimages.release import ReleaseFile

T = TypeVar("T")


class TableSource(Protocol):
    """The files of one annotations bucket.

    A file's fingerprint is its number of ``bytes`` and its ``sha256``: the same from wherever the
    file comes.
    """

    def parse(self, file: ReleaseFile, parser: Callable[[Path], T]) -> tuple[T, dict[str, Any]]:
        """Return what `parser` makes of a small file, and the file's fingerprint.

        Raises:
            FileNotFoundError: there is no such file; the message says where to get it.
            StoreError: it can't be had.
            ValueError: what the parser raises; the message names the file.
        """
        ...

    def frames(
        self,
        read: Reader,
        file: ReleaseFile,
        columns: Sequence[str],
        *,
        labels: Iterable[str] | None,
        image_ids: Iterable[str] | None,
        advance: Callable[[int], object],
    ) -> Generator[pd.DataFrame, None, dict[str, Any]]:
        """Yield the wanted rows of a table, block by block; return the table's fingerprint.

        Args:
            read: reads this kind of table.
            file: the table.
            columns: the wanted ones.
            labels: the LabelName of the wanted rows; None for all.
            image_ids: the ImageID of the wanted rows; None for all.
            advance: called with the number of bytes of the table newly read.

        Raises:
            FileNotFoundError, StoreError: as `parse`.
            ValueError: the table is damaged; the message names file and line.
        """
        ...

    def num_bytes_to_read(self, files: Iterable[ReleaseFile]) -> int:
        """Return how many bytes `advance` hears of in all, where `frames` reads these files."""
        ...

    def num_bytes_to_come(self, tables: Iterable[tuple[ReleaseFile, Filter]]) -> int:
        """Return how many bytes come over a network, where `frames` reads these rows of tables.

        Raises:
            FileNotFoundError, StoreError: as `parse`.
        """
        ...


class FolderTables:
    """A bucket that is a folder; see `TableSource`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def parse(self, file: ReleaseFile, parser: Callable[[Path], T]) -> tuple[T, dict[str, Any]]:
        """Return what `parser` makes of a file, and its fingerprint; see `TableSource`."""
        path = self._find(file)
        return parser(path), {"bytes": path.stat().st_size, "sha256": sha256(path)}

    def frames(
        self,
        read: Reader,
        file: ReleaseFile,
        columns: Sequence[str],
        *,
        labels: Iterable[str] | None,
        image_ids: Iterable[str] | None,
        advance: Callable[[int], object],
    ) -> Generator[pd.DataFrame, None, dict[str, Any]]:
        """Yield the wanted rows; return the table's fingerprint; see `TableSource`."""
        wanted = {"LabelName": labels, "ImageID": image_ids}
        keep = {column: values for column, values in wanted.items() if values is not None}
        with self._find(file).open("rb") as opened:
            tallied = TalliedFile(opened, advance)
            yield from read(tallied, columns=columns, keep=keep)
        return {"bytes": tallied.num_bytes, "sha256": tallied.sha256()}

    def num_bytes_to_read(self, files: Iterable[ReleaseFile]) -> int:
        """Return how many bytes are read; a file counts as often as it is among `files`."""
        return sum(self._find(file).stat().st_size for file in files)

    def num_bytes_to_come(self, tables: Iterable[tuple[ReleaseFile, Filter]]) -> int:
        """Return 0: all is here."""
        return 0

    def _find(self, file: ReleaseFile) -> Path:
        path = self._root / file.path
        if not path.is_file():
            url = f"{release.ANNOTATIONS_URL}{file.path}"
            raise FileNotFoundError(f"{path}: this file of the release is missing. Fetch {url}")
        return path


def open_tables(
    annotations: Path | Store, tables_dir: Path | None, keep_originals: bool = False
) -> TableSource:
    """Return the tables of an annotations bucket.

    Args:
        annotations: a folder, or a store.
        tables_dir: where to keep what comes from a server; needed only for one.
        keep_originals: keep there also the whole tables that come from a server.

    Raises:
        ValueError: a server, and no `tables_dir`.
    """
    if isinstance(annotations, Path):
        return FolderTables(annotations)
    if isinstance(annotations, FolderStore):
        return FolderTables(annotations.root)
    if tables_dir is None:
        raise ValueError(f"tables_dir: the tables of {annotations.location} need a folder to be in")
    return ArrivingTables(annotations, tables_dir, keep_originals)
