"""A release's tables, out of a folder and from servers good and bad."""

import csv
import gzip
import hashlib
import io
import logging
import os
import shutil
import subprocess
import sys

import pytest
from processes import wait_until
from raising import refused
from servers import LONGER, SHORTER, Fault, port_without_server, serve, sometimes

from oiv5_d2.acquisition import tables
from oiv5_d2.acquisition.buckets import Bucket
from oiv5_d2.acquisition.tables import bytes_to_download, fetch_tables, repaired
from oiv5_d2.acquisition.transfer import Transfer
from oiv5_d2.openimages.release import SPLITS, V5
from oiv5_d2.problems import Kind, Problem, Remedy
from oiv5_d2.selection.choice import Choice
from oiv5_d2.selection.select import needed_tables

FILES = needed_tables(V5, Choice(("Person",)))
BOXES, MASKS = V5.box_csv("train"), V5.mask_csv("train")
HASTY = Transfer(retry_config={"max_retries": 1, "backoff": {"init_backoff": "10ms"}})


def ignore(num_done, num_bytes=0, num_failed=0):
    pass


def bucket_of(server):
    return Bucket(server.url, HASTY)


def fetch(server, tables_dir, files=FILES, advance=ignore):
    return fetch_tables(bucket_of(server), files, tables_dir, advance)


def assert_not_mended(path, bucket, tables_dir):
    with refused(Kind.DAMAGED, about=path):
        paths = {file.path: tables_dir / file.path for file in FILES}
        repaired(Problem(Kind.DAMAGED, path), bucket, FILES, paths, tables_dir)


def downloaded(server):
    return sorted({access.path for access in server.log if access.method == "GET"})


def assert_same(root, bucket_dir, files=FILES):
    for file in files:
        assert (root / file.path).read_bytes() == (bucket_dir / file.path).read_bytes()


def visible(folder):
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(".json")
    )


