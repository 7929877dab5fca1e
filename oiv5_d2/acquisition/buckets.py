"""Buckets: a folder, http(s)://, s3://, gs:// or az://, by the library obstore.

What a bucket cannot give is a `Problem`, never an exception of obstore's own.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from os.path import exists, isfile
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeVar

import obstore
from obstore import exceptions

from oiv5_d2.acquisition.transfer import Transfer, facts_of, folder_of, open_store
from oiv5_d2.problems import Kind, Problem, Remedy

T = TypeVar("T")
R = TypeVar("R")

_ROUNDS = 5  # over all requests of `read_many`: what failed is asked for again at the end
# A file is damaged on its way; one server of several has no ranges.
_TEMPORARY = (Kind.DAMAGED, Kind.UNREACHABLE, Kind.UNSUPPORTED)
_PIECE_BYTES = 256 << 10
_KIND_OF = {
    FileNotFoundError: (Kind.ABSENT, Remedy.CHECK_ADDRESS),
    exceptions.PermissionDeniedError: (Kind.REFUSED, Remedy.CHECK_ADDRESS),
    exceptions.UnauthenticatedError: (Kind.REFUSED, Remedy.CHECK_ADDRESS),
    exceptions.PreconditionError: (Kind.CHANGED, Remedy.RUN_AGAIN),
    exceptions.NotSupportedError: (Kind.UNSUPPORTED, Remedy.NONE),
    ValueError: (Kind.UNSUPPORTED, Remedy.NONE),
}


class Head(NamedTuple):
    """What a bucket says of a file."""

    num_bytes: int
    etag: str  # "" where the bucket has none


class Get(NamedTuple):
    """A request for a file, or for its bytes from `start` to before `stop`."""

    key: str
    start: int = 0
    stop: int | None = None
    etag: str = ""  # if given, the file still has to be this one


class Answer(NamedTuple):
    """What came for a request."""

    get: Get
    data: bytes
    problem: Problem | None = None


class Bucket:
    """A bucket, with keys such as ``train/0123456789abcdef.jpg``; its errors are `open_store`'s.

    Args:
        location: a folder, ``file:///folder``, ``http(s)://host/path``, ``s3://bucket/prefix``,
            ``gs://...`` or ``az://...``.
        transfer: the settings of remote buckets.
    """

    def __init__(self, location: str, transfer: Transfer) -> None:
        self.folder = folder_of(location)  # None for a remote bucket
        self.location = str(self.folder or location.rstrip("/"))
        self._connections = transfer.connections
        self._num_unreachable = 0  # in a row
        self._store: Any = open_store(location, transfer)

    def url(self, key: str) -> str:
        """Return a file's address, for people and the manifest."""
        return f"{self.location}/{key}"

    def head(self, key: str) -> Head:
        """Return a file's length and ETag; see `read` for the errors."""
        meta = self._ask(key, lambda: obstore.head(self._store, key))
        return Head(meta["size"], meta["e_tag"] or "")

    def read(self, get: Get) -> bytes:
        """Return the requested bytes of a file.

        Raises:
            Problem: ABSENT, REFUSED, CHANGED or UNREACHABLE; UNSUPPORTED where the server has no
                ranges.
        """
        data = self._ask(get.key, lambda: bytes(self._get(get).bytes()))
        if get.stop and len(data) != get.stop - get.start:
            detail = f"{len(data)} bytes instead of {get.stop - get.start}"
            raise Problem(Kind.UNREACHABLE, self.url(get.key), detail, remedy=Remedy.RUN_AGAIN)
        return data

    def read_many(
        self, gets: Iterable[Get], check: Callable[[bytes], object] = lambda data: None
    ) -> Iterator[Answer]:
        """Yield an answer for each request, in the order in which they come.

        What fails in a way that may be temporary, after the retries of each request, is asked for
        again after all others, a few times; in a folder it is not. When a server has not answered
        any of many requests in a row, the rest are UNREACHABLE without being asked for.

        Args:
            gets: taken one by one, never listed.
            check: raises ValueError with what is wrong with the bytes: they are DAMAGED. It is
                called from several threads.
        """
        self._num_unreachable = 0
        for num_left in reversed(range(1 if self.folder else _ROUNDS)):
            failed: list[Get] = []
            for answer in _in_threads(lambda g: self._answer(g, check), gets, self._connections):
                if num_left and answer.problem and answer.problem.kind in _TEMPORARY:
                    failed.append(answer.get)
                else:
                    yield answer
            gets = failed

    def head_many(self, keys: Iterable[str]) -> Iterator[tuple[str, Head | Problem]]:
        """Yield what the bucket says of each file, in the order in which answers come."""

        def ask(key: str) -> tuple[str, Head | Problem]:
            try:
                return key, self.head(key)
            except Problem as problem:
                return key, problem

        yield from _in_threads(ask, keys, self._connections)

    def stream(self, get: Get) -> Iterator[bytes]:
        """Yield the requested bytes of a file piece by piece; see `read` for the errors."""
        result = self._ask(get.key, lambda: self._get(get))
        pieces = iter(result.stream(min_chunk_size=_PIECE_BYTES))
        while piece := self._ask(get.key, lambda: bytes(next(pieces, b""))):
            yield piece

    def _get(self, get: Get) -> Any:
        options: dict[str, Any] = {}
        if get.etag and not get.etag.startswith("W/"):  # a weak one matches nothing
            options["if_match"] = get.etag
        if get.stop is not None:
            options["range"] = (get.start, get.stop)
        elif get.start:
            options["range"] = {"offset": get.start}
        path = self.folder and self.folder / get.key
        if path and exists(path) and not isfile(path):  # to open a pipe would never end
            raise FileNotFoundError(path)
        result = obstore.get(self._store, get.key, options=options or None)  # type: ignore[arg-type]
        found = result.meta["e_tag"]
        if get.etag and found and found != get.etag:
            raise exceptions.PreconditionError(found)
        return result

    def _ask(self, key: str, request: Callable[[], R]) -> R:
        try:
            return request()
        except (exceptions.BaseError, FileNotFoundError, ValueError) as error:
            other = Kind.REFUSED if self.folder else Kind.UNREACHABLE
            kind, remedy = _KIND_OF.get(type(error), (other, Remedy.RUN_AGAIN))
            facts = "" if kind in (Kind.ABSENT, Kind.CHANGED) else facts_of(error)
            raise Problem(kind, self.url(key), facts, remedy=remedy) from error

    def _answer(self, get: Get, check: Callable[[bytes], object]) -> Answer:
        url = self.url(get.key)
        if self._num_unreachable > 2 * self._connections:
            return Answer(get, b"", Problem(Kind.UNREACHABLE, url, "gave no answer before"))
        try:
            data = self.read(get)
            self._num_unreachable = 0
            check(data)
        except Problem as problem:
            is_answer = problem.kind is not Kind.UNREACHABLE
            self._num_unreachable = 0 if is_answer else self._num_unreachable + 1
            return Answer(get, b"", problem)
        except ValueError as error:
            damage = Problem(Kind.DAMAGED, url, str(error), remedy=Remedy.FIX_SOURCE)
            return Answer(get, b"", damage)
        return Answer(get, data)


def _in_threads(function: Callable[[T], R], items: Iterable[T], num: int) -> Iterator[R]:
    """Yield a function's results as they come; at most twice `num` items are under way."""
    done: SimpleQueue[Future[R]] = SimpleQueue()
    num_waiting = 0
    pool = ThreadPoolExecutor(num)
    try:
        for item in items:
            if num_waiting == 2 * num:
                yield done.get().result()
                num_waiting -= 1
            pool.submit(function, item).add_done_callback(done.put)
            num_waiting += 1
        for _ in range(num_waiting):
            yield done.get().result()
    finally:
        pool.shutdown(cancel_futures=True)
