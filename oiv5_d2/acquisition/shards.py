"""Mask files on disk: one zip for each split and first hex digit of the image ids.

As released, because folders of many small files choke notebook services. Entries are sorted,
stored and undated, so that the same masks give the same bytes.
"""

import functools
import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

from blake3 import blake3
from PIL import Image, UnidentifiedImageError

from oiv5_d2.files import whole_file
from oiv5_d2.problems import Kind, Problem, Remedy

# The release's own zip may have been put there by hand: ours have this comment.
_OURS = b"The wanted masks only, cut from the release by oiv5_d2"
_MOST_PIXELS = 100_000_000  # the release's masks are below two million
_UNDATED = (1980, 1, 1, 0, 0, 0)
DAMAGE = (
    zipfile.BadZipFile, EOFError, OSError, OverflowError, RuntimeError, ValueError, struct.error,
    zlib.error,
)  # fmt: skip
"""What `zipfile` raises of a damaged zip."""


class Held(NamedTuple):
    """What is known of a mask that is on disk."""

    crc: int
    """CRC-32 of its bytes."""
    num_bytes: int
    checksum: str
    """BLAKE3 as 64 hex digits."""

    @classmethod
    def of(cls, content: bytes) -> Self:
        """Describe a mask's bytes."""
        return cls(zlib.crc32(content), len(content), blake3(content).hexdigest())


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
    try:
        return _open(path, path.stat().st_mtime_ns).read(mask_path)
    except KeyError:
        raise FileNotFoundError(f"{path} holds no {mask_path}") from None
    except FileNotFoundError:
        raise
    except DAMAGE as error:
        raise ValueError(f"{path}, {mask_path}: {error}") from error


# A shard may have 100,000 entries: read its directory once, not for each mask. Images come sorted
# by id, so few shards are in use at a time.
@functools.lru_cache(maxsize=4)
def _open(path: Path, mtime_ns: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


class Shard:
    """A zip that an earlier run wrote, if there is one; a context manager.

    Args:
        path: the zip.
        wanted: masks; those of them that are complete in the zip are in `held`.

    Raises:
        Problem: FOREIGN, what lies there was not written by these tools.
    """

    def __init__(self, path: Path, wanted: Iterable[str]) -> None:
        self.path = path
        self.names: list[str] | None = None
        """The names in it; None where there is no zip, or only a damaged one of ours."""
        self.held: dict[str, Held] = {}
        self._zip = _open_ours(path)
        if self._zip:
            self.names = self._zip.namelist()
            for name in set(self.names).intersection(wanted):
                with suppress(*DAMAGE):
                    self.held[name] = Held.of(self.read(name))

    def read(self, name: str) -> bytes:
        """Return a mask."""
        assert self._zip, "there is nothing to read"
        return self._zip.read(name)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the zip."""
        if self._zip:
            self._zip.close()


def _open_ours(path: Path) -> zipfile.ZipFile | None:
    """Open a shard; None where there is none, or it is damaged so that it cannot be opened."""
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
    """Write a zip of masks; it appears when it is whole.

    Args:
        path: the zip.
        names: the masks, sorted.
        read: returns a mask's bytes.
    """
    with whole_file(path) as temporary_path, zipfile.ZipFile(temporary_path, "w") as shard:
        shard.comment = _OURS
        for name in names:
            entry = zipfile.ZipInfo(name, _UNDATED)
            entry.create_system = 3  # the same bytes on every system
            entry.external_attr = 0o644 << 16
            shard.writestr(entry, read(name))


def check_png(data: bytes) -> None:
    """Check that bytes are a complete PNG, by its header and the checksums of its chunks.

    Raises:
        ValueError: they are not; the message has the facts only.
    """
    if not data:
        raise ValueError("the file is empty")
    if not data.startswith(b"\x89PNG\r\n\x1a\n") or len(data) < 24:
        raise ValueError("not a PNG")
    width, height = struct.unpack(">II", data[16:24])
    if width * height > _MOST_PIXELS:  # before Pillow sees it: no memory would hold them
        raise ValueError(f"a PNG of {width}x{height} pixels")
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.verify()
    except UnidentifiedImageError as error:  # its words are about an object in memory
        raise ValueError("a PNG with a damaged header") from error
    except Exception as error:  # a reader of broken files raises anything
        raise ValueError(f"a damaged PNG: {line_of(error)}") from error


def line_of(error: Exception) -> str:
    """Return the first line of an error's words."""
    return (str(error) or type(error).__name__).splitlines()[0]
