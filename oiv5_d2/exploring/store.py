"""Arrays in a folder of their own, mapped into memory rather than read: built once, then opened."""

import fcntl
import hashlib
import json
import mmap
import shutil
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from oiv5_d2.files import naming_full_disk

ABOUT_JSON, LOCK = "about.json", ".lock"
Spans = NDArray[np.int64]  # (N, 2): where each of N texts begins and ends


class Store:
    """Named arrays and texts of a folder, and a few words about them.

    Attributes:
        arrays: by name, read only.
        about: what is no array.
    """

    def __init__(self, folder: Path) -> None:
        self.arrays = {path.stem: np.load(path, mmap_mode="r") for path in folder.glob("*.npy")}
        self.about: dict[str, Any] = json.loads((folder / ABOUT_JSON).read_text(encoding="utf-8"))
        self._folder = folder

    def bytes(self, name: str) -> bytes | mmap.mmap:
        """Return the bytes that a `Texts` wrote."""
        path = self._folder / f"{name}.bin"
        if not path.stat().st_size:  # an empty file cannot be mapped
            return b""
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


class Texts(AbstractContextManager["Texts"]):
    """Texts that are added one by one and go to disk at once; the file is closed at the end.

    Args:
        folder: of the store.
        name: of the texts in it.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._file: BinaryIO = (folder / f"{name}.bin").open("wb")
        self._ends = array("q", [0])

    def append(self, text: bytes) -> None:
        """Add a text."""
        self._file.write(text)
        self._ends.append(self._ends[-1] + len(text))

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def spans(self) -> Spans:
        """Return where each text begins and ends, (N, 2)."""
        edges = np.frombuffer(self._ends, dtype=np.int64)
        return np.stack([edges[:-1], edges[1:]], axis=1)


def open_store(cache_dir: Path, name: str, stamp: str, build: Callable[[Path], None]) -> Store:
    """Open a store; build it first if it is not there.

    It appears complete or not at all. One of the same name and another stamp is outdated and
    removed.

    Args:
        cache_dir: where stores are.
        name: of the store.
        stamp: of what it is built from, as `fingerprint` returns it.
        build: fills a folder by `save` and `Texts`.

    Raises:
        Problem: DISK_FULL; or those of `build`.
    """
    folder = cache_dir / f"{name}-{stamp}"
    with naming_full_disk(cache_dir, "cache"), _locked(cache_dir):
        if not (folder / ABOUT_JSON).is_file():
            _fill(folder, cache_dir / f".part-{name}", build)
            for other in cache_dir.glob(f"{name}-{'[0-9a-f]' * len(stamp)}"):
                if other != folder:
                    shutil.rmtree(other, ignore_errors=True)
    return Store(folder)


@contextmanager
def _locked(cache_dir: Path) -> Iterator[None]:
    """Let another process that builds there finish first."""
    cache_dir.mkdir(parents=True, exist_ok=True)
    with (cache_dir / LOCK).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fill(folder: Path, temporary: Path, build: Callable[[Path], None]) -> None:
    shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
    temporary.mkdir()
    try:
        build(temporary)
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def save(folder: Path, arrays: dict[str, NDArray[Any]], about: dict[str, Any]) -> None:
    """Write arrays and what is said about them into the folder of a store."""
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values, allow_pickle=False)
    (folder / ABOUT_JSON).write_text(json.dumps(about), encoding="utf-8")


def fingerprint(paths: Iterable[Path], *words: str) -> str:
    """Return 16 hex digits that change with the files, the words and this package's code.

    A file is known by path, size and time of change: it may be a gigabyte.
    """
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    for path in paths:
        found = path.stat() if path.is_file() else None
        stamp = (found.st_size, found.st_mtime_ns) if found else None
        digest.update(repr((str(path.absolute()), stamp)).encode())
    digest.update(repr(words).encode())
    return digest.hexdigest()[:16]
