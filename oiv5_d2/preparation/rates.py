"""How fast files came from a source: what a plan tells the time by.

A fetch is the best measure. Tables are the next best: they come over one connection, where pictures
come over many. What is kept lies in the data folder, by the address of the pictures.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from oiv5_d2.acquisition.stores import is_remote
from oiv5_d2.console.quantities import duration, size
from oiv5_d2.files import whole_file
from oiv5_d2.jobs import Advance
from oiv5_d2.preparation.stages import STAMPS

FETCH, TABLES = "fetch", "tables"
LEAST_TABLES = 10_000_000  # bytes; of less, a server's delays are the larger part


class Rate(NamedTuple):
    """So many bytes came in so many seconds."""

    num_bytes: int
    seconds: float
    of: str
    """`FETCH` or `TABLES`."""

    @property
    def bytes_per_second(self) -> float:
        """The rate itself."""
        return self.num_bytes / max(1e-3, self.seconds)

    def __str__(self) -> str:
        how = "an earlier fetch" if self.of == FETCH else "tables, over one connection"
        return f"measured by {how}: {size(self.num_bytes)} in {duration(self.seconds)}"


def keep_rate(data_dir: Path, location: str, rate: Rate) -> None:
    """Keep a rate, unless one is kept that is told by more bytes, or by a fetch."""
    if rate.num_bytes < (LEAST_TABLES if rate.of == TABLES else 1):
        return
    kept = read_rate(data_dir, location)
    if kept and (kept.of == FETCH, kept.num_bytes) > (rate.of == FETCH, rate.num_bytes):
        return
    with whole_file(_path(data_dir)) as part_path:
        part_path.write_text(json.dumps({location: rate}) + "\n", encoding="utf-8")


@contextmanager
def measured_fetch(data_dir: Path, location: str, advance: Advance) -> Iterator[Advance]:
    """Keep how fast what comes in the block came, however it ends; yield what it is to call.

    Of a folder nothing is kept: how fast a disk is says little.
    """
    num_all, begin = 0, time.monotonic()

    def counted(num_done: int, num_bytes: int = 0, num_failed: int = 0, /) -> None:
        nonlocal num_all
        num_all += num_bytes
        advance(num_done, num_bytes, num_failed)

    try:
        yield counted
    finally:
        if is_remote(location):
            keep_rate(data_dir, location, Rate(num_all, time.monotonic() - begin, FETCH))


def read_rate(data_dir: Path, location: str) -> Rate | None:
    """Return the rate that is kept for an address; None where there is none."""
    try:
        num_bytes, seconds, of = json.loads(_path(data_dir).read_text(encoding="utf-8"))[location]
        return Rate(int(num_bytes), float(seconds), str(of))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _path(data_dir: Path) -> Path:
    return data_dir / STAMPS / "rate.json"
