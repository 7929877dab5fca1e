"""What a server's reply means: the wanted bytes, a reason to try again, or a reason not to."""

import re
from http import HTTPStatus
from typing import NamedTuple

import pycurl

from oiv5_d2.acquisition.stores.redirects import refused_redirect
from oiv5_d2.acquisition.stores.store import (
    ChangedError,
    NoRangesError,
    StoreError,
    UnreachableError,
)
from oiv5_d2.acquisition.stores.tasks import Refusal, Task
from oiv5_d2.acquisition.stores.transfer import Transfer

_LASTING_STATUSES = {501, 505, 506, 508, 510, 511}  # of the server's own, from 500 on
_PASSING_STATUSES = {408, 425, 429}
_ABSENT = {404, 410}
_PLACE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")
_LASTING = {pycurl.E_PEER_FAILED_VERIFICATION, pycurl.E_SSL_CACERT_BADFILE,
            pycurl.E_URL_MALFORMAT, pycurl.E_COULDNT_RESOLVE_PROXY}  # fmt: skip
_CUTS = {pycurl.E_GOT_NOTHING, pycurl.E_SEND_ERROR, pycurl.E_RECV_ERROR, pycurl.E_PARTIAL_FILE}
_GARBAGE = {pycurl.E_UNSUPPORTED_PROTOCOL, pycurl.E_FTP_WEIRD_SERVER_REPLY}


class Reply(NamedTuple):
    """What came back for one try, up to now."""

    status: int
    """HTTP's; 0 where there was none."""
    errno: int
    """libcurl's; 0 where nothing went wrong."""
    message: str
    """libcurl's."""
    num_bytes: int
    """Of the body, as far as it arrived."""
    length: int
    """Of the body as it was announced; -1 where it was not."""
    headers: dict[str, str]
    """By names in lower case; none of them for a task that is plain."""
    is_connected: bool
    is_kept: bool
    """Whether the connection lives on: then the body's end was not just the connection's."""
    seconds: float
    retry_after: int
    """In how many seconds the server wants to be asked again; 0 where it does not say."""
    redirect: str
    """The whole URL to which the server points; "" where it does not."""


def judge(task: Task, reply: Reply, transfer: Transfer) -> Refusal | None:
    """Return why a reply will not do; None where it is what the task asks for."""
    if 300 <= reply.status < 400 and reply.redirect:
        return _judge_redirect(task, reply, transfer)
    if reply.status >= 300:  # below 200 it is no answer yet
        return _judge_status(task, reply)
    if reply.errno == pycurl.E_FILESIZE_EXCEEDED:
        return _judge_excess(task, reply)
    if reply.errno:
        return _judge_failure(reply, task.max_seconds(transfer))
    return _judge_success(task, reply) or _note(task, reply)


def _judge_success(task: Task, reply: Reply) -> Refusal | None:
    if task.get.start == 0 and task.get.stop is None:
        return _judge_whole(task, reply)
    # Some servers send the part and say 200 (rclone's S3); one that ignores ranges tells no place.
    if reply.status == 206 or (reply.status == 200 and "content-range" in reply.headers):
        return _judge_part(task, reply)
    return _judge_whole_for_part(task, reply)


def _note(task: Task, reply: Reply) -> Refusal | None:
    """Note which file it is; refuse another one than the one that was asked for."""
    task.etag = reply.headers.get("etag") or reply.headers.get("last-modified", "")
    told = reply.headers.get("last-modified" if is_date(task.get.etag) else "etag")
    if told and task.get.etag and told != task.get.etag:
        return _changed()
    match = _PLACE.fullmatch(reply.headers.get("content-range", ""))
    total = match[3] if match else str(reply.length)
    if total.isdigit():
        if task.num_file_bytes not in (None, int(total)):
            return _changed()
        task.num_file_bytes = int(total)
    return None


def is_date(etag: str) -> bool:
    """Tell whether a file's version is its Last-Modified, for want of an ETag."""
    return etag.endswith(" GMT")


def _judge_redirect(task: Task, reply: Reply, transfer: Transfer) -> Refusal:
    why = refused_redirect(
        task.target, reply.redirect, task.num_hops, transfer.follow_redirects, transfer.sign_s3
    )
    return Refusal(StoreError(why), redirect="" if why else reply.redirect)


def _judge_status(task: Task, reply: Reply) -> Refusal:
    if reply.status in _ABSENT:
        return Refusal(FileNotFoundError(f"{task.url}: there is no such file"))
    if reply.status == 412:
        return _changed()
    if reply.status == 416:
        return _judge_end(task, reply)
    may_pass = reply.status in _PASSING_STATUSES or (
        500 <= reply.status < 600 and reply.status not in _LASTING_STATUSES
    )
    try:
        phrase = f" {HTTPStatus(reply.status).phrase}"
    except ValueError:
        phrase = ""
    error = StoreError(f"the server says {reply.status}{phrase}")
    return Refusal(error, may_pass, float(reply.retry_after) if reply.retry_after else None)


