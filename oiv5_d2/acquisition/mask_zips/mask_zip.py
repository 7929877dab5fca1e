"""One of the release's mask zips, and where it lies while masks are taken from it."""

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from oiv5_d2.acquisition.mask_zips.central_directory import Directory, Entry, read_directory
from oiv5_d2.acquisition.mask_zips.ranges import Mode, ZipPlan, how
from oiv5_d2.acquisition.mask_zips.spool import Held
from oiv5_d2.acquisition.stores import FolderStore, NoRangesError, Store, StoreError
from oiv5_d2.acquisition.stores.downloads import Download, remove_arrivals
from oiv5_d2.openimages.release import ReleaseFile


class Origin(NamedTuple):
    """Where to read a zip from, and what it has."""

    store: Store
    key: str
    directory: Directory
    doubt: str = ""
    """Why this zip may lack what the release's has by now; "" where it can not."""


@dataclass(frozen=True)
class MaskZip:
    """A zip of the release whose masks go to `shard_path`."""

    store: Store
    file: ReleaseFile
    shard_path: Path
    keep_zip_dir: Path | None
    """Where a zip that was fetched whole is kept, and is looked for first; None to drop it."""
    mode: Mode

    @property
    def directory_path(self) -> Path:
        """Where the zip's central directory is kept until all wanted masks are there."""
        return self.shard_path.with_name(f".directory-{self.shard_path.stem}")

    @property
    def whole_path(self) -> Path:
        """Where a zip that is fetched whole lies until all wanted masks are taken from it."""
        return self.shard_path.with_name(f".whole-{self.shard_path.name}")

    @property
    def kept_path(self) -> Path | None:
        """Where it is kept from then on."""
        return self.keep_zip_dir and self.keep_zip_dir / Path(self.file.path).name

    def open(
        self,
        wanted: Collection[str],
        held: Mapping[str, Held],
        is_begun: bool,
        advance: Callable[[int], object],
    ) -> Origin:
        """Return where to read the zip from; it is fetched whole first where that is better.

        Args:
            wanted: the masks' names.
            held: the masks that are there.
            is_begun: some of the zip was read by range, which fetching it whole would repeat.
            advance: called with the number of bytes that came, of a directory or a whole zip.

        Raises:
            FileNotFoundError: there is no such zip.
            StoreError: it could not be read; a ChangedError where it became another one.
            ValueError: it is damaged; the message says only what is wrong.
        """
        if near := self.near(wanted):
            return near
        self._drop_near()  # it is damaged, or another one than the server's
        is_known = self.directory_path.exists()
        directory = None if self.mode == "whole" else self.read_directory(wanted)
        if directory and not is_known:
            advance(directory.directory_bytes)
        if directory and self.choose(directory, wanted, held, is_begun).by_range:
            return Origin(self.store, self.file.path, directory)
        self._download(advance)
        return _local(self.whole_path, wanted)

    def near(self, wanted: Collection[str]) -> Origin | None:
        """Return where to read the zip from if it is on a disk here; None if it is not.

        What is damaged, or seems to be another zip than the server's by now, counts for nothing.

        Raises:
            FileNotFoundError, StoreError, ValueError: as `open`.
        """
        for path in self._near_paths():
            with suppress(ValueError):
                if near := self._compared(_local(path, wanted), wanted):
                    return near
        if isinstance(self.store, FolderStore):
            directory = read_directory(self.store, self.file.path, wanted)
            return Origin(self.store, self.file.path, directory)
        return None

    def read_directory(self, wanted: Collection[str]) -> Directory | None:
        """Return what the zip has; None where a server has only whole files to give.

        Raises:
            FileNotFoundError, StoreError, ValueError: as `open`.
        """
        try:
            return read_directory(self.store, self.file.path, wanted, self.directory_path)
        except NoRangesError:
            if self.mode == "range":
                raise
            return None

    def choose(
        self,
        directory: Directory,
        wanted: Collection[str],
        held: Mapping[str, Held],
        is_begun: bool,
    ) -> ZipPlan:
        """Decide how to have the masks that are not there; the arguments are those of `open`."""
        needed = lacking(directory.entries.values(), held)
        names = [name for name in wanted if name in needed or name not in directory.entries]
        plan = how(directory, names, self.mode)
        if is_begun and not plan.by_range:
            plan = how(directory, names, "range")._replace(why="it was begun so")
        return plan

    def has_changed(self) -> bool:
        """Tell whether the zip changed after masks were taken from it, see `Store.has_changed`."""
        path = self.shard_path
        return path.exists() and self.store.has_changed(self.file.path, path.stat().st_mtime_ns)

    def tidy(self, is_sound: bool) -> None:
        """Remove what only an unfinished shard needs, and keep a whole zip that shall be kept.

        Args:
            is_sound: no mask came damaged. A damaged zip is not kept.
        """
        if self.kept_path and self.whole_path.exists() and is_sound:
            self.kept_path.parent.mkdir(parents=True, exist_ok=True)
            self.whole_path.replace(self.kept_path)
        for path in (self.whole_path, self.directory_path):
            path.unlink(missing_ok=True)
        remove_arrivals(self.whole_path)

    def drop(self) -> None:
        """Remove what came of the zip itself: it may have been damaged, or be another one by now.

        Masks that were taken from it stay.
        """
        self._drop_near()
        self.directory_path.unlink(missing_ok=True)

    def _near_paths(self) -> list[Path]:
        """Return where the whole zip lies that came, if it did."""
        return [path for path in (self.kept_path, self.whole_path) if path and path.exists()]

    def _drop_near(self) -> None:
        for path in self._near_paths():
            path.unlink()

    def _compared(self, near: Origin, wanted: Collection[str]) -> Origin | None:
        """Return a zip that is here; None where it lacks something and the server has another."""
        if near.directory.entries.keys() | near.directory.refused.keys() >= set(wanted):
            return near
        try:
            head = self.store.head(self.file.path)
        except FileNotFoundError:
            return near
        except StoreError as error:
            return near._replace(doubt=str(error))
        return near if head.num_bytes == near.directory.num_bytes else None

    def _download(self, advance: Callable[[int], object]) -> None:
        """Fetch the whole zip; the real release's has to have the MD5 of the file table."""
        download = Download(self.store, self.file.path, self.whole_path)
        num_resumed = download.num_resumed
        for piece in download.pieces():
            advance(max(0, len(piece) - num_resumed))
            num_resumed = max(0, num_resumed - len(piece))
        # A mirror of a part of the release has other zips of the same names.
        is_real = download.head.num_bytes == self.file.num_bytes
        download.finish(self.file.md5 if is_real else None)


def lacking(entries: Collection[Entry], held: Mapping[str, Held]) -> dict[str, Entry]:
    """Return the entries that are not there, or not with the content that the zip has now."""
    return {
        entry.name: entry
        for entry in entries
        if (it := held.get(entry.name)) is None or it[:2] != (entry.crc, entry.num_bytes)
    }


def _local(path: Path, wanted: Collection[str]) -> Origin:
    store = FolderStore(path.parent)
    try:
        return Origin(store, path.name, read_directory(store, path.name, wanted))
    except StoreError as error:
        raise StoreError(f"{path}: {error}. Remove it") from error
