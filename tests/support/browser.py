"""A Chromium without a window, spoken to through a pipe in its own DevTools protocol."""

import base64
import fcntl
import itertools
import json
import os
import select
import shutil
import signal
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--remote-debugging-pipe", "--disable-dev-shm-usage", "--force-color-profile=srgb"),
)
PATIENCE = 60  # seconds for an answer


def find_browser():
    """Return a browser's path; None if there is none."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def open_page():
    """Start a browser of its own and yield an empty `Page`."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        _start(profile) as pipe,
    ):
        target = pipe.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = pipe.ask("Target.attachToTarget", targetId=target, flatten=True)
        yield Page(pipe, attached["sessionId"])


@contextmanager
def _start(profile):
    (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
    # The browser reads from 3 and writes to 4; first both are moved out of the way of these.
    ends = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 20) for one in (theirs_in, theirs_out)]
    silent = os.open(os.devnull, os.O_RDWR)
    actions = [(os.POSIX_SPAWN_DUP2, silent, i) for i in (0, 1, 2)]
    actions += [(os.POSIX_SPAWN_DUP2, end, i) for end, i in zip(ends, (3, 4), strict=True)]
    words = [find_browser(), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    pid = os.posix_spawn(words[0], words, os.environ, file_actions=actions, setpgroup=0)
    for one in (theirs_in, theirs_out, silent, *ends):
        os.close(one)
    try:
        yield Pipe(ours_in, ours_out)
    finally:
        os.close(ours_out)
        os.close(ours_in)
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


class Pipe:
    """Questions and answers by number; what happens in between is kept in `events`."""

    def __init__(self, reads, writes):
        self._reads, self._writes, self._rest = reads, writes, b""
        self._numbers = itertools.count(1)
        self.events = []

    def ask(self, method, session=None, **params):
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        message |= {"sessionId": session} if session else {}
        os.write(self._writes, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def wait(self, method):
        while not any(one["method"] == method for one in self.events):
            self.events.append(self._next())

    def _next(self):
        deadline = time.monotonic() + PATIENCE
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._reads], [], [], max(0, deadline - time.monotonic()))
            data = os.read(self._reads, 1 << 20) if ready else b""
            assert data, "the browser does not answer"
            self._rest += data
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)


class Page:
    """One page of a browser."""

    def __init__(self, pipe, session):
        self._pipe, self._session = pipe, session

    def ask(self, method, **params):
        return self._pipe.ask(method, self._session, **params)

    def load(self, path, size=(1280, 900), is_dark=False):
        """Open a file or an address; what went wrong before is forgotten."""
        self._pipe.events.clear()
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")
        width, height = size
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        url = path if str(path).startswith("http") else Path(path).resolve().as_uri()
        self.ask("Page.navigate", url=url)
        self._pipe.wait("Page.loadEventFired")

    def run(self, expression):
        """Return the value of an expression of JavaScript."""
        answer = self.ask(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def point(self, selector):
        """Return the middle of an element, scrolled into view."""
        place = (
            f"(() => {{ const one = document.querySelector({json.dumps(selector)});"
            "one.scrollIntoView({block: 'center'});"
            "const box = one.getBoundingClientRect();"
            "return [box.left + box.width / 2, box.top + box.height / 2]; })()"
        )
        return self.run(place)

    def click(self, selector):
        """Click on an element as a person does, with the mouse."""
        x, y = self.point(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key):
        """Press a key that has a name, such as ArrowRight."""
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def wait(self, expression):
        """Wait until an expression of JavaScript is true."""
        deadline = time.monotonic() + PATIENCE
        while not self.run(expression):
            assert time.monotonic() < deadline, expression
            time.sleep(0.05)

    def hover(self, selector):
        x, y = self.point(selector)
        self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def screenshot(self, path, is_whole=False):
        shot = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=is_whole)
        Path(path).write_bytes(base64.b64decode(shot["data"]))

    @property
    def faults(self):
        """Return what went wrong: exceptions, and errors and warnings of the console."""
        self.run("0")  # events from before come before the answer
        kinds = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")
        return [one["params"] for one in self._pipe.events if one["method"] in kinds]

    @property
    def requests(self):
        """Return the addresses that were asked for, but for data: and the page itself."""
        self.run("0")
        asked = [
            one["params"]["request"]["url"]
            for one in self._pipe.events
            if one["method"] == "Network.requestWillBeSent"
        ]
        return [url for url in asked if not url.startswith("data:")][1:]
