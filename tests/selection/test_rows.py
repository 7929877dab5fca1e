"""One release, from a folder and from servers good and bad: the same subset, byte for byte."""

import logging
import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from processes import wait_until
from servers import (
    LONGER,
    NO_ANSWER,
    SHORTER,
    Fault,
    always,
    port_without_server,
    serve,
    sometimes,
)

from oiv5_d2.acquisition.stores import FolderStore, HttpStore, StoreError, Transfer
from oiv5_d2.openimages import release
from oiv5_d2.selection.subset import num_bytes_to_read, save, select

WANTED = ["Person", "Traffic light", "Car", "Traffic sign"]
BOXES, MASKS = release.box_csv("train"), release.mask_csv("train")
HASTY = {"tries": 2}


def open_http(server, **transfer):
    return HttpStore(server.url, Transfer(pause_seconds=0.01, **transfer), seed=0)


def saved(subsets, subset_dir):
    """Save subsets; return what every file of theirs holds."""
    for subset in subsets.values():
        save(subset, subset_dir)
    files = {path.name: path.read_bytes() for path in subset_dir.iterdir()}
    shutil.rmtree(subset_dir)
    return files


def select_saved(annotations, tmp_path, **options):
    subsets = select(annotations, WANTED, tables_dir=tmp_path / "tables", **options)
    return saved(subsets, tmp_path / "subset")


def fetched(server):
    return [access.path for access in server.log if access.method == "GET"]


def arriving(tables_dir):
    return list(tables_dir.rglob(".arriving-*"))


