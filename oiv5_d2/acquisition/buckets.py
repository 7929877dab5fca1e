"""Buckets: a folder, http(s)://, s3://, gs:// or az://, by the library obstore.

What a bucket cannot give is a `Problem`, never an exception of the library. Remote buckets are
asked unsigned, and neither proxies nor credentials are taken from the environment, unless
`Transfer` says so.
"""

import os
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit

import obstore
import pandas as pd
from obstore import exceptions
from obstore.store import HTTPStore, LocalStore, S3Store, from_url

from oiv5_d2.problems import Kind, Problem, Remedy

T = TypeVar("T")
R = TypeVar("R")

Check = Callable[[bytes], object]
"""Raises ValueError with what is wrong with the bytes."""

_SCHEMES = ("http", "https", "s3", "gs", "az")
_ROUNDS = 3  # over all requests of `read_many`: what failed is asked for again at the end
_PIECE_BYTES = 256 << 10
# A proxy that no address needs: otherwise the library takes the environment's.
_NO_PROXY = {"proxy_url": "http://127.0.0.1", "proxy_excludes": "*,0.0.0.0/0,::/0"}
_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)  # fmt: skip
_KIND_OF = {
    FileNotFoundError: (Kind.ABSENT, Remedy.CHECK_ADDRESS),
    exceptions.PermissionDeniedError: (Kind.REFUSED, Remedy.CHECK_ADDRESS),
    exceptions.UnauthenticatedError: (Kind.REFUSED, Remedy.CHECK_ADDRESS),
    exceptions.PreconditionError: (Kind.CHANGED, Remedy.RUN_AGAIN),
    exceptions.NotSupportedError: (Kind.UNSUPPORTED, Remedy.NONE),
    ValueError: (Kind.UNSUPPORTED, Remedy.NONE),
}


