"""Which stages of a preparation are done: one stamp each, and a lock for the folder.

A stamp holds a stage's settings, and size and modification time of its inputs and outputs. A stage
is done while all of them are unchanged; a folder counts with its own time, which changes when a
file in it is added, removed or replaced. Nothing else that is prepared contains a time.
"""

import errno
import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from oiv5_d2.files import whole_file
from oiv5_d2.jobs import Advance
from oiv5_d2.problems import Kind, Problem, Remedy

STAMPS = ".stamps"
# Why a path can be no folder.
_NO_FOLDER = (errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR)
VERSION = version("oiv5_d2")  # another version may make other files


@dataclass(frozen=True)
class Stage:
    """One step of a preparation.

    Inputs and outputs are functions, because they may be known only after an earlier stage.
    """

    name: str
    """As its stamp is called, and as a user sees it."""
    settings: Mapping[str, Any]
    """JSON-ready: everything that changes the outputs."""
    inputs: Callable[[], Iterable[Path]]
    outputs: Callable[[], Iterable[Path]]
    count: Callable[[], Mapping[str, int]]
    """How much there is to do, by kind, in the order in which it is done; 0 if unknown."""
    run: Callable[[Advance], object]


def is_done(stage: Stage, data_dir: Path) -> bool:
    """Return True if a stage has a stamp and nothing has changed since."""
    try:
        stamp = json.loads(_stamp_path(stage, data_dir).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    return bool(stamp == _stamp(stage, data_dir, _fingerprints(stage.inputs(), data_dir)))


def former_settings(stage: Stage, data_dir: Path) -> dict[str, Any]:
    """Return the settings that a stage last ran with; empty if it never finished."""
    try:
        stamp = json.loads(_stamp_path(stage, data_dir).read_text(encoding="utf-8"))
        return dict(stamp["settings"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}


def run(stage: Stage, data_dir: Path, advance: Advance) -> None:
    """Run a stage and stamp it. While it runs it has no stamp, so a killed one is not done.

    Args:
        stage: what to run.
        data_dir: the folder that is prepared.
        advance: called with the number of newly finished units.
    """
    stamp_path = _stamp_path(stage, data_dir)
    stamp_path.unlink(missing_ok=True)
    inputs = _fingerprints(stage.inputs(), data_dir)  # now, so that a change meanwhile shows
    stage.run(advance)
    text = json.dumps(_stamp(stage, data_dir, inputs), indent=1) + "\n"
    with whole_file(stamp_path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Lock a folder for this process; the system unlocks it when the process ends, however it ends.

    Raises:
        Problem: BUSY, another process is preparing the folder; the detail says which. REFUSED, the
            path is a file's, or cannot be one.
    """
    path = data_dir / STAMPS / "lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("a+", encoding="utf-8")
    except OSError as error:
        if error.errno in _NO_FOLDER:
            facts, remedy = str(error.strerror), Remedy.CHANGE_SETTING
            raise Problem(Kind.REFUSED, data_dir, facts, key="data.dir", remedy=remedy) from error
        if error.errno not in (errno.EACCES, errno.EROFS):
            raise
        yield  # nothing can be written here, by anybody: what is finished can be looked at
        return
    with lock as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise Problem(Kind.BUSY, data_dir, holder, remedy=Remedy.WAIT) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {os.uname().nodename}")
        file.flush()
        yield
        file.truncate(0)


def _stamp_path(stage: Stage, data_dir: Path) -> Path:
    return data_dir / STAMPS / f"{stage.name.replace(' ', '-')}.json"


def _stamp(stage: Stage, data_dir: Path, inputs: Mapping[str, Any]) -> Any:
    """Return a stage's stamp as JSON gives it back; the program's version is one more setting."""
    settings = {**stage.settings, "_version": VERSION}
    outputs = _fingerprints(stage.outputs(), data_dir)
    return json.loads(json.dumps({"settings": settings, "inputs": inputs, "outputs": outputs}))


def _fingerprints(paths: Iterable[Path], data_dir: Path) -> dict[str, list[int] | None]:
    """Return size and modification time of each path, None for a missing one.

    A path in the folder is relative to it, so that the folder can be moved.
    """
    return {
        str(path.relative_to(data_dir) if path.is_relative_to(data_dir) else path): _fingerprint(
            path
        )
        for path in sorted(set(paths))
    }


def _fingerprint(path: Path) -> list[int] | None:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return [0 if path.is_dir() else stat.st_size, stat.st_mtime_ns]