def lengthen(path, num_bytes):
    """Write a table's rows again and again until it has so many bytes."""
    header, *rows = path.read_bytes().splitlines(keepends=True)
    block = b"".join(rows)
    path.write_bytes(header + block * (num_bytes // len(block) + 1))


# --- The same bytes ------------------------------------------------------------------------------


@pytest.mark.parametrize("only_masked", [True, False])
def test_a_server_gives_the_same_bytes_as_a_folder(bucket_dir, tmp_path, only_masked):
    options = {"only_masked": only_masked, "require": ["IsOccluded"], "limit_per_class": 3}
    plain = select_saved(bucket_dir, tmp_path, **options)
    assert select_saved(FolderStore(bucket_dir), tmp_path, **options) == plain
    assert not (tmp_path / "tables").exists()  # a folder is read in place
    with serve(bucket_dir) as server:
        assert select_saved(open_http(server), tmp_path, **options) == plain
        assert len(fetched(server)) == len(set(fetched(server))) == 2 + 3 * 4


def test_a_server_that_errs_gives_the_same_bytes(bucket_dir, tmp_path):
    plain = select_saved(bucket_dir, tmp_path, splits="train")
    with serve(bucket_dir, sometimes(0.5), seed=3) as server:
        assert select_saved(open_http(server, tries=20), tmp_path, splits="train") == plain
        num_asked = len(server.log)
    shutil.rmtree(tmp_path / "tables")
    with serve(bucket_dir) as server:
        select_saved(open_http(server), tmp_path, splits="train")
        assert len(server.log) < num_asked
    assert not arriving(tmp_path)


def test_what_is_here_is_not_fetched_again_whatever_is_chosen_of_it(bucket_dir, tmp_path):
    with serve(bucket_dir) as server:
        first_time = select_saved(open_http(server), tmp_path, splits="train")
        server.log.clear()
        assert select_saved(open_http(server), tmp_path, splits="train") == first_time
        options = {"splits": "train", "limit_per_class": 1, "exclude": ["IsTruncated"]}
        chosen = select_saved(open_http(server), tmp_path, **options)
        assert chosen == select_saved(bucket_dir, tmp_path, **options)
        assert fetched(server) == []
        assert len(server.log) > 0  # it was asked whether all is still the same


@pytest.mark.parametrize("fault", [LONGER, SHORTER])
def test_what_is_here_is_not_fetched_again_because_a_length_is_told_wrong(
    bucket_dir, tmp_path, fault
):
    with serve(bucket_dir) as server:
        plain = select_saved(open_http(server), tmp_path)
        server.log.clear()
        server.faults = lambda request, chance: fault if request.method == "HEAD" else None
        assert select_saved(open_http(server), tmp_path) == plain
        assert fetched(server) == []


def test_tables_that_are_kept_serve_other_classes_without_a_server(bucket_dir, tmp_path):
    with serve(bucket_dir) as server:
        select_saved(open_http(server), tmp_path, keep_tables=True)
        server.log.clear()
        options = {"classes": ["Bus", "Bicycle"], "only_masked": False, "splits": "train"}
        subsets = select(open_http(server), tables_dir=tmp_path / "tables", **options)
        assert fetched(server) == []
    assert saved(subsets, tmp_path / "subset") == saved(
        select(bucket_dir, **options), tmp_path / "subset"
    )
    for file in (MASKS, BOXES, release.image_csv("test"), release.CLASS_CSV):
        kept = tmp_path / "tables" / "original" / file.path
        assert kept.read_bytes() == (bucket_dir / file.path).read_bytes()


def test_progress_adds_up_to_what_was_announced(bucket_dir, tmp_path):
    with serve(bucket_dir) as server:
        for only_masked in (True, True, False):
            seen = []
            select_saved(open_http(server), tmp_path, only_masked=only_masked, advance=seen.append)
            assert sum(seen) == num_bytes_to_read(
                open_http(server), release.SPLITS, only_masked, tmp_path / "tables"
            )


# --- Another table, or no server -----------------------------------------------------------------


def test_a_table_that_changed_is_fetched_anew_and_no_other(bucket_dir, tmp_path):
    with serve(bucket_dir) as server:
        select_saved(open_http(server), tmp_path)
        server.log.clear()
        path = bucket_dir / BOXES.path
        path.write_text(path.read_text().replace(",0,0,0,0,0\n", ",1,0,0,0,0\n"))  # as long
        os.utime(path, ns=(1, 1))  # the clock of files may not have moved on
        changed = select_saved(open_http(server), tmp_path)
        assert changed == select_saved(bucket_dir, tmp_path)
        assert fetched(server) == [BOXES.path]


def test_a_table_that_changes_while_it_arrives_is_fetched_anew(bucket_dir, tmp_path, caplog):
    other = Fault(num_bytes=1000, etag="other")
    hits = []

    def change_once(request, chance):
        if request.path != BOXES.path or request.method == "HEAD" or hits:
            return None
        hits.append(request)
        return other

    with serve(bucket_dir, change_once) as server:
        again = select_saved(open_http(server), tmp_path, splits="train")
    assert again == select_saved(bucket_dir, tmp_path, splits="train")
    assert f"{server.url}/{BOXES.path}: " in caplog.text
    assert "fetched anew" in caplog.text


def test_a_server_without_ranges_is_asked_for_the_whole_table_again(bucket_dir, tmp_path, caplog):
    cut, whole = Fault(num_bytes=1000, ignores_range=True), Fault(ignores_range=True)

    def give_whole(request, chance):
        return cut if request.path == BOXES.path and request.num_before < 4 else whole

    with serve(bucket_dir, give_whole) as server:
        subset = select_saved(open_http(server), tmp_path, splits="train")
    assert subset == select_saved(bucket_dir, tmp_path, splits="train")
    assert "the server ignores ranges" in caplog.text
    assert "fetched anew" in caplog.text
    assert not arriving(tmp_path)


def test_without_the_server_what_is_here_is_used_with_a_warning(bucket_dir, tmp_path, caplog):
    with serve(bucket_dir) as server:
        first_time = select_saved(open_http(server), tmp_path)
    caplog.clear()
    with port_without_server(server.port):
        gone = open_http(server, **HASTY)
        assert select_saved(gone, tmp_path) == first_time
        num_bytes = num_bytes_to_read(gone, release.SPLITS, tables_dir=tmp_path / "tables")
    [warning] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert server.url in warning.getMessage()
    assert "The tables that arrived earlier are used" in warning.getMessage()
    assert "\n" not in warning.getMessage()
    assert num_bytes == sum(
        (bucket_dir / table(split).path).stat().st_size
        for split in release.SPLITS
        for table in (
            release.mask_csv,
            release.box_csv,
            release.image_label_csv,
            release.image_csv,
        )
    )


def test_each_table_is_asked_about_once(bucket_dir, tmp_path):
    with serve(bucket_dir) as server:
        select_saved(open_http(server), tmp_path)
        heads = [access.path for access in server.log if access.method == "HEAD"]
    assert len(heads) == len(set(heads)) == 2 + 3 * 4


def test_a_server_that_gave_no_answer_is_left_alone_by_what_is_not_here(bucket_dir, tmp_path):
    """The class table is here; it is asked about in vain, and the table of masks not at all."""
    with serve(bucket_dir) as server:
        select_saved(open_http(server), tmp_path, splits="train")
        for path in (tmp_path / "tables").glob("*.parquet"):
            path.unlink()
        server.faults = always(NO_ANSWER)
        server.log.clear()
        with pytest.raises(StoreError, match=MASKS.path):
            select_saved(open_http(server, tries=2), tmp_path, splits="train")
        assert len(server.log) == 2


def test_a_table_that_is_refused_now_keeps_none_from_coming(bucket_dir, tmp_path, caplog):
    with serve(bucket_dir) as server:
        first_time = select_saved(open_http(server), tmp_path, splits="train")
        for path in (tmp_path / "tables").glob(f"{Path(MASKS.path).stem}-*.parquet"):
            path.unlink()
        refused = (release.CLASS_CSV.path, BOXES.path)
        server.faults = lambda request, chance: Fault(403) if request.path in refused else None
        server.log.clear()
        assert select_saved(open_http(server), tmp_path, splits="train") == first_time
        asked = [line.path for line in server.log]
    assert MASKS.path in asked
    assert [asked.count(path) for path in refused] == [1, 1]
    told = [line for line in caplog.messages if "403 Forbidden. The tables that arrived" in line]
    assert [line.partition(": ")[0] for line in told] == [
        f"{server.url}/{path}" for path in refused
    ]


def test_without_the_server_and_without_the_table_it_is_named(bucket_dir, tmp_path):
    with serve(bucket_dir) as server:
        select_saved(open_http(server), tmp_path, splits="test")
    with port_without_server(server.port):
        with pytest.raises(StoreError) as caught:
            select_saved(open_http(server, **HASTY), tmp_path, splits="train")
        with pytest.raises(StoreError, match=server.url):
            num_bytes_to_read(open_http(server, **HASTY), ["train"], tables_dir=tmp_path / "tables")
    assert str(caught.value).startswith(server.url)
    assert "\n" not in str(caught.value)


# --- Stopped -------------------------------------------------------------------------------------


class Stopped(Exception):
    pass


def stop(num_bytes):
    raise Stopped


def test_a_stopped_run_goes_on_at_the_byte_that_it_had(bucket_dir, tmp_path, tables_dir):
    for file in (MASKS, BOXES):
        lengthen(bucket_dir / file.path, 6_000_000)
    plain = select_saved(bucket_dir, tmp_path, splits="train")
    with serve(bucket_dir) as server:
        starts = []
        for _ in range(2):
            with pytest.raises(Stopped):
                select_saved(open_http(server), tmp_path, splits="train", advance=stop)
            [part] = arriving(tables_dir)
            starts.append(part.stat().st_size)
            assert not list(tables_dir.glob("*.parquet"))
        assert select_saved(open_http(server), tmp_path, splits="train") == plain
        gets = [line for line in server.log if line.path == MASKS.path and line.method == "GET"]
    assert 0 < starts[0] < 6_000_000
    assert gets[0].range == ""
    assert gets[-1].range == f"bytes={starts[-1]}-"
    assert not arriving(tables_dir)


def test_what_the_server_breaks_off_for_good_is_kept_for_the_next_run(bucket_dir, tmp_path):
    tables_dir = tmp_path / "tables"

    def break_off(request, chance):
        if request.path != MASKS.path or request.method == "HEAD":
            return None
        return Fault(503) if "range" in request.headers else Fault(num_bytes=2000)

    with serve(bucket_dir, break_off) as server:
        with pytest.raises(StoreError) as caught:
            select_saved(open_http(server, tries=2), tmp_path, splits="train")
        assert str(caught.value).startswith(f"{server.url}/{MASKS.path}: ")
        assert "run the same command again" in str(caught.value)
        assert "\n" not in str(caught.value)
        [part] = arriving(tables_dir)
        assert part.stat().st_size == 2000
        server.faults = None
        plain = select_saved(bucket_dir, tmp_path, splits="train")
        assert select_saved(open_http(server), tmp_path, splits="train") == plain
        assert server.log[-1].status in (200, 206)
        assert any(line.range == "bytes=2000-" and line.status == 206 for line in server.log)


KILLED = """
import sys
from pathlib import Path
from oiv5_d2.acquisition.stores import HttpStore, Transfer
from oiv5_d2.selection.subset import save, select

transfer = Transfer(pause_seconds=0.01, max_bytes_per_second=10_000_000, tries=20)
store = HttpStore(sys.argv[1], transfer)
subsets = select(store, sys.argv[4:], splits="train", tables_dir=Path(sys.argv[2]))
save(subsets["train"], Path(sys.argv[3]))
"""


@pytest.mark.slow
def test_killed_again_and_again_under_faults_the_bytes_are_the_same(bucket_dir, tmp_path):
    tables_dir = tmp_path / "tables"
    for file in (MASKS, BOXES):
        lengthen(bucket_dir / file.path, 12_000_000)
    plain = select_saved(bucket_dir, tmp_path, splits="train")
    errs, limits = sometimes(0.3), {}

    def faults(request, chance):
        """Err at times, and fall silent at a table's limit, so that no run gets past it."""
        fault = errs(request, chance) or Fault()
        if request.path not in limits or fault.status or fault.num_bytes is not None:
            return fault
        start = int(re.sub("[^0-9]", "", request.headers.get("range", "0")))
        return fault._replace(num_bytes=max(0, limits[request.path] - start), is_held=True)

    with serve(bucket_dir, faults, seed=1) as server:
        command = [sys.executable, "-c", KILLED, server.url, str(tables_dir)]
        command += [str(tmp_path / "subset"), *WANTED]
        sizes = []
        for file, places in [(MASKS, (2, 5, 8, 11)), (BOXES, (2, 6, 10))]:
            for place in places:
                limits = {file.path: place * 1_000_000}
                sizes.append(kill_at(command, tables_dir, file, limits[file.path] - 500_000))
        limits = {}
        subprocess.run(command, check=True, capture_output=True)
        ranges = [line.range for line in server.log if line.method == "GET"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "subset").iterdir()} == plain
    assert not arriving(tables_dir)
    for size in sizes:  # each run went on where the one before was killed
        assert f"bytes={size}-" in ranges


def kill_at(command, tables_dir, file, num_bytes):
    """Kill a run when so many bytes of a table have come; return where it was."""

    def has_come():
        with suppress(FileNotFoundError):  # one that is whole has another name
            return num_bytes <= sum(
                path.stat().st_size
                for path in arriving(tables_dir)
                if path.name.endswith(Path(file.path).name)
            )

    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(has_come, process)
        finally:
            process.kill()
    [part] = arriving(tables_dir)
    return part.stat().st_size


# --- What is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("file", [release.CLASS_CSV, release.HIERARCHY_JSON, BOXES, MASKS])
def test_a_missing_file_is_named_by_its_address(bucket_dir, tmp_path, file):
    (bucket_dir / file.path).unlink()
    with serve(bucket_dir) as server, pytest.raises(FileNotFoundError) as caught:
        select_saved(open_http(server), tmp_path, splits="train")
    assert str(caught.value).startswith(f"{server.url}/{file.path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: data.replace(b"\n", b"\nx", 5), "line 2: "),
        (lambda data: data[:-9], "the file ends in the middle of a line"),
        (lambda data: b"<html>not a table</html>\n", "line 1: the header line is missing"),
        (lambda data: b"", "line 1: the file is empty"),
    ],
)
def test_a_damaged_table_is_refused_by_address_and_line_and_mended_next_time(
    bucket_dir, tmp_path, tables_dir, damage, said
):
    path = bucket_dir / BOXES.path
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    with serve(bucket_dir) as server:
        with pytest.raises(ValueError, match=r"train-annotations-bbox\.csv: line ") as caught:
            select_saved(open_http(server), tmp_path, splits="train")
        assert str(caught.value).startswith(f"{server.url}/{BOXES.path}: line ")
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)
        assert not arriving(tables_dir)
        assert not list(tables_dir.glob("*bbox*"))
        path.write_bytes(whole)
        plain = select_saved(bucket_dir, tmp_path, splits="train")
        assert select_saved(open_http(server), tmp_path, splits="train") == plain


def test_a_server_needs_a_folder_for_the_tables(bucket_dir):
    with serve(bucket_dir) as server, pytest.raises(ValueError, match="tables_dir: the tables of"):
        select(open_http(server), WANTED)
