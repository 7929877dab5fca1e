"""Buckets: a folder, http(s)://, s3://, gs:// or az://, by the library obstore.

What a bucket cannot give is an `Answer` with a `Problem`, never an exception of the library.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import unquote

import obstore
from obstore import exceptions
from obstore.store import HTTPStore, LocalStore, from_url

from oiv5_d2.problems import Kind, Problem, Remedy

T = TypeVar("T")
R = TypeVar("R")

Check = Callable[[bytes], object]
"""Raises ValueError with what is wrong with the bytes."""


@dataclass(frozen=True)
class Transfer:
    """How remote buckets are asked; all but `connections` are obstore's own keyword arguments."""

    connections: int = 32
    """Requests under way at a time."""
    client_options: dict[str, Any] = field(default_factory=dict)
    """Of `obstore.store.ClientConfig`: timeout, connect_timeout, proxy_url, ..."""
    retry_config: dict[str, Any] = field(default_factory=dict)
    """Of `obstore.store.RetryConfig`: max_retries, retry_timeout, backoff."""
    store: dict[str, Any] = field(default_factory=dict)
    """Of the cloud's own store, `S3Store`, `GCSStore`, `AzureStore`: region, endpoint,
    skip_signature, ..."""


class Head(NamedTuple):
    """What a bucket says of a file."""

    num_bytes: int
    etag: str
    """"" where the bucket has none."""


class Get(NamedTuple):
    """A request for a file, or for its bytes from `start` to before `stop`."""

    key: str
    start: int = 0
    stop: int | None = None
    etag: str = ""
    """If given, the file has to be still this one."""


class Answer(NamedTuple):
    """What came for a request."""

    get: Get
    data: bytes
    problem: Problem | None = None


class Bucket:
    """One bucket. Keys are paths in it, such as ``train/0123456789abcdef.jpg``.

    Args:
        location: a folder, ``file:///folder``, ``http(s)://host/path``, ``s3://bucket/prefix``,
            ``gs://...`` or ``az://...``.
        transfer: the settings of remote buckets.

    Raises:
        Problem: ABSENT, there is no such folder; SETTING, no such address.
    """

    def __init__(self, location: str, transfer: Transfer) -> None:
        self.location = location.rstrip("/")
        self.folder = folder_of(location)
        """Where the files lie on this machine; None for a remote bucket."""
        self._connections = transfer.connections
        self._store = _open(location, self.folder, transfer)

    def url(self, key: str) -> str:
        """Return a file's address, for people and the manifest."""
        return f"{self.location}/{key}"

    def head(self, key: str) -> Head:
        """Return a file's length and ETag.

        Raises:
            Problem: ABSENT, REFUSED or UNREACHABLE.
        """
        try:
            meta = obstore.head(self._store, key)
        except exceptions.BaseError as error:
            raise self._problem(key, error) from error
        return Head(meta["size"], meta["e_tag"] or "")

    def read(self, get: Get) -> bytes:
        """Return a file's bytes, or a part of them.

        Raises:
            Problem: ABSENT, REFUSED, CHANGED or UNREACHABLE; UNSUPPORTED where the server has no
                ranges.
        """
        options: dict[str, Any] = {"if_match": get.etag} if get.etag else {}
        if get.stop is not None:
            options["range"] = (get.start, get.stop)
        elif get.start:
            options["range"] = {"offset": get.start}
        try:
            return bytes(obstore.get(self._store, get.key, options=options).bytes())
        except exceptions.BaseError as error:
            raise self._problem(get.key, error) from error

    def read_many(self, gets: Iterable[Get], check: Check | None = None) -> Iterator[Answer]:
        """Yield an answer for each request, in the order in which they come.

        Args:
            gets: taken one by one, never listed.
            check: what refuses is DAMAGED, and asked for once more first.
        """
        yield from _in_threads(lambda get: self._answer(get, check), gets, self._connections)

    def head_many(self, keys: Iterable[str]) -> Iterator[tuple[str, Head | Problem]]:
        """Yield what the bucket says of each file, in the order in which answers come."""
        yield from _in_threads(self._head, keys, self._connections)

    def stream(self, key: str, start: int = 0, etag: str = "") -> Iterator[bytes]:
        """Yield a file's bytes from `start` on, piece by piece.

        Raises:
            Problem: as `read`.
        """
        options: dict[str, Any] = {"if_match": etag} if etag else {}
        if start:
            options["range"] = {"offset": start}
        try:
            for piece in obstore.get(self._store, key, options=options):
                yield bytes(piece)
        except exceptions.BaseError as error:
            raise self._problem(key, error) from error

    def _answer(self, get: Get, check: Check | None) -> Answer:
        try:
            data = self.read(get)
            if check:
                check(data)
        except Problem as problem:
            return Answer(get, b"", problem)
        except ValueError as error:
            return Answer(get, b"", Problem(Kind.DAMAGED, self.url(get.key), str(error)))
        return Answer(get, data)

    def _head(self, key: str) -> tuple[str, Head | Problem]:
        try:
            return key, self.head(key)
        except Problem as problem:
            return key, problem

    def _problem(self, key: str, error: Exception) -> Problem:
        url = self.url(key)
        if isinstance(error, exceptions.NotFoundError):
            return Problem(Kind.ABSENT, url, remedy=Remedy.CHECK_ADDRESS)
        if isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError):
            return Problem(Kind.REFUSED, url, remedy=Remedy.CHECK_ADDRESS)
        if isinstance(error, exceptions.PreconditionError):
            return Problem(Kind.CHANGED, url, remedy=Remedy.RUN_AGAIN)
        if isinstance(error, exceptions.NotSupportedError):
            return Problem(Kind.UNSUPPORTED, url, "the server cannot send a part of a file")
        return Problem(Kind.UNREACHABLE, url, str(error).splitlines()[0], remedy=Remedy.RUN_AGAIN)


def folder_of(location: str) -> Path | None:
    """Return the folder that a location is, plainly or as ``file:///folder``; None for another."""
    scheme, separator, rest = location.partition("://")
    if not separator:
        return Path(location)
    return Path(unquote(rest.removeprefix("localhost"))) if scheme.lower() == "file" else None


def _open(location: str, folder: Path | None, transfer: Transfer) -> Any:
    if folder is not None:
        if not folder.is_dir():
            raise Problem(Kind.ABSENT, folder, key="data.source", remedy=Remedy.CHECK_ADDRESS)
        return LocalStore(folder.absolute())
    options: dict[str, Any] = {
        "client_options": {"allow_http": True, **transfer.client_options},
        "retry_config": transfer.retry_config,
    }
    if location.startswith(("http://", "https://")):
        return HTTPStore(location, **options)
    of_cloud: Callable[..., Any] = from_url
    return of_cloud(location, **options, **transfer.store)


def _in_threads(function: Callable[[T], R], items: Iterable[T], num: int) -> Iterator[R]:
    """Yield a function's results as they come; at most twice `num` items are under way."""
    waiting: set[Future[R]] = set()
    rest = iter(items)
    with ThreadPoolExecutor(num) as pool:
        while True:
            new = islice(rest, 2 * num - len(waiting))
            waiting |= {pool.submit(function, item) for item in new}
            if not waiting:
                return
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
