"""The wanted masks out of the release's zips, into smaller zips of the same names.

One zip a split and hex digit, as released, because folders of many small files choke notebook
services. Entries are sorted, stored and undated, so that the same masks give the same bytes.
"""

import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from oiv5_d2.dataset.checks import check_png
from oiv5_d2.dataset.stores import Store, open_key
from oiv5_d2.openimages import release
from oiv5_d2.openimages.files import whole_file

PRESENT, MISSING, CORRUPT = "present", "missing", "corrupt"

# A zip of the same name may be the release's own, put there by hand: it is told by its comment.
_OURS = b"The wanted masks only, cut from the release by oiv5_d2"
# A 1-bit picture of the largest size has 12.5 MB as pixels, and a PNG hardly shrinks in a zip.
_LARGEST_MASK_BYTES = 16 << 20
_LARGEST_RATIO = 100
_UNDATED = (1980, 1, 1, 0, 0, 0)
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    struct.error,
)


class Outcome(NamedTuple):
    """What became of one wanted file: "present", "missing" or "corrupt", and why."""

    path: str
    state: str
    reason: str = ""
    num_bytes: int = 0


def extract_masks(
    store: Store,
    split: str,
    digit: str,
    wanted: Sequence[str],
    shard_path: Path,
    advance: Callable[[int], object],
) -> list[Outcome]:
    """Make a zip hold the wanted masks and nothing else; what it already holds is kept.

    Args:
        store: the annotations bucket.
        split: the official split.
        digit: the first hex digit of the images' ids.
        wanted: the masks' names, distinct and sorted.
        shard_path: the zip to make. It is not written if it need not change.
        advance: called with 1 for each mask.

    Returns:
        each wanted mask's outcome, in order.

    Raises:
        ValueError: `shard_path` is a zip that was not made here.
        OSError: `shard_path` can not be written.
    """
    with ExitStack() as stack:
        old = _open_shard(shard_path, stack)
        if old and old.namelist() == list(wanted):
            advance(len(wanted))
            return [Outcome(name, PRESENT, "", old.getinfo(name).file_size) for name in wanted]
        source = _open_source(store, release.mask_zip(split, digit).path, stack)
        new_path = stack.enter_context(whole_file(shard_path))
        new = stack.enter_context(zipfile.ZipFile(new_path, "w"))
        new.comment = _OURS
        outcomes = []
        for name in wanted:
            outcomes.append(_copy_mask(name, old, source, new))
            advance(1)
        return outcomes


def _open_shard(path: Path, stack: ExitStack) -> zipfile.ZipFile | None:
    """Open a zip of an earlier run; None where there is none, or it is damaged."""
    if not path.exists():
        return None
    try:
        shard = stack.enter_context(zipfile.ZipFile(path))
    except _DAMAGED:
        return None
    if shard.comment != _OURS:
        raise ValueError(
            f"{path}: this zip was not made here and would be overwritten. Move it away, or lay it"
            " out as the release does and name that folder as the source"
        )
    return shard


def _open_source(store: Store, key: str, stack: ExitStack) -> zipfile.ZipFile | Outcome:
    """Open a zip of the release; an outcome for all its masks where that fails."""
    try:
        return stack.enter_context(zipfile.ZipFile(stack.enter_context(open_key(store, key))))
    except FileNotFoundError:
        return Outcome("", MISSING, f"{key} is not in the release")
    except _DAMAGED as error:
        return Outcome("", CORRUPT, f"{key}: {_plain(error)}")
    except OSError as error:
        return Outcome("", MISSING, f"{key} can not be read: {error.strerror or error}")


def _copy_mask(
    name: str, old: zipfile.ZipFile | None, source: zipfile.ZipFile | Outcome, new: zipfile.ZipFile
) -> Outcome:
    data, found = b"", Outcome(name, MISSING)
    if old:
        data, found = _read_mask(old, name)
    if found.state != PRESENT:
        if isinstance(source, Outcome):
            return source._replace(path=name)
        data, found = _read_mask(source, name)
    if found.state == PRESENT:
        new.writestr(_undated(name), data)
    return found


def _read_mask(source: zipfile.ZipFile, name: str) -> tuple[bytes, Outcome]:
    """Return a mask that was read whole (the zip's CRC) and is a PNG, or why there is none."""
    try:
        entry = source.getinfo(name)
    except KeyError:
        return b"", Outcome(name, MISSING, "the zip has no such entry")
    if entry.file_size > min(_LARGEST_MASK_BYTES, _LARGEST_RATIO * (entry.compress_size + 1000)):
        return b"", Outcome(name, CORRUPT, f"it would unpack to {entry.file_size} bytes: refused")
    try:
        data = source.read(entry)
        check_png(data)
    except _DAMAGED as error:
        return b"", Outcome(name, CORRUPT, _plain(error))
    except OSError as error:
        return b"", Outcome(name, MISSING, f"can not be read: {error.strerror or error}")
    return data, Outcome(name, PRESENT, "", len(data))


def _plain(error: Exception) -> str:
    """Return what an error says in one line; some of the zip reader's say nothing."""
    return str(error).partition("\n")[0] or f"it ends too soon ({type(error).__name__})"


def _undated(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _UNDATED)
    entry.create_system = 3  # the same bytes on every system
    entry.external_attr = 0o644 << 16
    return entry
