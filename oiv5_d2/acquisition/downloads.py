"""One whole file out of a bucket, over several runs if need be."""

import glob
import hashlib
import os
from functools import partial
from pathlib import Path

from oiv5_d2.acquisition.buckets import Bucket, Get, Head
from oiv5_d2.jobs import Advance
from oiv5_d2.problems import Kind, Problem, Remedy

DOWNLOAD_PREFIX = ".download-"
_MD5 = partial(hashlib.md5, usedforsecurity=False)
# How often in a row no byte may come, by what is wrong; a file with a wrong MD5 is whole.
_TRIES = {Kind.CHANGED: 5, Kind.DAMAGED: 2, Kind.UNREACHABLE: 5, Kind.UNSUPPORTED: 5}


def download(
    bucket: Bucket, key: str, path: Path, advance: Advance, md5: str | None = None
) -> None:
    """Download a file to `path`, where it appears only when it is whole.

    Until then its bytes go to a temporary file beside it, whose name is tied to the location, the
    key and the ETag. The next run, after a kill as well, goes on where this one stopped; it starts
    over if the file has changed since, or if the server has no ETags by which to know.

    Args:
        bucket: has the file.
        key: the file.
        path: where it goes; the folder is made. What is there is replaced, so the caller has to
            know that these tools wrote it.
        advance: called with bytes, which are the units: those of earlier runs as `num_done` only,
            those that come as `num_done` and `num_bytes`.
        md5: what its MD5 has to be, as 32 hex digits; None if it is not known.

    Raises:
        Problem: ABSENT or REFUSED; UNREACHABLE or CHANGED, what came stays for the next run;
            DAMAGED, length or MD5 is wrong, and nothing stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    most, num_failed = 0, 0
    while True:
        head = bucket.head(key)
        temporary = _temporary(bucket, key, path, head)
        if most == num_failed == 0:
            advance(_num_bytes(temporary))
        try:
            _complete(bucket, key, temporary, head, advance, md5)
        except Problem as problem:
            num_bytes = _num_bytes(temporary)
            most, num_failed = max(most, num_bytes), 0 if num_bytes > most else num_failed + 1
            if num_failed >= _TRIES.get(problem.kind, 1):
                raise
        else:
            temporary.replace(path)
            return


def _temporary(bucket: Bucket, key: str, path: Path, head: Head) -> Path:
    """Return the temporary file's name; what came of another file than this one is removed."""
    about = "\n".join([bucket.location, key, head.etag])
    fingerprint = hashlib.sha256(about.encode()).hexdigest()[:12]
    temporary = path.with_name(f"{DOWNLOAD_PREFIX}{fingerprint}-{path.name}")
    for other in path.parent.glob(f"{DOWNLOAD_PREFIX}*-{glob.escape(path.name)}"):
        if other != temporary or not head.etag:
            other.unlink()
    return temporary


def _complete(
    bucket: Bucket, key: str, temporary: Path, head: Head, advance: Advance, md5: str | None
) -> None:
    """Fetch what is missing of a file; one with another MD5 is removed."""
    with temporary.open("a+b") as file:
        if file.tell() > head.num_bytes:
            file.truncate(0)
        start = file.seek(0, os.SEEK_END)
        get = Get(key, start, None, head.etag)
        for piece in bucket.stream(get) if start < head.num_bytes else ():
            file.write(piece)
            file.flush()  # out of this process, so that a kill loses none
            advance(len(piece), len(piece))
        os.fsync(file.fileno())
        num_bytes = file.tell()
        # Read again rather than hashed on its way: most files have no MD5 to be compared with.
        file.seek(0)
        found = hashlib.file_digest(file, _MD5).hexdigest() if md5 else None
    if num_bytes != head.num_bytes:  # what came stays: a server may give a wrong length once
        detail = f"{num_bytes} bytes instead of {head.num_bytes}"
        raise Problem(Kind.UNREACHABLE, bucket.url(key), detail, remedy=Remedy.RUN_AGAIN)
    if found != md5:
        temporary.unlink()
        detail = f"MD5 {found} instead of {md5}"
        raise Problem(Kind.DAMAGED, bucket.url(key), detail, remedy=Remedy.FIX_SOURCE)


def _num_bytes(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
