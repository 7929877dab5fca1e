"""A server for a browser on the same machine: a page, searches and listed images; nothing else.

An address never names a file: an image is a number, and only images of the data set have one.
Other machines cannot connect, and other sites in the same browser get no answer: a request has to
name this machine as its host, so that no foreign name that leads here (DNS rebinding) is served,
and no answer may be embedded by another site.
"""

import errno
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from oiv5_d2.exploring.album import Album
from oiv5_d2.exploring.query import WrongQuery, read_query
from oiv5_d2.exploring.thumbnails import Thumbnails, whole_jpeg
from oiv5_d2.problems import Kind, Problem, Remedy

HOST = "127.0.0.1"
OUR_NAMES = frozenset({HOST, "localhost"})
PORTS = 50  # that are tried, one after another
LARGEST_PORT = 65535
SECONDS = 60  # that a connection may be silent
OUTLINE_SIDES = (400, 1600)  # of the drawings for a card and for the large view
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; connect-src 'self'; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
UNKEPT, KEPT = "no-store", "private, max-age=3600"  # images have the data's stamp in their address


class Answer(NamedTuple):
    """What is sent."""

    body: bytes
    kind: str
    keep: str = UNKEPT
    status: HTTPStatus = HTTPStatus.OK


class Site:
    """Answers by path.

    Args:
        album: what is shown.
        page: the page, as HTML.
    """

    def __init__(self, album: Album, page: str) -> None:
        self._album, self._page, self._thumbnails = album, page.encode(), Thumbnails()
        self._places: dict[str, Callable[[str, Mapping[str, Sequence[str]]], Answer]] = {
            "search": self._search,
            "images": self._image,
            "thumbnails": self._thumbnail,
            "annotations": self._annotations,
        }

    def answer(self, target: str) -> Answer:
        """Return the answer to a GET of a path with its query; it never raises for a bad one."""
        address = urlsplit(target)
        place, _, rest = address.path.removeprefix("/").partition("/")
        if not place and not rest:
            return Answer(self._page, "text/html; charset=utf-8")
        try:
            return self._places[place](rest, parse_qs(address.query, keep_blank_values=True))
        except WrongQuery as error:
            return _refusal(HTTPStatus.BAD_REQUEST, str(error))
        except (KeyError, IndexError, ValueError):
            return _refusal(HTTPStatus.NOT_FOUND, "there is nothing here")
        except OSError as error:
            return _refusal(HTTPStatus.NOT_FOUND, f"the image cannot be read: {error.strerror}")
        except Problem as problem:  # a pack is damaged
            return _refusal(HTTPStatus.NOT_FOUND, str(problem))

    def _search(self, _: str, said: Mapping[str, Sequence[str]]) -> Answer:
        return _json(self._album.find(read_query(said)))

    def _annotations(self, rest: str, said: Mapping[str, Sequence[str]]) -> Answer:
        return _json(self._album.describe(int(rest), OUTLINE_SIDES["large" in said]))

    def _image(self, rest: str, _: Mapping[str, Sequence[str]]) -> Answer:
        place = self._album.file(int(rest))[0]
        return Answer(whole_jpeg(place.read()), "image/jpeg", KEPT)

    def _thumbnail(self, rest: str, _: Mapping[str, Sequence[str]]) -> Answer:
        return Answer(self._thumbnails.get(*self._album.file(int(rest))), "image/jpeg", KEPT)


class Server(ThreadingHTTPServer):
    """Serves a site on this machine; a thread a connection, none of which outlives the process."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that no longer wants an answer."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server_address[1]}/"


def open_server(site: Site, port: int) -> Server:
    """Return a server on a port, or on the next one that is free.

    Args:
        site: what it serves.
        port: 1 to 65535; 0 for any.

    Raises:
        Problem: BUSY, all of them are in use; REFUSED, it may not be used.
    """
    for one in range(port, min(port + PORTS, LARGEST_PORT + 1)):
        try:
            return Server((HOST, one), partial(Handler, site))
        except PermissionError as error:
            remedy = Remedy.CHANGE_SETTING
            raise Problem(Kind.REFUSED, f"port {one}", key="port", remedy=remedy) from error
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    subject, remedy = f"each port from {port} to {one}", Remedy.CHANGE_SETTING
    raise Problem(Kind.BUSY, subject, key="port", remedy=remedy)


class Handler(BaseHTTPRequestHandler):
    """One connection; GET and HEAD only."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "oiv5_d2", ""
    timeout = SECONDS

    def __init__(self, site: Site, *args: Any) -> None:
        self._site = site
        super().__init__(*args)

    def do_GET(self) -> None:
        """Answer a request."""
        answer = self._answer()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", answer.keep)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(answer.body)

    do_HEAD = do_GET

    def _answer(self) -> Answer:
        host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        if host not in OUR_NAMES:
            return _refusal(HTTPStatus.FORBIDDEN, "only this machine is served")
        return self._site.answer(self.path)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a page asks for hundreds of images."""


def _json(content: Any) -> Answer:
    return Answer(json.dumps(content, allow_nan=False).encode(), "application/json")


def _refusal(status: HTTPStatus, why: str) -> Answer:
    return _json({"error": why})._replace(status=status)
