"""The release's tables: read in place out of a folder, downloaded whole from anywhere else.

A downloaded table stays in ``data/<name>/tables``, laid out as its bucket, with a note beside it of
what it is. The server is asked each time whether it still has the same file.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from oiv5_d2.acquisition.buckets import Bucket, Head
from oiv5_d2.acquisition.downloads import download
from oiv5_d2.files import whole_file
from oiv5_d2.jobs import Advance
from oiv5_d2.openimages.release import ReleaseFile
from oiv5_d2.problems import Kind, Problem, Remedy

logger = logging.getLogger(__name__)


def fetch_tables(
    bucket: Bucket, files: Sequence[ReleaseFile], tables_dir: Path, advance: Advance
) -> Path:
    """Return the folder that holds the given tables under their paths in the bucket.

    Those that are not here, or that the server has replaced, are downloaded; a killed download is
    resumed. When the server does not answer, tables that are here are used, with a warning.

    Args:
        bucket: has the release's annotations.
        files: the tables.
        tables_dir: keeps what is downloaded.
        advance: called with bytes, of `bytes_to_download` in all.

    Raises:
        Problem: ABSENT; a table that is not here is REFUSED, UNREACHABLE or DAMAGED (by its MD5);
            a file in `tables_dir` is FOREIGN.
    """
    if bucket.folder:
        for path in (bucket.folder / file.path for file in files):
            if not path.is_file():
                raise Problem(Kind.ABSENT, path, "a release's table", remedy=Remedy.CHECK_ADDRESS)
        return bucket.folder
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
    return tables_dir


def bytes_to_download(bucket: Bucket, files: Sequence[ReleaseFile], tables_dir: Path) -> int:
    """Return how many bytes `fetch_tables` has to download of a server, with what a killed run has.

    Raises:
        Problem: ABSENT; or REFUSED or UNREACHABLE for a table that is not here.
    """
    return sum(head.num_bytes for _, head in _outdated(bucket, files, tables_dir))


def remove_damaged(path: Path) -> None:
    """Remove a damaged table if it was downloaded, so that it is fetched again."""
    if _note_path(path).exists():
        path.unlink(missing_ok=True)
        _note_path(path).unlink()


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
