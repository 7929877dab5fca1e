"""libcurl's handles, each of which carries one request after another."""

import os
import ssl
from importlib.metadata import version
from typing import Any

import pycurl

from oiv5_d2.acquisition.stores.replies import Reply, is_date
from oiv5_d2.acquisition.stores.signature import Signature
from oiv5_d2.acquisition.stores.tasks import Task
from oiv5_d2.acquisition.stores.transfer import Transfer

_CRAWL_BYTES_PER_SECOND = 1000
_BUFFER_BYTES = 128 << 10


class Lane:
    """One of libcurl's handles and what arrives over it.

    libcurl writes into a list with its own ``append``: no line of Python runs for a piece. Headers
    are not even listened to where a whole file is asked for, since each line of them would cost a
    call, and a wait for Python's lock where there are other threads.
    """

    def __init__(self, transfer: Transfer, signature: Signature | None) -> None:
        self.task: Task
        self.curl = pycurl.Curl()
        self.chunks: list[bytes] = []
        self._lines: list[bytes] = []
        self._transfer = transfer
        self._is_shaped = True
        self._num_weighed = 0
        self._headers = signature.headers() if signature else []
        options = _options(transfer) | (signature.options() if signature else {})
        for option, value in options.items():
            self.curl.setopt(option, value)
        self.curl.setopt(pycurl.WRITEFUNCTION, self.chunks.append)

    def begin(self, task: Task) -> None:
        """Get ready for one try at a task."""
        self.task = task
        self.chunks.clear()
        self._lines.clear()
        self._num_weighed = 0
        self.curl.setopt(pycurl.URL, task.target)
        if self._is_shaped or not task.is_plain:
            self._shape(task)

    def is_simply_good(self) -> bool:
        """Return whether a whole file came as it should; else `reply` tells more."""
        info = self.curl.getinfo
        length = int(info(pycurl.CONTENT_LENGTH_DOWNLOAD_T))
        return (
            length == int(info(pycurl.SIZE_DOWNLOAD_T)) and int(info(pycurl.RESPONSE_CODE)) == 200
        )

    def is_answered(self) -> bool:
        """Return whether the server has begun to answer."""
        return int(self.curl.getinfo(pycurl.RESPONSE_CODE)) > 0

    def take_piece(self) -> bytes:
        """Return what arrived of the body since it was last taken."""
        piece = self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)
        self.chunks.clear()
        return piece

    def num_unweighed(self) -> int:
        """Return how many bytes arrived since it was last asked."""
        num_bytes = int(self.curl.getinfo(pycurl.SIZE_DOWNLOAD_T))
        num_new, self._num_weighed = num_bytes - self._num_weighed, num_bytes
        return num_new

    def reply(self, errno: int = 0, message: str = "") -> Reply:
        """Return what the server did, up to now."""
        info = self.curl.getinfo
        return Reply(
            status=info(pycurl.RESPONSE_CODE),
            errno=errno,
            message=message,
            num_bytes=int(info(pycurl.SIZE_DOWNLOAD_T)),
            length=int(info(pycurl.CONTENT_LENGTH_DOWNLOAD_T)),
            headers=_last_headers(self._lines),
            is_connected=info(pycurl.PRETRANSFER_TIME) > 0,
            is_kept=info(pycurl.LASTSOCKET) != -1,
            seconds=info(pycurl.TOTAL_TIME),
            retry_after=info(pycurl.RETRY_AFTER),
            redirect=info(pycurl.REDIRECT_URL) or "",
        )

    def _shape(self, task: Task) -> None:
        """Set what differs from the request for a whole file, which most tasks are."""
        get, headers = task.get, list(self._headers)
        if get.start or get.stop is not None:
            headers.append(f"Range: bytes={get.start}-{'' if get.stop is None else get.stop - 1}")
        if is_date(get.etag):
            headers.append(f"If-Unmodified-Since: {get.etag}")
        elif get.etag and not get.etag.startswith("W/"):  # HTTP lets a weak one match nothing
            headers.append(f"If-Match: {get.etag}")
        self.curl.unsetopt(pycurl.HTTPHEADER)  # an empty list would leave those of before
        if headers:
            self.curl.setopt(pycurl.HTTPHEADER, headers)
        if task.kind == "head":
            self.curl.setopt(pycurl.NOBODY, True)
        else:
            self.curl.setopt(pycurl.HTTPGET, True)
        self.curl.setopt(pycurl.MAXFILESIZE_LARGE, task.max_bytes(self._transfer))
        self.curl.setopt(pycurl.TIMEOUT_MS, round(1000 * task.max_seconds(self._transfer)))
        self.curl.unsetopt(pycurl.HEADERFUNCTION)
        if not task.is_plain:
            self.curl.setopt(pycurl.HEADERFUNCTION, self._lines.append)
        self._is_shaped = not task.is_plain


def _last_headers(lines: list[bytes]) -> dict[str, str]:
    """Return the headers by their names in lower case, without those of interim replies (1xx)."""
    headers: dict[str, str] = {}
    for line in lines:
        if line.startswith(b"HTTP/"):
            headers.clear()
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    return headers


def _options(transfer: Transfer) -> dict[int, Any]:
    """Return what holds for all requests. Nothing comes from ~/.netrc or ~/.curlrc."""
    cap = transfer.pace.max_bytes_per_second
    return {
        pycurl.NOSIGNAL: True,  # there are other threads
        pycurl.PROTOCOLS: pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS,
        # One request a connection at a time: many small files gain from many connections.
        pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_1_1,
        pycurl.FOLLOWLOCATION: False,
        pycurl.NETRC: pycurl.NETRC_IGNORED,
        pycurl.PROXY: transfer.proxy,
        pycurl.NOPROXY: "",
        pycurl.USERAGENT: f"oiv5_d2/{version('oiv5_d2')}",
        # Under a cap little is read at a time, so that little has to be waited for at a time.
        pycurl.BUFFERSIZE: min(max(cap // 100, 1 << 10), 16 << 10) if cap else _BUFFER_BYTES,
        pycurl.TCP_KEEPALIVE: True,
        pycurl.CONNECTTIMEOUT_MS: round(1000 * transfer.connect_seconds),
        pycurl.LOW_SPEED_LIMIT: min(_CRAWL_BYTES_PER_SECOND, max(1, cap // 8))
        if cap
        else _CRAWL_BYTES_PER_SECOND,
        pycurl.LOW_SPEED_TIME: max(1, round(transfer.stalled_seconds)),
        **_trusted(transfer.ca_file),
    }


def _trusted(ca_file: str) -> dict[int, bytes]:
    """Return where trusted certificates are: the place known to libcurl is one Linux's only."""
    paths = ssl.get_default_verify_paths()
    if ca_file or paths.cafile:
        return {pycurl.CAINFO: os.fsencode(ca_file or paths.cafile or "")}
    return {pycurl.CAPATH: os.fsencode(paths.capath)} if paths.capath else {}
