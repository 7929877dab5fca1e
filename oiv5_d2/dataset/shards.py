"""Mask files as they lie on disk: one zip for each split and first hex digit of the image ids."""

import functools
import zipfile
import zlib
from pathlib import Path


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
