"""A real HTTP server on loopback that errs as real ones do, on request.

In a test: ``with serve(folder, always(RESET)) as server: ... server.url, server.log``.
As a process of its own: ``python tests/servers.py FOLDER --faults 0.3 --seed 1 --log FILE``, which
prints its address and serves until it is killed.
"""

import argparse
import json
import random
import re
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from urllib.parse import unquote

# All of them, so that a test imports from one place.
from faults import (  # noqa: F401
    BUSY,
    CUT,
    LONGER,
    NO_ANSWER,
    NO_RANGES,
    OVERLOADED,
    PASSING,
    RESET,
    SHORTER,
    WRONG_PART,
    Fault,
    Faults,
    Request,
    always,
    first,
    sometimes,
)

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_PIECE_BYTES = 256 << 10


@dataclass
class Access:
    """One line of the log. It is there before the answer is; its bytes follow."""

    method: str
    path: str
    range: str
    """The header's value; "" for none."""
    agent: str
    has_credentials: bool
    status: int = 0
    num_bytes: int = 0
    """Of the body, as far as it was sent, with the piece that is being sent."""
    is_whole: bool = False
    """Whether all of the right answer was sent."""


class Server:
    """A folder that is served by threads; see `serve`."""

    def __init__(
        self,
        folder: Path,
        faults: Faults | None = None,
        *,
        seed: int = 0,
        port: int = 0,
        etag_salt: str = "",
        tls: ssl.SSLContext | None = None,
        log_path: Path | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self.faults = faults
        self.etag_salt = etag_salt
        self.log: list[Access] = []
        self.num_connections = 0
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._over = threading.Event()
        self._tls = tls
        self._log_file = log_path.open("a", buffering=1) if log_path else None
        self._listener = socket.create_server(("127.0.0.1", port), backlog=256)
        self.port = self._listener.getsockname()[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        self._connections: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._listen, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        """End all connections and wait for the threads."""
        self._over.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        if self._log_file:
            self._log_file.close()

    def _listen(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError):
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with self._lock:
                self.num_connections += 1
                self._connections.add(connection)
            waiting = b""
            while not self._over.is_set():
                end = waiting.find(b"\r\n\r\n")
                if end < 0:
                    data = connection.recv(65536)
                    if not data:
                        break
                    waiting += data
                    continue
                head, waiting = waiting[:end], waiting[end + 4 :]
                if not self._answer(connection, head.decode("latin-1")):
                    break
        with self._lock:
            self._connections.discard(connection)
        connection.close()

    def _answer(self, connection: socket.socket, head: str) -> bool:
        """Answer one request; return whether the connection lives on."""
        request, fault = self._understand(head)
        access = Access(
            request.method,
            request.path,
            request.headers.get("range", ""),
            request.headers.get("user-agent", ""),
            any(name in request.headers for name in ("authorization", "cookie")),
        )
        reply = _Reply(self, request, fault, access)
        access.status = reply.status
        self.log.append(access)
        try:
            reply.send(connection, self._over)
        finally:
            access.is_whole = reply.is_right and access.num_bytes == reply.num_bytes
            if self._log_file:
                with self._lock:
                    self._log_file.write(json.dumps(asdict(access)) + "\n")
        return reply.lives_on and request.headers.get("connection", "").lower() != "close"

    def _understand(self, head: str) -> tuple[Request, Fault]:
        first_line, *lines = head.split("\r\n")
        method, target, _ = first_line.split(" ", 2)
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        path = unquote(target.partition("?")[0]).lstrip("/")
        with self._lock:
            request = Request(method, path, headers, self._counts[path])
            self._counts[path] += 1
            fault = self.faults(request, self._chance) if self.faults else None
        return request, fault or Fault()


class _Reply:
    """One answer: which bytes of which file, under which headers, and how it goes wrong."""

    def __init__(self, server: Server, request: Request, fault: Fault, access: Access) -> None:
        self.request, self.fault, self.access = request, fault, access
        self.path = server.folder / request.path
        self.lives_on = True
        self.start = self.num_bytes = 0
        self.headers: dict[str, str] = {}
        self.body: bytes | None = None  # instead of the file
        self.is_right = not (fault.status or fault.extra_length)
        is_inside = self.path.resolve().is_relative_to(server.folder)
        if fault.status:
            self._say(fault.status)
        elif not is_inside or not self.path.is_file():
            self._say(404)
        else:
            self._choose(server)
        self.headers |= dict(fault.headers)

    def _say(self, status: int) -> None:
        self.status = status
        self.body = f"<html>{status}</html>".encode()
        self.num_bytes = len(self.body)

    def _choose(self, server: Server) -> None:
        told = self.path.stat()
        salt = self.fault.etag or server.etag_salt
        etag = f'"{told.st_mtime_ns:x}-{told.st_size:x}{salt}"'
        wanted = self.request.headers.get("if-match")
        self.headers = {"ETag": etag, "Accept-Ranges": "bytes"}
        if wanted is not None and wanted not in (etag, "*"):
            self._say(412)
            return
        self.status, self.num_bytes = 200, told.st_size
        match = _RANGE.fullmatch(self.request.headers.get("range", ""))
        if match is None or self.fault.ignores_range:
            self.is_right &= match is None
            return
        begin, last = match.groups()
        start = int(begin) if begin else max(0, told.st_size - int(last))
        stop = min(int(last) + 1, told.st_size) if begin and last else told.st_size
        start, stop = start + self.fault.shift, min(stop + self.fault.shift, told.st_size)
        if start >= stop:
            self._say(416)
            self.headers["Content-Range"] = f"bytes */{told.st_size}"
            return
        self.status, self.start, self.num_bytes = self.fault.part_status, start, stop - start
        self.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{told.st_size}"
        self.is_right &= not self.fault.shift

    def send(self, connection: socket.socket, over: threading.Event) -> None:
        if self.fault.garbage is not None:
            connection.sendall(self.fault.garbage)
            self._end(connection)
            return
        head = [
            f"HTTP/1.1 {self.status} {_phrase(self.status)}",
            f"Date: {formatdate(usegmt=True)}",
        ]
        if self.fault.is_chunked:
            head.append("Transfer-Encoding: chunked")
        elif not self.fault.is_unframed:
            head.append(f"Content-Length: {self.num_bytes + self.fault.extra_length}")
        head += [f"{name}: {value}" for name, value in self.headers.items()]
        opening = ("\r\n".join(head) + "\r\n\r\n").encode("latin-1")
        if self.request.method == "HEAD":
            connection.sendall(opening)
            return
        self._send_body(connection, opening, over)
        if self.fault.is_held:
            over.wait()
        is_short = self.fault.num_bytes is not None or self.fault.extra_length > 0
        if is_short or self.fault.is_unframed:
            self._end(connection)

    def _send_body(self, connection: socket.socket, opening: bytes, over: threading.Event) -> None:
        if self.fault.pause_seconds:
            connection.sendall(opening)
            opening = b""
        num_left = self.num_bytes
        if self.fault.num_bytes is not None:
            num_left = min(num_left, self.fault.num_bytes)
        for piece in self._pieces(num_left):
            if self.fault.pause_seconds and over.wait(self.fault.pause_seconds):
                return
            chunk = b"%x\r\n%b\r\n" % (len(piece), piece) if self.fault.is_chunked else piece
            # Before it is sent: who has the last piece may look at once how much it was.
            self.access.num_bytes += len(piece)
            connection.sendall(opening + chunk)
            opening = b""
        rest = b"0\r\n\r\n" if self.fault.is_chunked and self.fault.num_bytes is None else b""
        connection.sendall(opening + rest + b"x" * self.fault.extra_body)

    def _pieces(self, num_left: int) -> Iterator[bytes]:
        most = 1 if self.fault.pause_seconds else _PIECE_BYTES
        if self.body is not None:
            yield self.body[:num_left]
            return
        with self.path.open("rb") as file:
            file.seek(self.start)
            while num_left and (piece := file.read(min(most, num_left))):
                num_left -= len(piece)
                yield piece

    def _end(self, connection: socket.socket) -> None:
        self.lives_on = False
        if self.fault.is_reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Unknown"


@contextmanager
def serve(folder: Path, faults: Faults | None = None, **settings) -> Iterator[Server]:
    """Serve a folder on a free port of loopback; see `Server` for the settings."""
    server = Server(folder, faults, **settings)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def port_without_server(port: int = 0) -> Iterator[int]:
    """Keep a port of loopback on which nobody listens: it would soon be another test's server's."""
    with socket.socket() as keeper:
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a server has just left it
        keeper.bind(("127.0.0.1", port))
        yield keeper.getsockname()[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--faults", type=float, default=0.0, help="the share of requests")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path, help="one JSON object a request is added to it")
    given = parser.parse_args()
    server = Server(
        given.folder,
        sometimes(given.faults),
        seed=given.seed,
        port=given.port,
        log_path=given.log,
    )
    print(server.url, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
