"""A stand-in for W&B's service: takes what `wandb sync` sends, and keeps it.

It answers the requests of W&B's client as far as a run needs them; it checks nothing else.
"""

import gzip
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Received:
    """What came: GraphQL requests by name, rows of the files that are streamed, files."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.stream: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.bodies: list[bytes] = []
        self.fail_first = 0  # so many requests get 500
        self.seconds = 0.0  # that every answer takes
        self.lock = threading.Lock()

    def named(self, name: str) -> list[dict[str, Any]]:
        return [variables for one, variables in self.requests if one == name]

    def rows(self, run_id: str) -> list[dict[str, Any]]:
        """Return a run's history, each row where the client said that it stands."""
        lines: dict[int, dict[str, Any]] = {}
        for part in self.stream:
            history = part["files"].get("wandb-history.jsonl") if part["run"] == run_id else None
            if history:
                for place, line in enumerate(history["content"], history["offset"]):
                    lines[place] = json.loads(line)
        return [lines[place] for place in sorted(lines)]


@contextmanager
def serve() -> Iterator[tuple[str, Received]]:
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            self._take()

        def do_PUT(self) -> None:
            self._take()

        def log_message(self, *_: object) -> None:
            pass

        def _take(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            time.sleep(received.seconds)
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            with received.lock:
                received.bodies.append(body)
                if received.fail_first > 0:
                    received.fail_first -= 1
                    self._answer({"error": "overloaded"}, 500)
                    return
                self._answer(answer(received, self.path, body, self._address()))

        def _address(self) -> str:
            host, port = self.server.server_address[:2]
            return f"http://{host}:{port}"

        def _answer(self, content: Any, status: int = 200) -> None:
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", received
    finally:
        server.shutdown()
        server.server_close()


def answer(received: Received, path: str, body: bytes, address: str) -> Any:
    if path.startswith("/upload/"):
        received.files[path.removeprefix("/upload/")] = body
        return {}
    if found := re.search(r"/files/([^/]+)/([^/]+)/([^/]+)/file_stream", path):
        received.stream.append({"run": found[3], "files": {}, **json.loads(body)})
        return {"limits": {}}
    if not path.endswith("/graphql"):
        return {}
    request = json.loads(body)
    name = request.get("operationName") or operation(request["query"])
    variables = request.get("variables") or {}
    received.requests.append((name, variables))
    return {"data": reply(received, name, variables, address)}


def operation(query: str) -> str:
    found = re.search(r"\b(?:query|mutation)\s+(\w+)", query)
    return found[1] if found else ""


def reply(received: Received, name: str, variables: dict[str, Any], address: str) -> Any:
    maker = REPLIES.get(name)
    return maker(received, variables, address) if maker else {}


def _bucket(received: Received, variables: dict[str, Any], _: str) -> Any:
    project = {"name": variables.get("project"), "entity": {"name": "me"}}
    run = {
        "id": "run-id",
        "name": variables.get("name"),
        "displayName": variables.get("displayName"),
        "description": None,
        "config": None,
        "sweepName": None,
        "project": {"id": "project-id", **project},
        "historyLineCount": len(received.rows(variables.get("name") or "")),
    }
    return {"upsertBucket": {"bucket": run, "inserted": True}}


def _resume(received: Received, variables: dict[str, Any], _: str) -> Any:
    rows = received.rows(variables.get("name") or "")
    if not rows:
        return {"model": {"bucket": None}}
    bucket = {
        "name": variables.get("name"),
        "summaryMetrics": "{}",
        "displayName": variables.get("name"),
        "logLineCount": 0,
        "historyLineCount": len(rows),
        "eventsLineCount": 0,
        "historyTail": json.dumps([json.dumps(rows[-1])]),
        "eventsTail": "[]",
        "config": "{}",
        "tags": [],
        "wandbConfig": "{}",
    }
    project = {"id": "project-id", "name": "p", "entity": {"id": "e", "name": "me"}}
    return {"model": {"id": "project-id", **project, "bucket": bucket}}


def _run_files(_: Received, variables: dict[str, Any], address: str) -> Any:
    files = [
        {"name": name, "uploadUrl": f"{address}/upload/run/{name}"} for name in variables["files"]
    ]
    return {
        "createRunFiles": {"runID": "run-id", "uploadHeaders": [], "files": files},
    }


def _artifact(received: Received, variables: dict[str, Any], _: str) -> Any:
    number = len(received.named("CreateArtifact"))
    artifact = {
        "id": f"artifact-{number}",
        "state": "PENDING",
        "artifactSequence": {"id": f"sequence-{number}", "latestArtifact": None},
    }
    return {"createArtifact": {"artifact": artifact}}


def _manifest(_: Received, variables: dict[str, Any], address: str) -> Any:
    place = f"{address}/upload/manifest/{variables['artifactID']}"
    file = {"id": "file", "name": "m", "displayName": "m", "uploadUrl": place, "uploadHeaders": []}
    return {"createArtifactManifest": {"artifactManifest": {"id": "manifest", "file": file}}}


def _artifact_files(_: Received, variables: dict[str, Any], address: str) -> Any:
    edges = []
    for one in variables["input"]["artifactFiles"]:
        place = f"{one['artifactID']}/{one['name']}"
        node = {
            "id": place,
            "name": one["name"],
            "displayName": one["name"],
            "storagePath": place,
            "uploadUrl": f"{address}/upload/artifact/{place}",
            "uploadHeaders": [],
            "uploadMultipartUrls": None,
            "artifact": {"id": one["artifactID"]},
        }
        edges.append({"node": node})
    return {"createArtifactFiles": {"files": {"edges": edges}}}


def _commit(_: Received, variables: dict[str, Any], __: str) -> Any:
    return {"commitArtifact": {"artifact": {"id": variables["artifactID"], "digest": "d"}}}


def _viewer(*_: Any) -> Any:
    return {
        "viewer": {
            "id": "me",
            "entity": "me",
            "username": "me",
            "flags": "{}",
            "teams": {"edges": []},
        }
    }


REPLIES = {
    "Viewer": _viewer,
    "UpsertBucket": _bucket,
    "RunResumeStatus": _resume,
    "CreateRunFiles": _run_files,
    "CreateArtifact": _artifact,
    "CreateArtifactManifest": _manifest,
    "UpdateArtifactManifest": lambda r, v, a: {
        "updateArtifactManifest": _manifest(r, {"artifactID": v.get("artifactManifestID")}, a)[
            "createArtifactManifest"
        ]
    },
    "CreateArtifactFiles": _artifact_files,
    "CommitArtifact": _commit,
    "UseArtifact": lambda *_: {"useArtifact": {"artifact": {"id": "used"}}},
}
