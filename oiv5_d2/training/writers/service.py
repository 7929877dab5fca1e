"""W&B called from a thread of its own, so that nothing it does can stop or delay a training."""

import logging
import os
import queue
import shlex
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import psutil

from oiv5_d2.training.writers.settings import Send

logger = logging.getLogger(__name__)

INIT_SECONDS = 30  # to reach the service; then the run is kept offline
FINISH_SECONDS = 120  # to send what is left when a run ends
FLUSH_SECONDS = 2  # after which what was logged is on disk, for a run that is killed
SERVICE = "wandb-core"  # the process that wandb starts beside ours
ONLINE, OFFLINE = "online", "offline"

Task = Callable[[Any], None]  # gets the W&B run

_QUIET: dict[str, Any] = {  # W&B's settings for a machine that is not told about
    "console": "off",  # the log names folders and the host
    "disable_code": True,
    "disable_git": True,
    "host": "",
    "save_code": False,
    "x_disable_meta": True,
    "x_save_requirements": False,
}
_DATA_DIR = os.environ.get("WANDB_DATA_DIR")  # if the user has set one


class Connection:
    """A W&B run, and a queue of what is to be sent to it, in order.

    Without a key, or when the service refuses or cannot be reached, the run is kept offline. A
    failure is logged once as a warning. If W&B hangs, it is left behind when the run ends; what it
    wrote to disk stays. The last line is the command that sends what W&B does not have.

    Args:
        arguments: of ``wandb.init``; ``dir`` is made if it does not exist.
        wanted: what W&B may collect itself.
        finish_seconds: how long the end of the run waits for W&B.
    """

    def __init__(
        self,
        arguments: dict[str, Any],
        wanted: Send,
        finish_seconds: float = FINISH_SECONDS,
    ) -> None:
        self._arguments, self._wanted = arguments, wanted
        self._finish_seconds = finish_seconds
        self._exit_code, self._is_preempted, self._is_left = 0, False, False
        self._unsent: Path | None = None  # the folder of what W&B does not have yet
        self._failed: set[str] = set()
        self._queue: queue.SimpleQueue[tuple[Task, str] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def put(self, send: Task, name: str = "") -> None:
        """Let the thread call a function with the W&B run.

        Args:
            send: the function.
            name: of what it sends, if the rest can do without: then a failure of it is a warning,
                and the run at W&B goes on.
        """
        self._queue.put((send, name))

    @contextmanager
    def without(self, name: str) -> Iterator[None]:
        """Go on without what fails in this block; say so once."""
        try:
            yield
        except Exception as error:
            if name not in self._failed:
                logger.warning("W&B goes without %s (%s)", name, _describe(error))
            self._failed.add(name)

    def close(self, exit_code: int, is_preempted: bool = False, more_seconds: float = 0.0) -> None:
        """End the W&B run; wait no longer than the limit.

        Args:
            exit_code: of the training; 0 for success.
            is_preempted: a signal ended it, so that it may be continued.
            more_seconds: to wait for, because of large files.
        """
        self._exit_code, self._is_preempted = exit_code, is_preempted
        self._queue.put(None)
        limit = self._finish_seconds + more_seconds
        self._thread.join(limit)
        if self._thread.is_alive():
            self._is_left = True
            logger.warning("W&B did not finish within %.0f s: left behind", limit)
            _end_service()  # otherwise wandb waits for it when Python exits
        if self._unsent:
            logger.info("To send it to W&B:  %s", sync_command(self._unsent))

    def _work(self) -> None:
        # Any exception: no failure of W&B may stop a training. It is reported, not swallowed.
        try:
            run = start(self._arguments, self._wanted)
            self._unsent = Path(run.settings.sync_dir)
            while item := self._queue.get():
                self._send(run, *item)
            if self._is_preempted:
                run.mark_preempting()
            run.finish(exit_code=self._exit_code)
            self._unsent = self._unsent if run.offline else None
        except ImportError as error:
            logger.warning("W&B is not installed (%s); the run continues without it", error)
        except Exception as error:
            if not self._is_left:
                logger.warning("W&B failed (%s); the run continues without it", _describe(error))

    def _send(self, run: Any, send: Task, name: str) -> None:
        with self.without(name) if name else nullcontext():
            send(run)


def start(arguments: dict[str, Any], wanted: Send) -> Any:
    """Start a W&B run: online with a key that the service takes, else offline.

    Raises:
        ImportError: wandb is not installed.
        Exception: whatever it raises when even an offline run cannot be started.
    """
    import wandb  # noqa: F401  its absence is no reason to try again offline

    # Without its own folder to write to, wandb takes the system's temporary one.
    folder = Path(arguments["dir"])
    folder.mkdir(parents=True, exist_ok=True)
    # Where files wait to be sent: with the run, so that its folder has all of it.
    os.environ["WANDB_DATA_DIR"] = _DATA_DIR or str((folder / "wandb" / "data").absolute())
    mode = arguments.get("mode") or os.environ.get("WANDB_MODE")
    try:
        mode = mode or (ONLINE if has_key() else OFFLINE)
        return _init({**arguments, "mode": mode}, wanted)
    except Exception as error:
        if mode == OFFLINE:
            raise
        logger.warning("W&B is not used online (%s): the run is kept offline", _describe(error))
        _tear_down()  # or the id would be that of the run which could not start
        return _init({**arguments, "mode": OFFLINE}, wanted)


def has_key() -> bool:
    """Return True if there is a key; whether the service takes it is found out by using it.

    Raises:
        wandb.errors.AuthenticationError: it cannot be a key.
    """
    import wandb

    if wandb.login(prompt=False, verify=False):
        return True
    logger.info("No W&B key (`wandb login` asks for one): the run is kept offline")
    return False


def sync_command(folder: Path) -> str:
    """Return what sends a run that was kept on disk, in the present working directory.

    ``wandb sync`` tells the service its own program's path, unless the variable names another one.

    Args:
        folder: of W&B's run. All pieces of one that is offline are beside it.
    """
    is_offline = folder.name.startswith(OFFLINE)
    what = [] if is_offline else ["--include-online"]
    where = os.path.relpath(folder.parent if is_offline else folder)
    command = shlex.join(["wandb", "sync", *what, where])
    return f"WANDB_PROGRAM={Path(sys.argv[0]).name} {command}"


def _init(arguments: dict[str, Any], wanted: Send) -> Any:
    import wandb  # here, so that a run with logger=none needs none of it

    settings = wandb.Settings(
        init_timeout=INIT_SECONDS,
        x_transaction_log_flush_interval=FLUSH_SECONDS,
        quiet=arguments["mode"] == OFFLINE,  # its command for later would tell the service paths
        x_disable_stats=not wanted.system,
        **({} if wanted.machine else _QUIET),
    )
    # One that failed in this process is still there, and would be returned again.
    run = wandb.init(**arguments, reinit="finish_previous", settings=settings)
    if not wanted.machine:
        _hide_folders(run)
    return run


def _hide_folders(run: Any) -> None:
    """Let W&B know files relative to the working directory.

    Its service sends where an artifact's files lie on this machine, and nothing switches that off.
    """
    interface = run._interface
    make = interface._make_artifact

    def make_relative(artifact: Any) -> Any:
        for entry in artifact.manifest.entries.values():
            if entry.local_path:
                entry.local_path = os.path.relpath(entry.local_path)
        return make(artifact)

    interface._make_artifact = make_relative


def _describe(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


def _end_service() -> None:
    """Kill wandb's service process, a child of this one, and what it started."""
    for child in psutil.Process().children():
        if child.name() == SERVICE:
            for process in [*child.children(recursive=True), child]:
                process.kill()
    _tear_down()  # it says goodbye to what is gone, here and not when Python exits


def _tear_down() -> None:
    """Let wandb forget its service; if that was killed, wandb would end this process as well."""
    import wandb

    with suppress(Exception, SystemExit):
        wandb.teardown()
