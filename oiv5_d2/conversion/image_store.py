"""Where the bytes of a prepared part's images come from: its pack, or a file for each image.

A pack is a few tar files, shards, and an index that says where in them each image is.
`conversion.packing` writes it. The index is mapped into memory, so all processes share it. Of a
shard each image is read by one call at its place: a disk that fails raises an error there, where
mapped memory would end the process. Shards may also stay in a bucket, which a file beside the
index names; then each image is a request for a range.
"""

import io
import json
import logging
import os
import weakref
from bisect import bisect_left
from collections.abc import Callable
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
from blake3 import blake3

from oiv5_d2 import files
from oiv5_d2.conversion import sealed
from oiv5_d2.problems import Kind, Problem, Remedy

if TYPE_CHECKING:
    from oiv5_d2.acquisition.buckets import Bucket

logger = logging.getLogger(__name__)

FORMAT = 1  # of the index
DIGEST_BYTES = 16
PACKED = "packed"  # the folder, in that of the data and in a bucket
BUCKET_JSON = "bucket.json"  # where the shards are, and how to ask for them, if not beside it


def index_path(json_path: Path) -> Path:
    """Return where the index of a COCO file's pack is."""
    return json_path.parent.parent / PACKED / f"{json_path.stem}.arrow"


def digest(data: bytes) -> bytes:
    """Return what an image's bytes are known by: of BLAKE3, which takes 1 % of a decoding."""
    return blake3(data).digest(DIGEST_BYTES)


Check = Callable[[bytes], object]  # raises ValueError


class _Folder:
    """Shards on a disk."""

    remedy = Remedy.PACK_AGAIN

    def __init__(self, folder: Path) -> None:
        self._folder, self._opened = folder, dict[str, int]()

    def place(self, name: str) -> str:
        """Return where a shard is, for people."""
        return str(self._folder / name)

    def size(self, name: str) -> int:
        """Return a shard's bytes; none if it is not there."""
        path = self._folder / name
        return path.stat().st_size if path.is_file() else 0

    def read(self, name: str, offset: int, length: int, check: Check) -> bytes:
        """Return some bytes of a shard.

        Raises:
            Problem: DAMAGED, it is not there or not as it was; the check says so.
        """
        try:
            if name not in self._opened:
                self._opened[name] = os.open(self._folder / name, os.O_RDONLY)
                weakref.finalize(self, os.close, self._opened[name])
            data = os.pread(self._opened[name], length, offset)
            check(data)
        except (FileNotFoundError, ValueError) as error:
            detail = getattr(error, "strerror", None) or str(error)
            raise Problem(Kind.DAMAGED, self.place(name), detail, remedy=self.remedy) from None
        return data


class _InBucket:
    """Shards in a bucket.

    Args:
        path: of `BUCKET_JSON`.
    """

    remedy = Remedy.PREPARE_AGAIN

    def __init__(self, path: Path) -> None:
        self._about = json.loads(path.read_text(encoding="utf-8"))

    @cached_property
    def _bucket(self) -> "Bucket":
        # Here: its client's threads do not live on in a forked process.
        from oiv5_d2.acquisition.buckets import Bucket
        from oiv5_d2.acquisition.transfer import Transfer

        return Bucket(self._about["location"], Transfer(**self._about["transfer"]))

    def place(self, name: str) -> str:
        return self._bucket.url(f"{PACKED}/{name}")

    def size(self, name: str) -> int:
        return self._bucket.head(f"{PACKED}/{name}").num_bytes

    def read(self, name: str, offset: int, length: int, check: Check) -> bytes:
        from oiv5_d2.acquisition.buckets import Get

        get = Get(f"{PACKED}/{name}", offset, offset + length)
        (answer,) = self._bucket.read_many([get], check)  # which asks again for what may pass
        if answer.problem:
            raise answer.problem
        return answer.data


