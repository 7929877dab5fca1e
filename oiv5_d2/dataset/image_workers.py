"""Pictures brought by several processes: one has its hands full before a fast line has.

This process and its workers take pictures from one list, a chunk at a time, until it is empty. The
workers are programs of their own that load little, ready in a third of a second where a copy of
this one would need seconds. One that is killed costs time only: its pictures are looked at again.
"""

import logging
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import BinaryIO

from oiv5_d2.dataset.images import Pictures, Tell, bring, folders_of
from oiv5_d2.dataset.outcomes import PRESENT, Known, Outcome
from oiv5_d2.dataset.stores import Store

logger = logging.getLogger(__name__)

_CHUNK = 64  # pictures that a process takes at a time
_PICTURES_A_WORKER = 10_000  # fewer are not worth another process's start
_NEWS_SECONDS = 0.02  # what is told between two looks fits into a socket's buffer
_NUMBER_BYTES = 8

News = list[tuple[str, Outcome, int]]


def fetch_images(
    keys: Sequence[str],
    store: Store,
    images_dir: Path,
    known: Mapping[str, Known],
    full_decode: bool,
    advance: Callable[[int, int, int], object],
    max_workers: int = 1,
) -> dict[str, Outcome]:
    """Bring pictures to ``images_dir/{key}``; those that are there and whole are not asked for.

    Args:
        keys: ``{split}/{ImageID}.jpg``, distinct.
        store: the images bucket.
        images_dir: where they go.
        known: those checked by an earlier run; their size is enough.
        full_decode: decode every picture to its last pixel, those already there too.
        advance: called with the numbers of newly finished pictures, of bytes that came for them,
            and of those among them that could not be had.
        max_workers: processes at most, this one counted; fewer for few pictures.

    Returns:
        each key's outcome.

    Raises:
        OSError: `images_dir` can not be written.
    """
    outcomes: dict[str, Outcome] = {}

    def tell(key: str, outcome: Outcome, num_bytes: int) -> None:
        outcomes[key] = outcome
        advance(1, num_bytes, outcome.state != PRESENT)

    for folder in folders_of(keys):
        (images_dir / folder).mkdir(parents=True, exist_ok=True)
    pictures = Pictures(keys, store, images_dir, known, full_decode)
    stores = store.split(max(1, min(max_workers, len(keys) // _PICTURES_A_WORKER)))
    if len(stores) > 1:
        _bring_together(pictures, stores, tell)
    if rest := [key for key in keys if key not in outcomes]:
        bring(pictures, rest, tell)
    return outcomes


def _bring_together(pictures: Pictures, stores: Sequence[Store], tell: Tell) -> None:
    """Bring pictures by as many processes as there are stores; a killed one's are not told of."""
    with ExitStack() as stack:
        chunks = stack.enter_context(_listed_chunks(len(pictures.keys)))
        mine, *others = (replace(pictures, store=store) for store in stores)
        stack.callback(mine.store.close)
        workers = [stack.enter_context(_Worker(each, chunks)) for each in others]
        heard = time.monotonic()

        def tell_all(key: str, outcome: Outcome, num_bytes: int) -> None:
            nonlocal heard
            tell(key, outcome, num_bytes)
            if time.monotonic() - heard > _NEWS_SECONDS:
                _hear(workers, tell, 0.0)
                heard = time.monotonic()

        bring(mine, _taken(pictures.keys, chunks.fileno()), tell_all)
        while _hear(workers, tell, None):
            pass


def _listed_chunks(num_keys: int) -> BinaryIO:
    """Return an open file of each chunk's start, to be read on by all processes."""
    file = tempfile.TemporaryFile()
    for start in range(0, num_keys, _CHUNK):
        file.write(start.to_bytes(_NUMBER_BYTES))
    file.seek(0)
    return file


def _taken(keys: Sequence[str], chunks: int) -> Iterator[str]:
    """Yield the keys of chunks that no other process takes.

    Args:
        keys: all there are.
        chunks: the descriptor of the list of chunks. All processes have the same open file, so
            what one has read is behind the place from which the next one reads.
    """
    while start := os.read(chunks, _NUMBER_BYTES):
        begin = int.from_bytes(start)
        yield from keys[begin : begin + _CHUNK]


class _Worker:
    """Another process that takes part, and what is heard of it.

    Args:
        pictures: all there are, with this worker's store.
        chunks: the open list of chunks.
    """

    def __init__(self, pictures: Pictures, chunks: BinaryIO) -> None:
        self.line, far_end = Pipe()
        # By a file: it would not take a long list from a pipe before it has started.
        with far_end, tempfile.TemporaryFile() as file:
            pickle.dump(pictures, file)
            file.seek(0)
            descriptors = file.fileno(), far_end.fileno()
            # Its own group: on Ctrl-C this process ends it, and nothing is printed twice.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, *map(str, descriptors)],
                stdin=chunks,
                pass_fds=descriptors,
                process_group=0,
            )

    def __enter__(self) -> "_Worker":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()
        self.line.close()

    def hear(self, tell: Tell) -> None:
        """Pass on what the worker tells, and note its end."""
        try:
            news: News = self.line.recv()
        except (EOFError, ConnectionError):
            self.line.close()
            if code := self._process.wait():
                logger.warning(
                    "One of the processes that fetch pictures ended early (exit code %d); the"
                    " others do its part",
                    code,
                )
            return
        for one in news:
            tell(*one)


def _hear(workers: Sequence[_Worker], tell: Tell, seconds: float | None) -> bool:
    """Pass on what workers tell; return False once all have ended.

    Args:
        workers: all there were.
        tell: called once for each picture.
        seconds: how long to wait for something; None for any time.
    """
    lines = {worker.line: worker for worker in workers if not worker.line.closed}
    for line in wait(list(lines), seconds) if lines else []:
        lines[line].hear(tell)  # type: ignore[index]  # wait returns what it was given
    return bool(lines)


def main() -> None:
    """Take part, as a worker: its arguments are two descriptors, its input the list of chunks."""
    job, end = map(int, sys.argv[1:])
    with open(job, "rb") as file:
        pictures: Pictures = pickle.load(file)
    line = Connection(end)
    threading.Thread(target=_end_with_parent, args=(line,), daemon=True).start()
    try:
        _take_part(pictures, line)
    except OSError:
        sys.exit(1)  # the parent goes on, meets the same and says so


def _take_part(pictures: Pictures, line: Connection) -> None:
    news: News = []
    told = time.monotonic()

    def tell(key: str, outcome: Outcome, num_bytes: int) -> None:
        nonlocal told
        news.append((key, outcome, num_bytes))
        if time.monotonic() - told > _NEWS_SECONDS:
            line.send(news)
            news.clear()
            told = time.monotonic()

    try:
        bring(pictures, _taken(pictures.keys, sys.stdin.fileno()), tell)
    finally:
        line.send(news)


def _end_with_parent(line: Connection) -> None:
    """Watch the parent, which never tells anything: an orphan would write into another's folder."""
    wait([line])
    os._exit(1)


if __name__ == "__main__":
    main()
