"""A bucket that a server has, over HTTP."""

import random
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from urllib.parse import quote

from oiv5_d2.acquisition.stores.addresses import check_address
from oiv5_d2.acquisition.stores.exchange import Exchange
from oiv5_d2.acquisition.stores.signature import Signature
from oiv5_d2.acquisition.stores.store import Answer, Check, Get, Head, StoreError
from oiv5_d2.acquisition.stores.tasks import Task
from oiv5_d2.acquisition.stores.transfer import Transfer

_PROGRESS_BYTES = 256 << 10  # a stream that came so far since it was cut has all its tries again
_PLAIN_KEY = re.compile(r"[\w~-]+(?:[./][\w~-]+)*", re.ASCII)  # needs no quoting


class HttpStore:
    """A bucket that a server has; see `Store`. One thread at a time may use it.

    What may pass is tried again, after pauses: time-outs, connections that are cut, too few bytes,
    the statuses 408, 425, 429 and most from 500 on. Connections are kept and used again. No
    cookies or proxies are taken from the environment or from files, and no credentials but those
    given here.

    Args:
        base_url: the bucket's address, ``http://`` or ``https://``.
        transfer: the settings; stores that share one share its cap and its deadline.
        seed: of the pauses.
        signature: signs every request; None for none.

    Raises:
        ValueError: `base_url` is no such address, or holds a password.
    """

    def __init__(
        self,
        base_url: str,
        transfer: Transfer,
        seed: int | None = None,
        signature: Signature | None = None,
    ) -> None:
        check_address(base_url, ("http", "https"))
        self.location = base_url.rstrip("/")
        self._transfer = transfer
        self._chance = random.Random(seed)
        self._signature = signature
        self._exchanges: list[Exchange] = []  # those not in use
        _ = transfer.deadline  # from now on

    def head(self, key: str) -> Head:
        """Return a file's length and ETag; see `Store.head`."""
        [(_, head)] = self.head_many([key])
        if isinstance(head, OSError):
            raise head
        return head

    def read(self, key: str, start: int = 0, stop: int | None = None, etag: str = "") -> bytes:
        """Return a file or a part of it; see `Store.read`."""
        [answer] = self.read_many([Get(key, start, stop, etag)])
        if answer.error:
            raise answer.error
        return answer.data

    def read_many(self, gets: Iterable[Get], check: Check | None = None) -> Iterator[Answer]:
        """Answer many requests, each once, as they are done; see `Store.read_many`."""
        with self._exchange() as exchange:
            for task in exchange.run(map(self._task, gets), check):
                yield Answer(task.get, task.data, task.error, task.etag, task.num_tries)

    def head_many(self, keys: Iterable[str]) -> Iterator[tuple[str, Head | OSError]]:
        """Ask for many files' lengths and ETags, as they are told; see `Store.head_many`."""
        with self._exchange() as exchange:
            for task in exchange.run(self._task(Get(key), "head") for key in keys):
                yield task.get.key, task.head or task.error or StoreError("no answer")

    def stream(self, key: str, start: int = 0, etag: str = "") -> Iterator[bytes]:
        """Return a file from byte `start` on as pieces; see `Store.stream`."""
        task = self._task(Get(key, start, None, etag), "stream")
        if task.error:
            raise task.error
        with self._exchange() as exchange:
            while refusal := (yield from exchange.pieces(task)):
                if task.place in (refusal.num_file_bytes, task.num_file_bytes):
                    return
                if task.place - task.get.start >= _PROGRESS_BYTES:
                    task.num_tries = 0
                pause = exchange.refuse(task, refusal)
                if pause is None:
                    raise task.error or refusal.error
                time.sleep(max(0.0, min(pause, self._transfer.deadline - time.monotonic())))
                etag = task.get.etag or task.etag
                task.get = task.get._replace(start=task.place, etag=etag)

    def has_changed(self, key: str, since_ns: int, num_bytes: int | None = None) -> bool:
        """Return False: a server is not asked; see `Store.has_changed`."""
        return False

    def close(self) -> None:
        """End all connections; the store is not to be used afterwards."""
        while self._exchanges:
            self._exchanges.pop().close()

    def _task(self, get: Get, kind: str = "read") -> Task:
        if get.stop is not None and get.stop <= get.start:
            return Task(get, "", kind)  # no bytes: there is nothing to ask for
        if _PLAIN_KEY.fullmatch(get.key):
            return Task(get, f"{self.location}/{get.key}", kind)
        if ".." in get.key.split("/"):
            task = Task(get, "", kind)
            task.error = StoreError("the name leads out of the bucket: refused")
            return task
        return Task(get, f"{self.location}/{quote(get.key)}", kind)

    @contextmanager
    def _exchange(self) -> Iterator[Exchange]:
        """Lend an exchange: two iterators may be under way, but not over the same one."""
        if self._exchanges:
            exchange = self._exchanges.pop()
        else:
            exchange = Exchange(self._transfer, self._chance, self._signature)
        try:
            yield exchange
        finally:
            self._exchanges.append(exchange)