class Pack:
    """The packed images of a part; another process gets its path only.

    Args:
        path: of the index.

    Attributes:
        about: ``sha256`` of the COCO file; ``shards``, names and bytes; ``format``.
        is_remote: whether its shards are in a bucket.

    Raises:
        Problem: DAMAGED.
    """

    def __init__(self, path: Path) -> None:
        try:
            table, self.about = sealed.read_table(path)
            is_right = sealed.is_whole(path) and self.about["format"] == FORMAT
        except (OSError, ValueError, KeyError, pa.ArrowException):
            is_right = False
        if not is_right:
            remedy = Remedy.PACK_AGAIN
            raise Problem(Kind.DAMAGED, path, "not as it was written", remedy=remedy)
        self.path, bucket_path = path, path.with_name(BUCKET_JSON)
        self.is_remote = bucket_path.is_file()
        self._source = _InBucket(bucket_path) if self.is_remote else _Folder(path.parent)
        self._names = sealed.column(table, "file_name")
        self._digests = sealed.column(table, "digest")
        places = ("shard", "offset", "length")
        self._places = [sealed.column(table, name).to_numpy() for name in places]

    def __len__(self) -> int:
        return len(self._names)

    def __reduce__(self) -> tuple[Any, ...]:
        return open_pack, (self.path,)

    def __contains__(self, name: str) -> bool:
        return self._find(name) is not None

    @property
    def shards(self) -> list[str]:
        """The names of the files that hold the images."""
        return list(self.about["shards"])

    def check(self) -> None:
        """Look at the shards: are they there, and as long as they were written?

        Raises:
            Problem: DAMAGED; or those of a bucket.
        """
        for name, num_bytes in self.about["shards"].items():
            if (found := self._source.size(name)) != num_bytes:
                detail, place = f"{found} bytes instead of {num_bytes}", self._source.place(name)
                raise Problem(Kind.DAMAGED, place, detail, remedy=self._source.remedy)

    def is_loose_in(self, folder: Path) -> bool:
        """Return True if the images are files in a folder as well; one of them is looked at."""
        return (folder / str(self._names[0])).is_file()

    def read(self, name: str) -> bytes:
        """Return the bytes of an image.

        Raises:
            FileNotFoundError: the pack has no image of this name.
            Problem: DAMAGED, they are not those that were packed; or those of a bucket.
        """
        row = self._find(name)
        if row is None:
            raise FileNotFoundError(name)
        number, offset, length = (int(column[row]) for column in self._places)
        expected = self._digests[row].as_py()

        def check(data: bytes) -> None:
            if digest(data) != expected:
                raise ValueError(f"the bytes of {name} have changed")

        return self._source.read(self.shards[number], offset, length, check)

    def _find(self, name: str) -> int | None:
        row = bisect_left(range(len(self)), name, key=lambda i: self._names[i].as_py())
        return row if row < len(self) and self._names[row].as_py() == name else None


def open_pack(path: Path) -> Pack:
    """Return a pack that is there, opened once by each process; errors are those of `Pack`."""
    status = path.stat()
    return _open_pack(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=32)
def _open_pack(path: Path, num_bytes: int, written: int) -> Pack:
    return Pack(path)


class Images(NamedTuple):
    """The images of a part.

    Attributes:
        folder: that their names are relative to.
        pack: that has them; None: they are files in the folder.
    """

    folder: Path
    pack: Pack | None = None

    @property
    def is_remote(self) -> bool:
        """Whether they are read from a bucket."""
        return self.pack is not None and self.pack.is_remote

    def read(self, name: str) -> bytes:
        """Return the bytes of an image.

        Raises:
            OSError: it is not there, or cannot be read.
            Problem: DAMAGED, it is not what was packed.
        """
        return self.pack.read(name) if self.pack is not None else (self.folder / name).read_bytes()

    def open(self, name: str) -> io.BytesIO:
        """Return an image's bytes as a file; errors are those of `read`."""
        return io.BytesIO(self.read(name))

    def __contains__(self, name: object) -> bool:
        if self.pack is not None:
            return str(name) in self.pack
        return (self.folder / str(name)).is_file()


class Place(NamedTuple):
    """One image of a part."""

    images: Images
    name: str

    def read(self) -> bytes:
        """Return the image's bytes; errors are those of `Images.read`."""
        return self.images.read(self.name)


def find_images(
    json_path: Path, folder: Path, sha256: Callable[[Path], str] = files.sha256
) -> Images:
    """Return the images of a part: those of its pack if it has one, made for this COCO file.

    Args:
        json_path: the COCO file.
        folder: that file names are relative to.
        sha256: of the COCO file; called only if there is a pack.

    Raises:
        Problem: MISMATCH, the pack is of another COCO file, and the files are not there; DAMAGED,
            its index is.
    """
    path = index_path(json_path)
    if not path.is_file():
        return Images(folder)
    pack = open_pack(path)
    if pack.about["sha256"] == sha256(json_path):
        return Images(folder, pack)
    if not pack.is_loose_in(folder):
        detail = f"not packed for {json_path} as it is now, and its images are no files either"
        raise Problem(Kind.MISMATCH, path, detail, remedy=Remedy.PACK_AGAIN)
    _say_once("%s was not packed for %s as it is now: images are read one by one", path, json_path)
    return Images(folder)


@cache
def _say_once(*words: object) -> None:
    logger.warning(*words)
