import hashlib
import os
import random
import signal
import subprocess
import sys

import pytest
from processes import wait_until
from raising import refused
from servers import LONGER, PASSING, RESET, SHORTER, Fault, always, serve, sometimes

from oiv5_d2.acquisition.downloads import DOWNLOAD_PREFIX, download
from oiv5_d2.problems import Kind, Problem, Remedy

CONTENT = random.Random(0).randbytes(2_000_000)
MD5 = hashlib.md5(CONTENT).hexdigest()
HALF = 1_000_000


@pytest.fixture
def served(tmp_path):
    folder = tmp_path / "far"
    folder.mkdir()
    (folder / "a.zip").write_bytes(CONTENT)
    with serve(folder) as server:
        yield server


@pytest.fixture
def path(tmp_path):
    return tmp_path / "here" / "a.zip"


def fetch(bucket, path, md5=None):
    """Download, and return how many bytes were there before and how many came."""
    news = []
    download(bucket, "a.zip", path, lambda *numbers: news.append(numbers), md5)
    assert [other.name for other in path.parent.iterdir()] == [path.name]
    num_done, num_came = (sum(column) for column in zip(*((*n, 0)[:2] for n in news), strict=True))
    return num_done - num_came, num_came


def interrupt(served, bucket, path):
    """Let the connection end in the middle, for good."""
    served.faults = lambda request, chance: (
        (Fault(num_bytes=HALF) if request.num_before == 1 else Fault(403))
        if request.method == "GET"
        else None
    )
    with pytest.raises(Problem):
        download(bucket, "a.zip", path, lambda *numbers: None)
    served.faults = None
    served.log.clear()
    assert not path.exists()
    [temporary] = path.parent.iterdir()
    assert temporary.name.startswith(DOWNLOAD_PREFIX)
    return temporary


def test_a_file_appears_when_it_is_whole(served, connect, path):
    assert fetch(connect(served.url), path, MD5) == (0, len(CONTENT))
    assert path.read_bytes() == CONTENT


def test_a_file_comes_out_of_a_folder_as_well(served, connect, path):
    assert fetch(connect(str(served.folder)), path, MD5) == (0, len(CONTENT))
    assert path.read_bytes() == CONTENT


def test_what_came_is_not_asked_for_again(served, connect, path):
    bucket = connect(served.url)
    num_before = interrupt(served, bucket, path).stat().st_size
    assert 0 < num_before <= HALF
    assert fetch(connect(served.url), path, MD5) == (num_before, len(CONTENT) - num_before)
    assert path.read_bytes() == CONTENT
    assert [line.range for line in served.log if line.method == "GET"] == [f"bytes={num_before}-"]


def test_a_file_that_came_whole_but_has_no_name_yet_is_not_asked_for(served, connect, path):
    interrupt(served, connect(served.url), path).write_bytes(CONTENT)
    assert fetch(connect(served.url), path, MD5) == (len(CONTENT), 0)
    assert [line.method for line in served.log if line.method == "GET"] == []


@pytest.mark.parametrize("fault", [LONGER, SHORTER])
@pytest.mark.parametrize("num_came", [0, HALF, len(CONTENT) - 3, len(CONTENT)])
def test_a_length_that_was_told_wrong_gives_the_right_file(served, connect, path, fault, num_came):
    interrupt(served, connect(served.url), path).write_bytes(CONTENT[:num_came])
    served.faults = lambda request, chance: (
        fault if request.method == "HEAD" and len(served.log) < 2 else None
    )
    download(connect(served.url), "a.zip", path, lambda *numbers: None, MD5)
    assert path.read_bytes() == CONTENT
    asked = [line for line in served.log if line.method == "GET" and line.status != 416]
    if fault is LONGER:  # what came is not asked for again
        assert sum(line.num_bytes for line in asked) == len(CONTENT) - num_came


@pytest.mark.parametrize("change", ["content", "location", "no etag"])
def test_another_file_starts_over(served, connect, path, change):
    interrupt(served, connect(served.url), path)
    url = served.url
    if change == "content":
        (served.folder / "a.zip").write_bytes(CONTENT[::-1])
        os.utime(served.folder / "a.zip", ns=(1, 1))
    elif change == "location":
        url = url.replace("127.0.0.1", "localhost")
    else:
        served.faults = always(Fault(headers=(("ETag", ""),)))
    assert fetch(connect(url), path) == (0, len(CONTENT))
    assert path.read_bytes() == (served.folder / "a.zip").read_bytes()


def test_a_file_that_changes_on_the_way_starts_over(served, connect, path):
    def change(request, chance):
        if request.method == "GET" and request.num_before < 4:
            (served.folder / "a.zip").write_bytes(CONTENT[: -request.num_before])
            return RESET
        return None

    served.faults = change
    fetch(connect(served.url), path)
    assert path.read_bytes() == (served.folder / "a.zip").read_bytes()


def test_a_wrong_md5_leaves_nothing_and_is_not_asked_for_many_times(served, connect, path):
    with refused(Kind.DAMAGED, remedy=Remedy.FIX_SOURCE, about=MD5):
        download(connect(served.url), "a.zip", path, lambda *numbers: None, "0" * 32)
    assert not list(path.parent.iterdir())
    assert sum(line.method == "GET" for line in served.log) == 2


def test_a_file_that_is_longer_than_the_server_says_starts_over(served, connect, path):
    interrupt(served, connect(served.url), path).write_bytes(CONTENT + b"more")
    fetch(connect(served.url), path, MD5)
    assert path.read_bytes() == CONTENT


def test_an_absent_or_refused_file_is_a_problem(served, connect, path):
    with refused(Kind.ABSENT):
        download(connect(served.url), "b.zip", path, lambda *numbers: None)
    served.faults = always(Fault(403))
    with refused(Kind.REFUSED):
        download(connect(served.url), "a.zip", path, lambda *numbers: None)
    assert len(served.log) == 2


def test_an_empty_file_comes_too(served, connect, path):
    (served.folder / "a.zip").write_bytes(b"")
    assert fetch(connect(served.url), path) == (0, 0)
    assert path.read_bytes() == b""


def test_a_third_of_faults_brings_the_right_bytes(served, connect, path):
    served.faults = sometimes(0.3, tuple(fault for fault in PASSING if not fault.ignores_range))
    fetch(connect(served.url), path, MD5)
    assert path.read_bytes() == CONTENT


CHILD = """
import sys
from pathlib import Path
from oiv5_d2.acquisition.buckets import Bucket
from oiv5_d2.acquisition.transfer import Transfer
from oiv5_d2.acquisition.downloads import download
url, path = sys.argv[1:]
download(Bucket(url, Transfer()), "a.zip", Path(path), lambda *numbers: None)
"""


def test_a_killed_download_goes_on_where_it_stopped(served, connect, path):
    def arrived():
        return sum(other.stat().st_size for other in path.parent.glob(f"{DOWNLOAD_PREFIX}*"))

    served.faults = lambda request, chance: (
        Fault(num_bytes=HALF, is_held=True) if request.method == "GET" else None
    )
    child = subprocess.Popen([sys.executable, "-c", CHILD, served.url, str(path)])
    wait_until(lambda: arrived() > HALF // 2, child)
    child.send_signal(signal.SIGKILL)
    child.wait()
    served.faults, num_before = None, arrived()
    assert fetch(connect(served.url), path, MD5) == (num_before, len(CONTENT) - num_before)
    assert path.read_bytes() == CONTENT