@dataclass(frozen=True)
class Transfer:
    """How remote buckets are asked; all but `connections` are obstore's own keyword arguments."""

    connections: int = 32
    """Requests under way at a time."""
    client_options: dict[str, Any] = field(default_factory=dict)
    """Of `obstore.store.ClientConfig`: timeout, connect_timeout, proxy_url, ..."""
    retry_config: dict[str, Any] = field(default_factory=dict)
    """Of `obstore.store.RetryConfig`: max_retries, retry_timeout, backoff; durations as "10s"."""
    store: dict[str, Any] = field(default_factory=dict, repr=False)
    """Of the cloud's own store, `S3Store`, `GCSStore`, `AzureStore`: region, endpoint,
    skip_signature, ..."""

    def __post_init__(self) -> None:
        if self.connections < 1:
            detail = f"{self.connections} is below 1"
            raise _refused_setting("transfer.connections", detail, "transfer.connections")


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

    An unsigned bucket follows redirects. Of a signed request the library drops the signature on the
    way to another host, but not a session token. So an S3 bucket that signs is first asked
    unsigned, and refused if it redirects. A server that redirects only signed requests, or only
    some files, is not found out by this.

    Args:
        location: a folder, ``file:///folder``, ``http(s)://host/path``, ``s3://bucket/prefix``,
            ``gs://...`` or ``az://...``.
        transfer: the settings of remote buckets.

    Raises:
        Problem: ABSENT, there is no such folder; SETTING, the address or a setting of `transfer`
            is not valid, or there is no key to sign with; REFUSED or UNREACHABLE, see above.
    """

    def __init__(self, location: str, transfer: Transfer) -> None:
        self.location = location.rstrip("/") or location
        self.folder = folder_of(location)
        """Where the files lie on this machine; None for a remote bucket."""
        self._connections = transfer.connections
        self._num_unreachable = 0  # in a row
        self._store: Any = _open(location, self.folder, transfer)

    def url(self, key: str) -> str:
        """Return a file's address, for people and the manifest."""
        return f"{self.location}/{key}"

    def head(self, key: str) -> Head:
        """Return a file's length and ETag.

        Raises:
            Problem: ABSENT, REFUSED, UNREACHABLE or UNSUPPORTED.
        """
        meta = self._ask(key, lambda: obstore.head(self._store, key))
        return Head(meta["size"], meta["e_tag"] or "")

    def read(self, get: Get) -> bytes:
        """Return a file's bytes, or a part of them.

        Raises:
            Problem: ABSENT, REFUSED, CHANGED or UNREACHABLE; UNSUPPORTED where the server has no
                ranges.
        """
        if get.start == get.stop:
            return b""
        data = self._ask(get.key, lambda: bytes(self._get(get).bytes()))
        if get.stop is not None and len(data) != get.stop - get.start:
            detail = f"{len(data)} bytes instead of {get.stop - get.start}"
            raise Problem(Kind.UNREACHABLE, self.url(get.key), detail, remedy=Remedy.RUN_AGAIN)
        return data

    def read_many(self, gets: Iterable[Get], check: Check | None = None) -> Iterator[Answer]:
        """Yield an answer for each request, in the order in which they come.

        What is UNREACHABLE or DAMAGED, after the retries of each request, is asked for again after
        all others, up to twice; in a folder it is not. When a server has not answered any of many
        requests in a row, the rest are UNREACHABLE without being asked for.

        Args:
            gets: taken one by one, never listed.
            check: what it refuses is DAMAGED. It is called from several threads.
        """
        self._num_unreachable, again = 0, (Kind.DAMAGED, Kind.UNREACHABLE)
        num_rounds = 1 if self.folder else _ROUNDS
        for num_left in reversed(range(num_rounds)):
            failed: list[Get] = []
            for answer in _in_threads(lambda g: self._answer(g, check), gets, self._connections):
                if num_left and answer.problem and answer.problem.kind in again:
                    failed.append(answer.get)
                else:
                    yield answer
            gets = failed

    def head_many(self, keys: Iterable[str]) -> Iterator[tuple[str, Head | Problem]]:
        """Yield what the bucket says of each file, in the order in which answers come."""
        yield from _in_threads(self._head, keys, self._connections)

    def stream(self, key: str, start: int = 0, etag: str = "") -> Iterator[bytes]:
        """Yield a file's bytes from `start` on, piece by piece.

        Raises:
            Problem: as `read`.
        """
        pieces = self._ask(key, lambda: self._get(Get(key, start, None, etag)))
        pieces = iter(pieces.stream(min_chunk_size=_PIECE_BYTES))
        while piece := self._ask(key, lambda: bytes(next(pieces, b""))):
            yield piece

    def _get(self, get: Get) -> Any:
        options: dict[str, Any] = {}
        if get.etag and not get.etag.startswith("W/"):  # a weak one matches nothing
            options["if_match"] = get.etag
        if get.stop is not None:
            options["range"] = (get.start, get.stop)
        elif get.start:
            options["range"] = {"offset": get.start}
        result = obstore.get(self._store, get.key, options=options or None)  # type: ignore[arg-type]
        found = result.meta["e_tag"]
        if get.etag and found and found != get.etag:
            raise exceptions.PreconditionError(found)
        return result

    def _ask(self, key: str, request: Callable[[], R]) -> R:
        try:
            return request()
        except (exceptions.BaseError, FileNotFoundError, ValueError) as error:
            raise self._problem(key, error) from error

    def _answer(self, get: Get, check: Check | None) -> Answer:
        try:
            if self._num_unreachable > 2 * self._connections:
                raise Problem(Kind.UNREACHABLE, self.url(get.key), "gave no answer before")
            data = self.read(get)
            self._num_unreachable = 0
            if check:
                check(data)
            return Answer(get, data)
        except Problem as caught:
            problem = caught
            is_answer = problem.kind is not Kind.UNREACHABLE
            self._num_unreachable = 0 if is_answer else self._num_unreachable + 1
        except ValueError as error:
            problem = Problem(Kind.DAMAGED, self.url(get.key), str(error), remedy=Remedy.FIX_SOURCE)
        return Answer(get, b"", problem)

    def _head(self, key: str) -> tuple[str, Head | Problem]:
        try:
            return key, self.head(key)
        except Problem as problem:
            return key, problem

    def _problem(self, key: str, error: Exception) -> Problem:
        other = Kind.REFUSED if self.folder else Kind.UNREACHABLE
        kind, remedy = _KIND_OF.get(type(error), (other, Remedy.RUN_AGAIN))
        facts = "" if kind in (Kind.ABSENT, Kind.CHANGED) else _facts(error)
        return Problem(kind, self.url(key), facts, remedy=remedy)


class Source(NamedTuple):
    """A release's two buckets."""

    annotations: Bucket
    images: Bucket


def open_source(annotations: str, images: str, transfer: Transfer) -> Source:
    """Open a release's two buckets; see `Bucket`."""
    return Source(Bucket(annotations, transfer), Bucket(images, transfer))


def folder_of(location: str) -> Path | None:
    """Return the folder that a location is, plainly or as ``file:///folder``; None for another."""
    scheme, separator, rest = location.partition("://")
    if not separator:
        return Path(location)
    return Path(unquote(rest.removeprefix("localhost"))) if scheme.lower() == "file" else None


def check_address(address: str) -> None:
    """Refuse an address that is not valid, or that holds what is never sent.

    Raises:
        Problem: SETTING. It has the address's scheme and host only: the rest may be secret.
    """
    scheme, _, rest = address.partition("://")
    authority, *path = re.split("[/?#]", rest, maxsplit=1)
    _, at, host = authority.rpartition("@")
    if "@" in "".join(path) and not at:
        host = "..."  # it may be the beginning of a password that has a '/' or '?'
    try:
        is_valid = scheme in _SCHEMES and urlsplit(address).hostname and urlsplit(address).port != 0
    except ValueError:
        is_valid = False
    faults = {
        "it holds a user's name or password": bool(at),
        "it has a query or a fragment": "?" in address or "#" in address,
        "not an address": not is_valid or not address.isascii() or " " in address,
    }
    for fault, has_it in faults.items():
        if has_it:
            keys = "data.source data.images data.annotations"
            raise _refused_setting(f"{scheme}://{host}", fault, keys)


