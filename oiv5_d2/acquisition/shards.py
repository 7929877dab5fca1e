"""Mask files on disk: one zip for each split and first hex digit of the image ids.

As released, because folders of many small files choke notebook services. Entries are sorted,
stored and undated, so that the same masks give the same bytes.
"""

import functools
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from oiv5_d2.files import whole_file
from oiv5_d2.problems import Kind, Problem, Remedy

# The release's own zip may have been put there by hand: ours have this comment.
_OURS = b"The wanted masks only, cut from the release by oiv5_d2"
_UNDATED = (1980, 1, 1, 0, 0, 0)
DAMAGE = (
    zipfile.BadZipFile, EOFError, OSError, OverflowError, RuntimeError, ValueError, struct.error,
    zlib.error,
)  # fmt: skip
"""What `zipfile` raises of a damaged zip."""


def shard_path(masks_dir: Path, split: str, open_images_id: str) -> Path:
    """Return the zip that holds an image's masks."""
    return masks_dir / f"{split}-masks-{open_images_id[0]}.zip"


def read_mask_file(masks_dir: Path, split: str, open_images_id: str, mask_path: str) -> bytes:
    """Return the bytes of one mask PNG.

    Raises:
        FileNotFoundError: there is no such zip, or no such file in it.
        ValueError: the zip is damaged there.
    """
    path = shard_path(masks_dir, split, open_images_id)
    mtime_ns = path.stat().st_mtime_ns
    try:
        return _open(path, mtime_ns).read(mask_path)
    except KeyError:
        raise FileNotFoundError(f"{path} holds no {mask_path}") from None
    except DAMAGE as error:
        raise ValueError(f"{path}, {mask_path}: {error}") from error


# A shard may have 100,000 entries: read its directory once, not for each mask. Images come sorted
# by id, so few shards are in use at a time.
@functools.lru_cache(maxsize=4)
def _open(path: Path, mtime_ns: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


def open_shard(path: Path) -> zipfile.ZipFile | None:
    """Open a zip that an earlier run wrote; None where there is none, or it cannot be opened.

    Raises:
        Problem: FOREIGN, what is there was not written by these tools.
    """
    if not path.exists():
        return None
    with suppress(*DAMAGE):
        found = zipfile.ZipFile(path)
        if found.comment == _OURS:
            return found
        found.close()
    if not path.is_file() or not path.read_bytes().endswith(_OURS):
        raise Problem(Kind.FOREIGN, path, remedy=Remedy.MOVE_AWAY)
    return None


def write_shard(path: Path, names: Iterable[str], read: Callable[[str], bytes]) -> None:
    """Write a zip of masks, given by their sorted names; it appears when it is whole."""
    with whole_file(path) as temporary_path, zipfile.ZipFile(temporary_path, "w") as shard:
        shard.comment = _OURS
        for name in names:
            entry = zipfile.ZipInfo(name, _UNDATED)
            entry.create_system = 3  # the same bytes on every system
            entry.external_attr = 0o644 << 16
            shard.writestr(entry, read(name))
