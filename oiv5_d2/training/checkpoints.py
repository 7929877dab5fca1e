"""Checkpoints that are whole or absent: written, sealed with a checksum, found again, thinned out.

A file is Detectron2's own, ``{"model": ...}`` and more keys, which stock Detectron2 loads. The
SHA-256 of its bytes is its zip comment, so that a damaged one is recognised wherever it is copied.
"""

import hashlib
import logging
import os
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import torch
from detectron2.checkpoint import DetectionCheckpointer

from oiv5_d2.files import naming_full_disk, whole_file
from oiv5_d2.problems import Kind, Problem, Remedy

logger = logging.getLogger(__name__)

BEST_WEIGHTS = "model_best.pth"
LAST_CHECKPOINT = "last_checkpoint"  # Detectron2's: the name of the newest file
NUMBERED = "model_[0-9]*.pth"

_SEAL_BYTES = 64  # a SHA-256 in hex digits
_SEAL_MARK = _SEAL_BYTES.to_bytes(2, "little")  # a zip's last field: the length of its comment


class Found(NamedTuple):
    """A whole checkpoint: its file, and the last step that it has made, counted from 0."""

    path: Path
    iteration: int


class Checkpointer(DetectionCheckpointer):  # type: ignore[misc]
    """Detectron2's checkpointer, whose files are whole or absent and are read as data only."""

    def save(self, name: str, **more: Any) -> None:
        """Write the model, all that was registered and ``more`` to ``{name}.pth``.

        Raises:
            Problem: DISK_FULL; nothing half-written is left, and older files stay.
        """
        if not self.save_to_disk:
            return
        state = {key: one.state_dict() for key, one in self.checkpointables.items()}
        path = Path(self.save_dir) / f"{name}.pth"
        write(path, {"model": self.model.state_dict(), **state, **more})
        self.tag_last_checkpoint(path.name)

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """Write ``last_checkpoint``, for Detectron2's own tools; `newest_whole` needs it not."""
        with whole_file(Path(self.save_dir) / LAST_CHECKPOINT) as temporary:
            temporary.write_text(last_filename_basename)

    def _load_file(self, filename: str) -> dict[str, Any]:
        return read(Path(filename))


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint and seal it.

    Raises:
        Problem: DISK_FULL; the file that was there before stays.
    """
    with naming_full_disk(path), whole_file(path) as temporary:
        with temporary.open("wb") as file:
            torch.save(content, file)
        _seal(temporary)


def read(path: Path, *, lazily: bool = False) -> dict[str, Any]:
    """Return a checkpoint's content, on the CPU. Nothing in the file is executed.

    Args:
        path: of the file.
        lazily: read tensors only when they are used.
    """
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=lazily)
    return content


def is_whole(path: Path) -> bool:
    """Return True if a checkpoint's bytes are those that were written."""
    with path.open("rb") as file:
        length = file.seek(0, os.SEEK_END) - _SEAL_BYTES - len(_SEAL_MARK)
        if length < 0:
            return False
        digest = _digest(path, length)
        file.seek(length)
        return file.read() == _SEAL_MARK + digest


def newest_whole(run_dir: Path, warns: bool = True) -> Found | None:
    """Return a run's newest whole checkpoint; None if it wrote none.

    Damaged files are passed over, whatever ``last_checkpoint`` says. Files of weights only, such as
    averages, cannot be resumed.

    Args:
        run_dir: of the run.
        warns: name the damaged files in warnings.

    Raises:
        Problem: DAMAGED, there are checkpoints, but none is whole.
    """
    paths = sorted(run_dir.glob("model_*.pth"))
    whole = [path for path in paths if is_whole(path)]
    damaged = [path for path in paths if path not in whole]
    for path in damaged if warns else ():
        logger.warning("%s is damaged and passed over", path)
    contents = [(path, read(path, lazily=True)) for path in whole]
    found = [Found(path, one["iteration"]) for path, one in contents if "iteration" in one]
    if damaged and not found:
        detail = f"none of {len(damaged)} checkpoints is whole"
        key, remedy = "run_dir resume", Remedy.CHANGE_SETTING
        raise Problem(Kind.DAMAGED, damaged[-1], detail, key=key, remedy=remedy)
    return max(found, key=lambda one: one.iteration, default=None)


def link(path: Path, name: str) -> None:
    """Give a checkpoint a second name beside it, without a copy where the disk can do that."""
    other = path.with_name(name)
    with whole_file(other) as temporary:
        temporary.unlink(missing_ok=True)
        try:
            os.link(path, temporary)
        except OSError:  # a disk without hard links
            shutil.copyfile(path, temporary)
        other.unlink(missing_ok=True)  # renaming a file to another name of itself does nothing


def numbered(step: int) -> str:
    """Return the name of a checkpoint's file; steps are counted from 0."""
    return f"model_{step:07d}.pth"


def due_steps(done: int, period: int, count: int) -> list[int]:
    """Return the last steps with a checkpoint, whatever stops came between: counted from 0.

    Args:
        done: steps made; the last of them is one.
        period: in steps; each multiple is another.
        count: how many, at most.
    """
    before = range(period, done, period)[::-1][: count - 1]
    return sorted([done - 1, *(multiple - 1 for multiple in before)])


def thin_out(run_dir: Path, keep: int, spared: Collection[str] = ()) -> None:
    """Remove all but the newest `keep` numbered checkpoints and those spared by their name.

    Checkpoints with other names stay.
    """
    for path in sorted(run_dir.glob(NUMBERED))[:-keep]:
        if path.name not in spared:
            path.unlink()


def _seal(path: Path) -> None:
    """Replace the zip's empty comment by the SHA-256 of all bytes before it."""
    length = path.stat().st_size - len(_SEAL_MARK)
    digest = _digest(path, length)
    with path.open("r+b") as file:
        file.seek(length)
        file.write(_SEAL_MARK + digest)


def _digest(path: Path, length: int) -> bytes:
    """Return the SHA-256 of a file's first bytes as hex digits."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while length > 0 and (piece := file.read(min(length, 1 << 20))):
            found.update(piece)
            length -= len(piece)
    return found.hexdigest().encode()