def _judge_end(task: Task, reply: Reply) -> Refusal:
    match = _PLACE.fullmatch(reply.headers.get("content-range", ""))
    total = int(match[3]) if match and match[3].isdigit() else None
    if task.get.etag and total != task.get.start:
        return _changed()
    return Refusal(_too_short(task, total), num_file_bytes=total)


def _judge_excess(task: Task, reply: Reply) -> Refusal:
    if task.num_wanted is None:
        return Refusal(StoreError("the file is longer than transfer.max_file_bytes allows"))
    if reply.status == 200:
        return _ignored_range()
    return Refusal(StoreError("the server sends more than was asked for"), may_pass=True)


def _judge_failure(reply: Reply, max_seconds: float) -> Refusal:
    if reply.errno == pycurl.E_COULDNT_RESOLVE_HOST:
        reason = "the server's name is not known"
    elif reply.errno == pycurl.E_COULDNT_CONNECT:
        reason = "the server can not be reached"
    elif reply.errno == pycurl.E_OPERATION_TIMEDOUT:
        reason = _late(reply, max_seconds)
    elif reply.errno in _CUTS and reply.status:
        length = f" of {reply.length}" if reply.length >= 0 else ""
        reason = f"cut short at {reply.num_bytes}{length} bytes"
    elif reply.errno in _CUTS:
        reason = "the connection was cut before an answer"
    elif reply.errno == pycurl.E_PEER_FAILED_VERIFICATION:
        reason = f"the server's certificate is not trusted: {' '.join(reply.message.split())}"
    elif reply.errno in _GARBAGE:
        reason = "the server does not speak HTTP"
    else:
        reason = f"the transfer failed: {' '.join(reply.message.split())}"
    kind = StoreError if reply.status >= 200 else UnreachableError
    return Refusal(kind(reason), reply.errno not in _LASTING)


def _late(reply: Reply, max_seconds: float) -> str:
    if not reply.is_connected:
        return "the server can not be reached in time"
    if max_seconds and reply.seconds >= max_seconds:
        return f"not whole within {max_seconds:g} s"
    return f"stalled at {reply.num_bytes} bytes"


def _judge_whole(task: Task, reply: Reply) -> Refusal | None:
    if reply.status != 200:
        return Refusal(StoreError(f"the server says {reply.status}, not 200"), may_pass=True)
    if reply.length >= 0 or (task.kind != "head" and _is_framed(reply)):
        return None
    may_pass, task.is_plain = task.is_plain, False  # the next reply is to come with its headers
    return Refusal(StoreError("the server does not say how long the file is"), may_pass)


def _judge_part(task: Task, reply: Reply) -> Refusal | None:
    told = reply.headers.get("content-range", "")
    match = _PLACE.fullmatch(told)
    if match is None or match[1] is None:
        error = StoreError(f"the server sends a part without its place ('{told}')")
        return Refusal(error, may_pass=True)
    total = int(match[3]) if match[3].isdigit() else None
    if total is not None and total < (task.get.stop or 0):
        return Refusal(_too_short(task, total))
    stop = task.get.stop or total or int(match[2]) + 1
    if (int(match[1]), int(match[2]) + 1) != (task.get.start, stop):
        error = StoreError(f"the server sends bytes {match[1]}-{match[2]}, not the wanted ones")
        return Refusal(error, may_pass=True)
    num_bytes = stop - task.get.start
    if reply.length not in (-1, num_bytes):
        error = StoreError(f"the server sends {reply.length} bytes in place of {num_bytes}")
        return Refusal(error, may_pass=True)
    return None


def _judge_whole_for_part(task: Task, reply: Reply) -> Refusal | None:
    if task.get.start or reply.status != 200:
        return _ignored_range()
    num_bytes = reply.num_bytes if reply.length < 0 else reply.length
    if num_bytes >= (task.num_wanted or 0):
        return None
    if reply.length < 0 and not _is_framed(reply):
        return Refusal(StoreError(f"cut short at {num_bytes} bytes"), may_pass=True)
    return Refusal(_too_short(task, num_bytes))


def _is_framed(reply: Reply) -> bool:
    """Tell whether a body of no announced length came to an end that the server gave it."""
    return reply.is_kept or "chunked" in reply.headers.get("transfer-encoding", "")


def _too_short(task: Task, num_bytes: int | None) -> ChangedError:
    """Say that a file lacks what was asked for: it became shorter, or its length was told wrong."""
    where = "" if num_bytes is None else f" at byte {num_bytes}"
    return ChangedError(f"the file ends{where}, before {task.get.stop or task.get.start + 1}")


def _changed() -> Refusal:
    return Refusal(ChangedError("the file is another one than before"))


def _ignored_range() -> Refusal:
    return Refusal(NoRangesError("the server ignores ranges"), may_pass=True)
