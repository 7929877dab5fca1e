"""The release's tables: read in place out of a folder, downloaded whole from anywhere else.

A downloaded table stays in ``data/<name>/tables``, laid out as its bucket, with a note beside it of
what it is. The server is asked each time whether it still has the same file.
"""

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from oiv5_d2.acquisition.buckets import Bucket, Head
from oiv5_d2.acquisition.downloads import download
from oiv5_d2.files import whole_file
from oiv5_d2.jobs import Advance
from oiv5_d2.openimages.release import ReleaseFile
from oiv5_d2.problems import Kind, Problem, Remedy

logger = logging.getLogger(__name__)


class Note(NamedTuple):
    """What a downloaded table is."""

    url: str
    etag: str
    num_bytes: int
    """-1 until the download is complete."""


def fetch_tables(
    bucket: Bucket, files: Iterable[ReleaseFile], tables_dir: Path, advance: Advance
) -> Path:
    """Return the folder that holds the given tables under their paths in the bucket.

    Those that are not here, or that the server has replaced, are downloaded; a killed download is
    resumed. When the server does not answer, tables that are here are used, with a warning.

    Args:
        bucket: the bucket of annotations.
        files: the tables.
        tables_dir: keeps what is downloaded.
        advance: called with bytes, of `bytes_to_download` in all.

    Raises:
        Problem: ABSENT; or a table that is not here is REFUSED, UNREACHABLE or DAMAGED (its MD5 is
            not the release's); or a file in `tables_dir` is FOREIGN, and would be replaced.
    """
    files = list(files)
    if bucket.folder:
        _check_present(bucket.folder, files)
        return bucket.folder
    for file, head in _outdated(bucket, files, tables_dir):
        path = tables_dir / file.path
        _claim(path, bucket.url(file.path))
        # As long as the release's file: it is that, and not a part of it on a mirror.
        md5 = file.md5 if head.num_bytes == file.num_bytes else None
        download(bucket, file.path, path, advance, md5)
        _write_note(path, Note(bucket.url(file.path), head.etag, path.stat().st_size))
    return tables_dir


def bytes_to_download(bucket: Bucket, files: Iterable[ReleaseFile], tables_dir: Path) -> int:
    """Return how many bytes `fetch_tables` still has to download, with what a killed run has.

    Raises:
        Problem: ABSENT; or REFUSED or UNREACHABLE for a table that is not here.
    """
    if bucket.folder:
        _check_present(bucket.folder, files)
        return 0
    return sum(head.num_bytes for _, head in _outdated(bucket, list(files), tables_dir))


def remove_damaged(path: Path) -> None:
    """Remove a table that was downloaded and turned out damaged, so that it is fetched again.

    A table that was not downloaded is left alone.
    """
    if _note_path(path).exists():
        path.unlink(missing_ok=True)
        _note_path(path).unlink()


def _check_present(folder: Path, files: Iterable[ReleaseFile]) -> None:
    for file in files:
        if not (folder / file.path).is_file():
            detail = "this table of the release is missing"
            raise Problem(Kind.ABSENT, folder / file.path, detail, remedy=Remedy.CHECK_ADDRESS)


def _outdated(
    bucket: Bucket, files: list[ReleaseFile], tables_dir: Path
) -> list[tuple[ReleaseFile, Head]]:
    """Return the tables that have to be downloaded, with what the server says of them."""
    outdated, unchecked = [], []
    answers = dict(bucket.head_many(file.path for file in files))
    for file in files:
        answer = answers[file.path]
        note = _read_note(tables_dir / file.path, bucket.url(file.path))
        if isinstance(answer, Head):
            if note is None or not _is_same(note, answer):
                outdated.append((file, answer))
        elif note is None or answer.kind is Kind.ABSENT:
            raise answer
        else:
            unchecked.append(answer)
    if unchecked:
        logger.warning(
            "%s. %d tables could not be checked for changes; using the downloaded ones",
            unchecked[0],
            len(unchecked),
        )
    return outdated


def _is_same(note: Note, head: Head) -> bool:
    """Return True if a table is still the one that was downloaded."""
    # A length alone may be wrong, so it counts only where there is no ETag.
    return note.etag == head.etag and bool(head.etag or note.num_bytes == head.num_bytes)


def _claim(path: Path, url: str) -> None:
    """Note that what will be at `path` is ours.

    Raises:
        Problem: FOREIGN, there is a file that was not downloaded.
    """
    if _note_path(path).exists():
        return
    if path.exists() or path.is_symlink():
        raise Problem(Kind.FOREIGN, path, f"{url} would replace it", remedy=Remedy.MOVE_AWAY)
    _write_note(path, Note(url, "", -1))


def _note_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.json")


def _read_note(path: Path, url: str) -> Note | None:
    """Return the note of a table that is here, whole, and from this address; otherwise None."""
    try:
        note = Note(**json.loads(_note_path(path).read_text(encoding="utf-8")))
        return note if note.url == url and path.stat().st_size == note.num_bytes else None
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _write_note(path: Path, note: Note) -> None:
    with whole_file(_note_path(path)) as temporary:
        temporary.write_text(json.dumps(note._asdict()) + "\n", encoding="utf-8")
