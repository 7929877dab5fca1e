"""Mask files as they lie on disk: one zip for each split and first hex digit of the image ids.

As released, because folders of many small files choke notebook services. Entries are sorted,
stored and undated, so that the same masks give the same bytes.
"""

import functools
import mmap
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path

from oiv5_d2.acquisition.mask_zips.central_directory import Directory, read_directory
from oiv5_d2.acquisition.mask_zips.entries import unpack
from oiv5_d2.acquisition.mask_zips.spool import Held
from oiv5_d2.acquisition.stores import FolderStore, StoreError
from oiv5_d2.files import whole_file

# A zip of the same name may be the release's own, put there by hand: it is told by its comment.
_OURS = b"The wanted masks only, cut from the release by oiv5_d2"
_UNDATED = (1980, 1, 1, 0, 0, 0)


def shard_path(masks_dir: Path, split: str, image_id: str) -> Path:
    """Return the zip that holds an image's masks."""
    return masks_dir / f"{split}-masks-{image_id[0]}.zip"


def read_mask_file(masks_dir: Path, split: str, image_id: str, mask_path: str) -> bytes:
    """Return the bytes of one mask PNG.

    Raises:
        FileNotFoundError: there is no such zip, or no such file in it.
        ValueError: the zip is broken there.
    """
    path = shard_path(masks_dir, split, image_id)
    try:
        shard = _open(path, path.stat().st_mtime_ns)
        return shard.read(mask_path)
    except KeyError:
        raise FileNotFoundError(f"{path} holds no {mask_path}") from None
    except FileNotFoundError:
        raise
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, zlib.error) as error:
        raise ValueError(f"{path}, {mask_path}: {error}") from error


# A shard's table of contents may have 100,000 entries: read it once, not for each mask. Images come
# sorted by id, so few shards are in use at a time.
@functools.lru_cache(maxsize=4)
def _open(path: Path, mtime_ns: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


class Shard:
    """A zip of an earlier run, with those of the wanted masks in it that are whole."""

    def __init__(self, path: Path, directory: Directory, wanted: Collection[str]) -> None:
        self.names = [*directory.entries, *directory.refused]
        self._entries = directory.entries
        with path.open("rb") as file:
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.held: dict[str, Held] = {}
        for name in wanted:
            if name in self._entries:
                # What was damaged since it was written is to be had anew.
                with suppress(ValueError):
                    self.held[name] = Held.of(self.read(name))

    def read(self, name: str) -> bytes:
        """Return a mask."""
        entry = self._entries[name]
        return unpack(entry, self._data[entry.start : entry.stop])


def open_shard(path: Path, wanted: Collection[str]) -> Shard | None:
    """Open a zip of an earlier run; None where there is none, or it is damaged as a whole.

    Raises:
        ValueError: it was not made here.
        OSError: it can not be read.
    """
    if not path.exists():
        return None
    try:
        directory = read_directory(FolderStore(path.parent), path.name)
    except ValueError:
        return None
    except StoreError as error:
        raise StoreError(f"{path}: {error}. Move it away, and run again") from error
    if directory.comment != _OURS:
        raise ValueError(
            f"{path}: this zip was not made here and would be overwritten. Move it away, or lay it"
            " out as the release does and name that folder as the source"
        )
    return Shard(path, directory, wanted)


def write_shard(path: Path, names: Iterable[str], read: Callable[[str], bytes]) -> None:
    """Write a zip of masks; it appears when it is whole.

    Args:
        path: the zip.
        names: the masks, sorted.
        read: returns a mask's bytes.
    """
    with whole_file(path) as part_path, zipfile.ZipFile(part_path, "w") as shard:
        shard.comment = _OURS
        for name in names:
            entry = zipfile.ZipInfo(name, _UNDATED)
            entry.create_system = 3  # the same bytes on every system
            entry.external_attr = 0o644 << 16
            shard.writestr(entry, read(name))