def _refused_setting(subject: str, detail: str, key: str) -> Problem:
    return Problem(Kind.SETTING, subject, detail, key=key, remedy=Remedy.CHANGE_SETTING)


def _open(location: str, folder: Path | None, transfer: Transfer) -> Any:
    if folder is not None:
        if not folder.is_dir():
            raise Problem(Kind.ABSENT, folder, key="data.source", remedy=Remedy.CHECK_ADDRESS)
        return LocalStore(folder.absolute())
    check_address(location)
    try:
        store = _open_remote(location, transfer)
    except (exceptions.BaseError, TypeError, ValueError) as error:
        keys = "transfer.client_options transfer.retry_config transfer.store"
        raise _refused_setting(location, _facts(error), keys) from error
    if location.startswith("s3") and not transfer.store.get("skip_signature", True):
        if "access_key_id" not in transfer.store and not any(map(os.environ.get, _CREDENTIALS)):
            detail = "not set in the environment"
            raise _refused_setting(_CREDENTIALS[0], detail, "transfer.store.skip_signature")
        _refuse_redirects(location, transfer)
    return store


def _open_remote(location: str, transfer: Transfer) -> Any:
    client = {"allow_http": True, "user_agent": "oiv5_d2", **transfer.client_options}
    if "proxy_url" not in client:
        client |= _NO_PROXY
    options = {"client_options": client, "retry_config": _durations(transfer.retry_config)}
    if location.startswith("http"):
        return HTTPStore(location, **options)  # type: ignore[arg-type]
    options |= _cloud_options(location, transfer)
    if location.startswith("s3"):  # `from_url` does not take the endpoint
        name, _, prefix = location.partition("://")[2].strip("/").partition("/")
        return S3Store(name, prefix=prefix or None, **options)  # type: ignore[arg-type]
    return from_url(location, **options)  # type: ignore[call-overload]


def _cloud_options(location: str, transfer: Transfer) -> dict[str, Any]:
    """Return a cloud store's options, with those that the environment would give otherwise."""
    options = {"skip_signature": True, "region": "us-east-1", **transfer.store}
    if not location.startswith("s3"):
        del options["region"]
        return options
    endpoint = options.get("endpoint", f"https://s3.{options['region']}.amazonaws.com")
    options |= {"endpoint": endpoint, "aws_endpoint_url_s3": endpoint}  # the environment has both
    return {"virtual_hosted_style_request": False, **options}


def _durations(config: dict[str, Any]) -> dict[str, Any]:
    """Turn texts such as "10s" or "200ms" into durations, wherever they stand."""
    read: dict[type, Callable[[Any], Any]] = {
        dict: _durations,
        str: lambda text: pd.Timedelta(text).to_pytimedelta(),
    }
    return {key: read.get(type(value), lambda same: same)(value) for key, value in config.items()}


def _facts(error: Exception) -> str:
    """Return the library's words without address, duration and debugging, and the cause if any."""
    line, _, debug = str(error).partition("\n")
    causes = re.findall(r'message: "([^"\n]+)"|(InvalidCertificate)', debug)
    return ": ".join([line.rpartition(" - ")[2][:200], *map("".join, causes[-1:])])


def _refuse_redirects(location: str, transfer: Transfer) -> None:
    """Ask an S3 bucket, unsigned, whether it redirects; see `Bucket`."""
    endpoint = _cloud_options(location, transfer)["endpoint"].rstrip("/")
    url = f"{endpoint}/{location.partition('://')[2].rstrip('/')}"
    client = transfer.client_options
    context = ssl.create_default_context(cadata=client.get("root_certificate"))
    proxies = {scheme: client["proxy_url"] for scheme in _SCHEMES[:2] if "proxy_url" in client}
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler(proxies), urllib.request.HTTPSHandler(context=context), _Stay
    )
    try:
        opener.open(urllib.request.Request(url, method="HEAD"), timeout=30).close()
    except urllib.error.HTTPError as answer:
        answer.close()
        if target := answer.headers.get("Location"):
            detail = f"it redirects to {urlsplit(target).netloc.rpartition('@')[2]}"
            remedy = Remedy.CHANGE_SETTING
            raise Problem(Kind.REFUSED, url, detail, key="transfer.store", remedy=remedy) from None
    except OSError as error:
        raise Problem(Kind.UNREACHABLE, url, str(error), remedy=Remedy.RUN_AGAIN) from error


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        """Follow no redirect."""


def _in_threads(function: Callable[[T], R], items: Iterable[T], num: int) -> Iterator[R]:
    """Yield a function's results as they come; at most twice `num` items are under way."""
    done: SimpleQueue[Future[R]] = SimpleQueue()
    rest = iter(items)
    pool = ThreadPoolExecutor(num)

    def start(most: int) -> int:
        new = list(islice(rest, most))
        for item in new:
            pool.submit(function, item).add_done_callback(done.put)
        return len(new)

    try:
        num_waiting = start(2 * num)
        while num_waiting:
            result = done.get().result()
            num_waiting += start(1) - 1
            yield result
    finally:
        pool.shutdown(cancel_futures=True)
