"""A part's images in a few large files: tar, in the order of their ids, with an index.

The bytes depend on the COCO file, the images and the size of a shard alone: a tar has no times and
no owners here. Shards are written one after the other, while threads read images ahead. One that is
there already is compared with the images and kept, so that packing goes on where it was ended. The
index comes last: without it nothing reads the shards.
"""

import os
import tarfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pyarrow as pa

from oiv5_d2.conversion import coco_file, sealed
from oiv5_d2.conversion.image_store import DIGEST_BYTES, FORMAT, digest, index_path
from oiv5_d2.conversion.images import seen_size
from oiv5_d2.files import PART_PREFIX, free_bytes, sha256, whole_file
from oiv5_d2.problems import Kind, Problem, Remedy

MB = 1 << 20
SHARD_TAR = "{part}-{number:05d}.tar"
_THREADS = 16  # that read: on a network's disk a file takes long to come, not long to read
_AHEAD = 64  # images
_BLOCK = 512  # of a tar
_END = bytes(2 * _BLOCK)
_SCHEMA = pa.schema(
    {
        "file_name": pa.string(),
        "shard": pa.int32(),
        "offset": pa.int64(),
        "length": pa.int64(),
        "digest": pa.binary(DIGEST_BYTES),
    }
)


class Member(NamedTuple):
    """An image to be packed."""

    name: str
    size: tuple[int, int]
    """Height and width, as the COCO file has them."""
    num_bytes: int
    """That it takes in a tar."""


class Row(NamedTuple):
    """A row of the index, see `_SCHEMA`."""

    file_name: str
    shard: int
    offset: int
    length: int
    digest: bytes


class _Other(Exception):
    """A shard that is there has other bytes."""


def pack(
    json_path: Path,
    folder: Path,
    shard_bytes: int,
    advance: Callable[[int], object] = lambda num_images: None,
) -> None:
    """Pack the images of a COCO file beside it; see `image_store`.

    Args:
        json_path: the COCO file.
        folder: that its file names are relative to; it is only read.
        shard_bytes: a shard is not longer, unless one image is.
        advance: called with the number of images newly packed.

    Raises:
        Problem: ABSENT or DAMAGED, an image; DISK_FULL.
    """
    index, members = index_path(json_path), list_members(json_path, folder)
    shards = list(cut(members, shard_bytes))
    paths = shard_paths(json_path, len(shards))
    _check_room(members, paths)
    index.parent.mkdir(exist_ok=True)
    index.unlink(missing_ok=True)
    rows: list[Row] = []
    with ThreadPoolExecutor(_THREADS) as pool:
        for number, (path, some) in enumerate(zip(paths, shards, strict=True)):
            rows += _pack_shard(path, number, partial(_read_ahead, pool, folder, some), advance)
    left = index.parent.glob(f"{PART_PREFIX}*-{index.name}")  # of a killed run
    for other in {*find_shards(json_path), *left} - set(paths):
        other.unlink()
    columns = zip(*sorted(rows), strict=True)
    table = pa.table(dict(zip(_SCHEMA.names, map(list, columns), strict=True)), schema=_SCHEMA)
    sizes = {path.name: path.stat().st_size for path in paths}
    about = {"format": FORMAT, "sha256": sha256(json_path), "shards": sizes}
    sealed.write_table(table, about, index)


def share_pack(of: Path, json_path: Path) -> None:
    """Let a COCO file that has the images of another one beside it be read from the same shards."""
    table, about = sealed.read_table(index_path(of))
    sealed.write_table(table, {**about, "sha256": sha256(json_path)}, index_path(json_path))


def list_members(json_path: Path, folder: Path) -> list[Member]:
    """Return the images of a COCO file in the order of their ids.

    Raises:
        Problem: ABSENT, one is not there; or those of `coco_file.read_records`.
    """
    found = []
    for one in sorted(coco_file.read_records(json_path, "images"), key=lambda one: int(one["id"])):
        name, path = one["file_name"], folder / one["file_name"]
        try:
            length = os.stat(path).st_size
        except FileNotFoundError as error:
            raise Problem(Kind.ABSENT, path, remedy=Remedy.PREPARE_AGAIN) from error
        num_bytes = len(_header(name, length)) + length + -length % _BLOCK
        found.append(Member(name, (one["height"], one["width"]), num_bytes))
    return found


