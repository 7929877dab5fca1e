"""What a place that holds a release's files can be asked, and what it answers.

A key is a file's name in its bucket: ``v5/train-masks/train-masks-0.zip``, ``train/<ImageID>.jpg``.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol


class StoreError(OSError):
    """A file could not be had. ``str`` gives the reason in one line, without the key."""


class ChangedError(StoreError):
    """The file is another one than the one that was asked for."""


class DamagedError(StoreError):
    """What came is not what it should be, by the check of whoever asked."""


class NoRangesError(StoreError):
    """The server sent a whole file where a part was asked for, and would again."""


class UnreachableError(StoreError):
    """The server gave no answer at all, be it a refusal."""


class Get(NamedTuple):
    """One request, for a file or a part of it."""

    key: str
    start: int = 0
    """The first wanted byte."""
    stop: int | None = None
    """The byte after the last wanted one; None for the end of the file."""
    etag: str = ""
    """The file must still be the one with this ETag (see `Head`); "" for any."""


class Head(NamedTuple):
    """What is known of a file without reading it."""

    num_bytes: int
    etag: str
    """Names the file's content: HTTP's ETag, or else its Last-Modified; "" for neither."""


class Answer(NamedTuple):
    """What became of a request."""

    get: Get
    data: bytes
    """The wanted bytes, all of them; none where there is an error."""
    error: OSError | None
    """FileNotFoundError: there is no such file. StoreError: it could not be had, and why."""
    etag: str = ""
    """The file's, where a part was asked for and the store told it."""
    num_tries: int = 1


Check = Callable[[bytes], object]
"""Raises ValueError where bytes are not what they should be; the message says only what is wrong.
"""


class Store(Protocol):
    """One bucket. A store may be used by one thread at a time."""

    location: str
    """The bucket's URL or folder, without a slash at its end."""

    def head(self, key: str) -> Head:
        """Return a file's length and ETag.

        Raises:
            FileNotFoundError: there is no such file.
            StoreError: it could not be asked.
        """
        ...

    def read(self, key: str, start: int = 0, stop: int | None = None, etag: str = "") -> bytes:
        """Return a file, or a part of it as a `Get` says; never fewer bytes than asked for.

        Raises:
            FileNotFoundError: there is no such file.
            StoreError: it could not be had; a ChangedError where the file is not `etag`'s, a
                NoRangesError where the server has only whole files to give.
        """
        ...

    def read_many(self, gets: Iterable[Get], check: Check | None = None) -> Iterator[Answer]:
        """Answer many requests, each once, in the order in which they are done.

        What `check` refuses is asked for again, as after any failure that may pass: it may have
        been damaged on its way. A file that is damaged in the store gets a DamagedError.

        `gets` is drawn from only as far as there is room, so it may be endless. Nothing is raised
        for a file that can not be had: its answer says so. Closing the iterator drops what is
        under way.
        """
        ...

    def head_many(self, keys: Iterable[str]) -> Iterator[tuple[str, Head | OSError]]:
        """Ask for many files' lengths and ETags, as `read_many` does for their content."""
        ...

    def stream(self, key: str, start: int = 0, etag: str = "") -> Iterator[bytes]:
        """Return a file from byte `start` on as pieces, going on by itself where it was cut short.

        Raises:
            FileNotFoundError: there is no such file.
            StoreError: it could not be had; a ChangedError where the file is not `etag`'s, or
                became another one on the way.
        """
        ...

    def has_changed(self, key: str, since_ns: int, num_bytes: int | None = None) -> bool:
        """Tell whether a file is another one than its copy, if it costs nothing to know.

        A folder is looked at. A server is not asked, which would cost a request a file: a release's
        files keep their content, on every mirror.

        Args:
            key: the file; one that is not there any more has not changed.
            since_ns: when the copy was written, in nanoseconds since the epoch.
            num_bytes: the copy's length; None where it is of a part.
        """
        ...

    def close(self) -> None:
        """End all connections; the store is not to be used afterwards."""
        ...


class Source(NamedTuple):
    """A release's two buckets."""

    annotations: Store
    images: Store
