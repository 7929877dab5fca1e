"""The release's tables: read in place out of a folder, downloaded whole from anywhere else.

A table in a folder that is not as the release has it is written anew, see `openimages.tidy`. Such
a copy, and a downloaded table, stays in ``data/<name>/tables``, laid out as its bucket, with a note
beside it of what it is. A server is asked each time whether it still has the same file.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from oiv5_d2.acquisition.buckets import Bucket, Head
from oiv5_d2.acquisition.downloads import download
from oiv5_d2.acquisition.layouts import find_tables
from oiv5_d2.files import whole_file
from oiv5_d2.jobs import Advance
from oiv5_d2.openimages.release import ReleaseFile
from oiv5_d2.openimages.tidy import find_fault, is_as_released, write_tidy
from oiv5_d2.problems import Kind, Problem, Remedy

logger = logging.getLogger(__name__)


def fetch_tables(
    bucket: Bucket, files: Sequence[ReleaseFile], tables_dir: Path, advance: Advance
) -> dict[str, Path]:
    """Return where the given tables are on the disk, by their paths in the bucket.

    Of a server, those that are not here, or that it has replaced, are downloaded; a killed download
    is resumed. When it does not answer, tables that are here are used, with a warning.

    Args:
        bucket: has the release's annotations.
        files: the tables.
        tables_dir: keeps what is downloaded.
        advance: called with bytes, of `bytes_to_download` in all.

    Raises:
        Problem: ABSENT; a table that is not here is REFUSED, UNREACHABLE or DAMAGED (by its MD5);
            one in a folder is DAMAGED; a file in `tables_dir` is FOREIGN.
    """
    if bucket.folder:
        found = find_tables(bucket.folder, files)
        return {
            file.path: path if _is_readable(path, file) else tidied(path, file, tables_dir)
            for file, path in zip(files, found.values(), strict=True)
        }
    for file, head in _outdated(bucket, files, tables_dir):
        path, url = tables_dir / file.path, bucket.url(file.path)
        if not _note_path(path).exists():
            if path.exists() or path.is_symlink():
                detail = f"{url} would replace it"
                raise Problem(Kind.FOREIGN, path, detail, remedy=Remedy.MOVE_AWAY)
            _write_note(path, url, Head(-1, ""))  # what will be there is ours
        # As long as the release's file: it is that, and not a subset of it on a mirror.
        md5 = file.md5 if head.num_bytes == file.num_bytes else None
        download(bucket, file.path, path, advance, md5)
        _write_note(path, url, Head(path.stat().st_size, head.etag))
    return {file.path: tables_dir / file.path for file in files}


def tidied(path: Path, file: ReleaseFile, tables_dir: Path) -> Path:
    """Return a copy of somebody's table that is as the release has it; made if it is not there.

    Args:
        path: the table, which is only read.
        file: which one of the release it is.
        tables_dir: keeps the copy.

    Raises:
        Problem: DAMAGED, with the line of `path`; FOREIGN, another file is where the copy goes.
    """
    copy, status = tables_dir / file.path, path.stat()
    note = _read_note(copy, str(path))
    etag = f"{status.st_size}-{status.st_mtime_ns}"
    if note and note.etag == etag:
        return copy
    if copy.is_symlink() or (copy.exists() and not _note_path(copy).exists()):
        raise Problem(Kind.FOREIGN, copy, f"{path} would replace it", remedy=Remedy.MOVE_AWAY)
    _write_note(copy, str(path), Head(-1, ""))  # what will be there is ours
    write_tidy(path, file.columns, copy)
    _write_note(copy, str(path), Head(copy.stat().st_size, etag))
    logger.info("%s has another form than the release's: using a copy, %s", path, copy)
    return copy


def _is_readable(path: Path, file: ReleaseFile) -> bool:
    """Return True if a table in a folder can be read as it is, by its ends."""
    return not file.columns or is_as_released(path, file.columns)


def bytes_to_download(bucket: Bucket, files: Sequence[ReleaseFile], tables_dir: Path) -> int:
    """Return how many bytes `fetch_tables` has to download of a server, with what a killed run has.

    Raises:
        Problem: ABSENT; or REFUSED or UNREACHABLE for a table that is not here.
    """
    return sum(head.num_bytes for _, head in _outdated(bucket, files, tables_dir))


def repaired(
    problem: Problem,
    bucket: Bucket,
    files: Sequence[ReleaseFile],
    paths: Mapping[str, Path],
    tables_dir: Path,
) -> dict[str, Path]:
    """Return where a damaged table is now, by its path in the bucket: a tidied copy of one's own.

    Args:
        problem: of one of the tables, whose path is its subject.
        bucket: has the tables.
        files: all tables.
        paths: where they are.
        tables_dir: keeps copies. A damaged table in it is removed, so that it comes anew.

    Raises:
        Problem: this one, if nothing can be done; or with the line of one's own table.
    """
    for file in files:
        path = paths[file.path]
        if str(path) == problem.subject and file.columns and bucket.folder:
            if path != tables_dir / file.path:
                return {file.path: tidied(path, file, tables_dir)}
            raise find_fault(find_tables(bucket.folder, [file])[file.path], file.columns)
        if str(path) == problem.subject and _note_path(path).exists():
            path.unlink(missing_ok=True)
            _note_path(path).unlink()
    if bucket.folder and problem.remedy is Remedy.FETCH_AGAIN:
        problem.remedy = Remedy.FIX_SOURCE  # what is in a folder is not fetched
    raise problem


def _outdated(
    bucket: Bucket, files: Sequence[ReleaseFile], tables_dir: Path
) -> list[tuple[ReleaseFile, Head]]:
    """Return the tables that have to be downloaded, with what the server says of them."""
    outdated, unchecked = [], []
    answers = dict(bucket.head_many(file.path for file in files))
    for file in files:
        answer = answers[file.path]
        note = _read_note(tables_dir / file.path, bucket.url(file.path))
        if isinstance(answer, Head):
            # A length may be wrong, so it counts only where there is no ETag.
            if not note or note.etag != answer.etag or not (answer.etag or note == answer):
                outdated.append((file, answer))
        elif note is None or answer.kind is Kind.ABSENT:
            raise answer
        else:
            unchecked.append(answer)
    if unchecked:
        what = "%s. %d tables could not be checked for changes; using the downloaded ones"
        logger.warning(what, unchecked[0], len(unchecked))
    return outdated


def _note_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.json")


def _read_note(path: Path, url: str) -> Head | None:
    """Return what a table is that is here, whole, and from this address; otherwise None."""
    try:
        note = json.loads(_note_path(path).read_text(encoding="utf-8"))
        head = Head(note["num_bytes"], note["etag"])
        return head if note["url"] == url and path.stat().st_size == head.num_bytes else None
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None


def _write_note(path: Path, url: str, head: Head) -> None:
    with whole_file(_note_path(path)) as temporary:
        temporary.write_text(json.dumps({"url": url, **head._asdict()}) + "\n", encoding="utf-8")