def cut(members: Iterable[Member], shard_bytes: int) -> Iterator[list[Member]]:
    """Yield the images of each shard."""
    some: list[Member] = []
    left = shard_bytes - len(_END)
    for one in members:
        if some and one.num_bytes > left:
            yield some
            some, left = [], shard_bytes - len(_END)
        some.append(one)
        left -= one.num_bytes
    yield some


def shard_paths(json_path: Path, number: int) -> list[Path]:
    """Return where the first shards of a COCO file's pack are."""
    index = index_path(json_path)
    names = [SHARD_TAR.format(part=index.stem, number=n) for n in range(number)]
    return [index.with_name(name) for name in names]


def find_shards(json_path: Path) -> list[Path]:
    """Return the shards of a COCO file's pack that are there."""
    index = index_path(json_path)
    return sorted(index.parent.glob(f"{index.stem}-{'[0-9]' * 5}.tar"))


def _check_room(members: Sequence[Member], paths: Sequence[Path]) -> None:
    there = sum(path.stat().st_size for path in paths if path.is_file())
    needed, folder = sum(one.num_bytes for one in members) - there, paths[0].parent
    if needed > (free := free_bytes(folder)):
        detail = f"about {needed:,} bytes to write, {free:,} free"
        raise Problem(Kind.DISK_FULL, folder, detail, key="data.dir", remedy=Remedy.FREE_DISK)


def _read_ahead(
    pool: ThreadPoolExecutor, folder: Path, members: Iterable[Member]
) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of each image in turn."""
    waiting: deque[tuple[Member, Future[bytes]]] = deque()
    for one in members:
        waiting.append((one, pool.submit((folder / one.name).read_bytes)))
        if len(waiting) == _AHEAD:
            yield _checked(folder, *waiting.popleft())
    while waiting:
        yield _checked(folder, *waiting.popleft())


def _checked(folder: Path, one: Member, coming: Future[bytes]) -> tuple[str, bytes]:
    """Return an image, unless training could not use it."""
    data = coming.result()
    try:
        found = seen_size(BytesIO(data))
        what = f"{found[1]} x {found[0]} px, not {one.size[1]} x {one.size[0]}"
    except ValueError as error:
        found, what = None, str(error)
    if found != one.size:
        raise Problem(Kind.DAMAGED, folder / one.name, what, remedy=Remedy.PREPARE_AGAIN)
    return one.name, data


def _pack_shard(
    path: Path,
    number: int,
    read: Callable[[], Iterable[tuple[str, bytes]]],
    advance: Callable[[int], object],
) -> list[Row]:
    """Write a shard unless it is there, and return its rows."""
    with suppress(FileNotFoundError, _Other), path.open("rb") as file:
        rows = _fill(partial(_expect, file), number, read())
        _expect(file, b"", at_end=True)
        advance(len(rows))
        return rows
    with whole_file(path) as temporary, temporary.open("wb") as file:
        return _fill(file.write, number, read(), advance)


def _fill(
    put: Callable[[bytes], object],
    shard: int,
    images: Iterable[tuple[str, bytes]],
    advance: Callable[[int], object] = lambda num_images: None,
) -> list[Row]:
    """Put the pieces of a tar, one after the other, and return what its images' rows are."""
    rows, offset = [], 0
    for name, data in images:
        pieces = _header(name, len(data)), data, bytes(-len(data) % _BLOCK)
        rows.append(Row(name, shard, offset + len(pieces[0]), len(data), digest(data)))
        for piece in pieces:
            put(piece)
            offset += len(piece)
        advance(1)
    put(_END)
    return rows


def _expect(file: BinaryIO, piece: bytes, at_end: bool = False) -> None:
    found = file.read() if at_end else file.read(len(piece))
    if found != piece:
        raise _Other


def _header(name: str, num_bytes: int) -> bytes:
    """Return what stands before a file in a tar; a name is never that of a place on the disk."""
    info = tarfile.TarInfo(os.path.normpath(name).lstrip("/"))
    info.size = num_bytes
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