def lengthen(path, num_bytes):
    """Write a table's rows again and again until it has so many bytes."""
    header, *rows = path.read_bytes().splitlines(keepends=True)
    block = b"".join(rows)
    path.write_bytes(header + block * (num_bytes // len(block) + 1))


# --- A folder ------------------------------------------------------------------------------------


def test_a_folder_is_read_in_place(bucket_dir, tables_dir):
    bucket = Bucket(str(bucket_dir), HASTY)
    assert fetch_tables(bucket, FILES, tables_dir, ignore) == {
        file.path: bucket_dir / file.path for file in FILES
    }
    assert not tables_dir.exists()


def test_a_table_that_is_missing_in_a_folder_is_named(bucket_dir, tables_dir):
    (bucket_dir / BOXES.path).unlink()
    with refused(Kind.ABSENT, remedy=Remedy.LAY_OUT_SOURCE, about=bucket_dir / BOXES.path):
        fetch_tables(Bucket(str(bucket_dir), HASTY), FILES, tables_dir, ignore)


def as_spreadsheet(path, **options):
    """Write a table as other programs do: columns turned round, one more, an index, all quoted."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    rows = [[str(number), *row[::-1], "more"] for number, row in enumerate(rows)]
    rows[0][0] = ""
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL, **options).writerows(rows)
    path.write_bytes(text.getvalue().encode("utf-8-sig"))


def test_a_table_of_another_form_is_written_anew_and_the_own_one_is_left(bucket_dir, tables_dir):
    bucket, path = Bucket(str(bucket_dir), HASTY), bucket_dir / BOXES.path
    released = path.read_bytes()
    as_spreadsheet(path)
    mine = path.read_bytes()
    found = fetch_tables(bucket, FILES, tables_dir, ignore)
    assert found[BOXES.path] == tables_dir / BOXES.path
    assert found[BOXES.path].read_bytes() == released
    assert visible(tables_dir) == [BOXES.path] and path.read_bytes() == mine
    written = found[BOXES.path].stat().st_mtime_ns
    fetch_tables(bucket, FILES, tables_dir, ignore)
    assert found[BOXES.path].stat().st_mtime_ns == written  # not again
    path.write_bytes(mine.replace(b"more", b"some"))
    fetch_tables(bucket, FILES, tables_dir, ignore)
    assert found[BOXES.path].stat().st_mtime_ns != written


def test_a_table_is_found_by_its_name_also_compressed(bucket_dir, tables_dir):
    bucket, path = Bucket(str(bucket_dir), HASTY), bucket_dir / BOXES.path
    released = path.read_bytes()
    (bucket_dir / "mine").mkdir()
    packed = bucket_dir / "mine" / f"{path.name}.gz"
    packed.write_bytes(gzip.compress(released))
    path.unlink()
    found = fetch_tables(bucket, FILES, tables_dir, ignore)
    assert found[BOXES.path].read_bytes() == released
    (bucket_dir / path.name).write_bytes(released)
    with refused(Kind.ABSENT, about=packed):
        fetch_tables(bucket, FILES, tables_dir, ignore)


def test_a_copy_replaces_no_file_that_is_there(bucket_dir, tables_dir):
    as_spreadsheet(bucket_dir / BOXES.path)
    path = tables_dir / BOXES.path
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with refused(Kind.FOREIGN, remedy=Remedy.MOVE_AWAY, about=path):
        fetch_tables(Bucket(str(bucket_dir), HASTY), FILES, tables_dir, ignore)
    assert path.read_text() == "mine"


# --- A server ------------------------------------------------------------------------------------


def test_tables_come_as_they_are_and_stay(bucket_dir, tables_dir):
    with serve(bucket_dir) as server:
        seen = []
        num_bytes = bytes_to_download(bucket_of(server), FILES, tables_dir)
        paths = fetch(server, tables_dir, advance=lambda *news: seen.append(news))
        assert paths == {file.path: tables_dir / file.path for file in FILES}
        assert_same(tables_dir, bucket_dir)
        assert sum(num_done for num_done, *_ in seen) == num_bytes
        assert num_bytes == sum((bucket_dir / file.path).stat().st_size for file in FILES)
        assert len(downloaded(server)) == len(FILES) == 2 + 4 * len(SPLITS)
        server.log.clear()
        assert bytes_to_download(bucket_of(server), FILES, tables_dir) == 0
        fetch(server, tables_dir)
        assert downloaded(server) == []


def test_a_server_that_errs_gives_the_same_bytes(bucket_dir, tables_dir):
    with serve(bucket_dir, sometimes(0.3), seed=3) as server:
        bucket = Bucket(server.url, Transfer(retry_config={"backoff": {"init_backoff": "10ms"}}))
        fetch_tables(bucket, FILES, tables_dir, ignore)
    assert_same(tables_dir, bucket_dir)
    assert visible(tables_dir) == sorted(file.path for file in FILES if ".json" not in file.path)


@pytest.mark.parametrize("fault", [LONGER, SHORTER])
def test_a_wrong_length_downloads_nothing_again(bucket_dir, tables_dir, fault):
    with serve(bucket_dir) as server:
        fetch(server, tables_dir)
        server.log.clear()
        server.faults = lambda request, chance: fault if request.method == "HEAD" else None
        fetch(server, tables_dir)
        assert downloaded(server) == []


def test_a_table_that_changed_is_downloaded_again_and_no_other(bucket_dir, tables_dir):
    with serve(bucket_dir) as server:
        fetch(server, tables_dir)
        server.log.clear()
        path = bucket_dir / BOXES.path
        path.write_text(path.read_text().replace(",0,0,0,0,0\n", ",1,0,0,0,0\n"))  # same length
        os.utime(path, ns=(1, 1))  # the clock of files may not have moved on
        assert bytes_to_download(bucket_of(server), FILES, tables_dir) == path.stat().st_size
        fetch(server, tables_dir)
        assert downloaded(server) == [BOXES.path]
    assert_same(tables_dir, bucket_dir)


def test_a_table_of_another_address_is_not_used(bucket_dir, tables_dir):
    with serve(bucket_dir) as server:
        fetch(server, tables_dir, [BOXES])
    with serve(bucket_dir) as mirror:
        fetch(mirror, tables_dir, [BOXES])
        assert downloaded(mirror) == [BOXES.path]


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"ImageID,"), os.unlink])
def test_a_table_that_was_cut_or_removed_here_is_downloaded_again(bucket_dir, tables_dir, damage):
    with serve(bucket_dir) as server:
        fetch(server, tables_dir)
        damage(tables_dir / BOXES.path)
        server.log.clear()
        fetch(server, tables_dir)
        assert downloaded(server) == [BOXES.path]
    assert_same(tables_dir, bucket_dir)


def test_a_note_that_cannot_be_read_is_no_note(bucket_dir, tables_dir):
    with serve(bucket_dir) as server:
        fetch(server, tables_dir, [BOXES])
        path = tables_dir / BOXES.path
        for text in ("", "{}", "[1]", '{"url": 1}'):
            tables._note_path(path).write_text(text)
            assert bytes_to_download(bucket_of(server), [BOXES], tables_dir) == path.stat().st_size
        fetch(server, tables_dir, [BOXES])
    assert_same(tables_dir, bucket_dir, [BOXES])


# --- No answer -----------------------------------------------------------------------------------


def test_without_the_server_the_downloaded_tables_are_used_with_one_warning(
    bucket_dir, tables_dir, caplog
):
    with serve(bucket_dir) as server:
        fetch(server, tables_dir)
    caplog.clear()
    with port_without_server(server.port):
        assert fetch(server, tables_dir)[BOXES.path] == tables_dir / BOXES.path
        [warning] = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert server.url in warning.getMessage()
        assert "\n" not in warning.getMessage()
        assert bytes_to_download(bucket_of(server), FILES, tables_dir) == 0


def test_without_the_server_a_table_that_is_not_here_is_named(bucket_dir, tables_dir):
    with serve(bucket_dir) as server:
        fetch(server, tables_dir, [MASKS])
    with port_without_server(server.port):
        for ask in (bytes_to_download, lambda *given: fetch_tables(*given, ignore)):
            with refused(Kind.UNREACHABLE, about=f"{server.url}/{BOXES.path}"):
                ask(bucket_of(server), [MASKS, BOXES], tables_dir)


def test_a_table_that_is_refused_now_is_used_and_does_not_stop_the_others(bucket_dir, tables_dir):
    with serve(bucket_dir) as server:
        fetch(server, tables_dir, [BOXES])
        server.faults = lambda request, chance: Fault(403) if request.path == BOXES.path else None
        fetch(server, tables_dir)
    assert_same(tables_dir, bucket_dir)


@pytest.mark.parametrize(("status", "kind"), [(404, Kind.ABSENT), (403, Kind.REFUSED)])
@pytest.mark.parametrize("file", [V5.class_csv, V5.hierarchy, BOXES])
def test_a_table_that_is_not_given_is_named_by_its_address(
    bucket_dir, tables_dir, file, status, kind
):
    def faults(request, chance):
        return Fault(status) if request.path == file.path else None

    with serve(bucket_dir, faults) as server:
        with refused(kind, remedy=Remedy.CHECK_ADDRESS, about=f"{server.url}/{file.path}"):
            fetch(server, tables_dir)
    assert not tables_dir.exists()


def test_a_table_that_is_gone_is_missing_although_it_is_here(bucket_dir, tables_dir):
    with serve(bucket_dir) as server:
        fetch(server, tables_dir)
        (bucket_dir / BOXES.path).unlink()
        with refused(Kind.ABSENT, about=BOXES.path):
            fetch(server, tables_dir)


# --- Damage, and other people's files ------------------------------------------------------------


def test_a_table_as_long_as_the_releases_has_its_md5_too(bucket_dir, tables_dir):
    data = (bucket_dir / BOXES.path).read_bytes()
    right, wrong = hashlib.md5(data).hexdigest(), "0" * 32
    with serve(bucket_dir) as server:
        with refused(Kind.DAMAGED, about=BOXES.path):
            fetch(server, tables_dir, [BOXES._replace(num_bytes=len(data), md5=wrong)])
        assert visible(tables_dir) == []
        fetch(server, tables_dir, [BOXES._replace(num_bytes=len(data), md5=right)])
        shutil.rmtree(tables_dir)
        mirrored = BOXES._replace(num_bytes=len(data) + 1, md5=wrong)  # a part of the release
        fetch(server, tables_dir, [mirrored])
    assert_same(tables_dir, bucket_dir, [BOXES])


def test_a_damaged_table_is_removed_and_downloaded_again(bucket_dir, tables_dir):
    with serve(bucket_dir) as server:
        fetch(server, tables_dir)
        assert_not_mended(tables_dir / BOXES.path, bucket_of(server), tables_dir)
        server.log.clear()
        fetch(server, tables_dir)
        assert downloaded(server) == [BOXES.path]


@pytest.mark.parametrize("by_link", [False, True])
def test_a_file_that_was_not_downloaded_is_never_replaced_or_removed(
    bucket_dir, tables_dir, tmp_path, by_link
):
    path, mine = tables_dir / BOXES.path, tmp_path / "mine.csv"
    path.parent.mkdir(parents=True)
    mine.write_text("mine")
    if by_link:
        path.symlink_to(mine)
    else:
        shutil.copy(mine, path)
    with serve(bucket_dir) as server:
        assert_not_mended(path, bucket_of(server), tables_dir)
        with refused(Kind.FOREIGN, remedy=Remedy.MOVE_AWAY, about=path):
            fetch(server, tables_dir)
    assert path.read_text() == mine.read_text() == "mine"


# --- Stopped -------------------------------------------------------------------------------------


class Stopped(Exception):
    pass


def stop(num_done, num_bytes=0, num_failed=0):
    if num_bytes:
        raise Stopped


def test_a_stopped_run_goes_on_at_the_byte_that_it_had(bucket_dir, tables_dir):
    lengthen(bucket_dir / MASKS.path, 6_000_000)
    with serve(bucket_dir) as server:
        with pytest.raises(Stopped):
            fetch(server, tables_dir, [MASKS], stop)
        [temporary] = visible(tables_dir)
        num_bytes = (tables_dir / temporary).stat().st_size
        assert 0 < num_bytes < 6_000_000
        fetch(server, tables_dir, [MASKS])
        gets = [access for access in server.log if access.method == "GET"]
    assert gets[-1].range == f"bytes={num_bytes}-"
    assert_same(tables_dir, bucket_dir, [MASKS])


KILLED = """
import sys
from pathlib import Path
from oiv5_d2.acquisition.buckets import Bucket
from oiv5_d2.acquisition.transfer import Transfer
from oiv5_d2.acquisition.tables import fetch_tables
from oiv5_d2.openimages.release import V5

files = [V5.mask_csv("train"), V5.box_csv("train")]
bucket = Bucket(sys.argv[1], Transfer(retry_config={"backoff": {"init_backoff": "10ms"}}))
fetch_tables(bucket, files, Path(sys.argv[2]), lambda num_done, num_bytes=0, num_failed=0: None)
"""


@pytest.mark.slow
def test_killed_again_and_again_under_faults_the_bytes_are_the_same(bucket_dir, tables_dir):
    for file in (MASKS, BOXES):
        lengthen(bucket_dir / file.path, 12_000_000)
    errs, limits = sometimes(0.3), {}

    def faults(request, chance):
        """Err at times, and fall silent at a table's limit, so that no run gets past it."""
        fault = errs(request, chance) or Fault()
        if request.path not in limits or fault.status or fault.num_bytes is not None:
            return fault
        start = int("".join(filter(str.isdigit, request.headers.get("range", ""))) or 0)
        return fault._replace(num_bytes=max(0, limits[request.path] - start), is_held=True)

    with serve(bucket_dir, faults, seed=1) as server:
        command = [sys.executable, "-c", KILLED, server.url, str(tables_dir)]
        for file, places in [(MASKS, (2, 5, 8, 11)), (BOXES, (2, 6, 10))]:
            for place in places:
                limits = {file.path: place * 1_000_000}
                kill_at(command, tables_dir, limits[file.path] - 500_000)
        limits = {}
        subprocess.run(command, check=True, capture_output=True)
    assert visible(tables_dir) == sorted([MASKS.path, BOXES.path])
    assert_same(tables_dir, bucket_dir, [MASKS, BOXES])


def kill_at(command, tables_dir, num_bytes):
    """Kill a run when so many bytes of the table that is on its way are there."""

    def has_come():
        coming = tables_dir.rglob(".download-*")
        return num_bytes <= sum(path.stat().st_size for path in coming if path.exists())

    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(has_come, process)
        finally:
            process.kill()


def test_a_damaged_table_of_a_folder_has_to_be_fixed_there(tmp_path):
    problem = Problem(Kind.DAMAGED, tmp_path / "tree.json", remedy=Remedy.FETCH_AGAIN)
    with refused(Kind.DAMAGED, remedy=Remedy.FIX_SOURCE):
        repaired(problem, Bucket(str(tmp_path), HASTY), [], {}, tmp_path)
