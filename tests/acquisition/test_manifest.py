import signal
import sqlite3
import subprocess
import sys

import pandas as pd
import pytest
from processes import wait_until
from raising import refused

from oiv5_d2.acquisition.manifest import (
    MANIFEST_SQLITE,
    Outcome,
    State,
    num_to_retry,
    open_manifest,
    outcome_of,
    read_manifest,
)
from oiv5_d2.problems import Kind, Problem, Remedy

WHEN = "2019-05-08T10:00:00+00:00"
ROWS = [
    ("image", "train", Outcome("a.jpg", State.PRESENT, None, 7, "a0", "url/a.jpg", WHEN)),
    ("image", "train", Outcome("b.jpg", State.MISSING, Kind.ABSENT, source="url/b.jpg")),
    (
        "image",
        "train",
        Outcome("d.jpg", State.FAILED, Kind.REFUSED, source="url/d.jpg", detail='"no",\nit said'),
    ),
    ("image", "validation", Outcome("c.jpg", State.PRESENT, None, 9, "c0", "ürl", WHEN)),
    ("mask", "train", Outcome("a_1.png", State.PRESENT, None, 5, "a1", "url/a.zip", WHEN)),
    ("mask", "train", Outcome("b_1.png", State.CORRUPT, Kind.DAMAGED, source="url/b.zip")),
]
WANTED = pd.DataFrame(
    [(kind, split, outcome.name) for kind, split, outcome in ROWS],
    columns=["Kind", "Split", "Name"],
)


def record(data_dir, rows=ROWS):
    with open_manifest(data_dir) as manifest:
        for kind, split, outcome in rows:
            manifest.record(kind, split, [outcome])


def export(data_dir, wanted=WANTED):
    with open_manifest(data_dir) as manifest:
        manifest.export(wanted, data_dir / "manifest.csv")
    return (data_dir / "manifest.csv").read_bytes()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"present", b"presemt"),  # no state
        (b"refused", b"refusef"),  # no reason
        (b"files (", b"filez ("),
        (b"a.jpg", b"\xff\xfe\xff\xfe\xff"),
        (b"\r\0\0\0", b"\x99\0\0\0"),  # a page of another kind
    ],
)
def test_a_damaged_manifest_is_refused(tmp_path, old, new):
    record(tmp_path)
    path = tmp_path / MANIFEST_SQLITE
    path.write_bytes(path.read_bytes().replace(old, new))
    with refused(Kind.DAMAGED, remedy=Remedy.MOVE_AWAY, about=path), open_manifest(tmp_path) as it:
        it.known("image", "train")
        it.export(WANTED, tmp_path / "manifest.csv")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-4],
        lambda text: text.replace("State", "Stete"),
        lambda text: text.replace(",7,", ",,"),
        lambda text: text.replace(",7,", f",{'9' * 30},"),
        lambda text: "",
    ],
)
def test_a_damaged_table_of_the_manifest_is_refused(tmp_path, change):
    record(tmp_path)
    path = tmp_path / "manifest.csv"
    path.write_text(change(export(tmp_path).decode()))
    with refused(Kind.DAMAGED, remedy=Remedy.PREPARE_AGAIN, about=path):
        read_manifest(path)


def test_what_is_recorded_is_exported_in_order(tmp_path):
    record(tmp_path, ROWS[::-1])
    export(tmp_path)
    rows = read_manifest(tmp_path / "manifest.csv")
    columns = "Kind Split Path State Reason Detail Bytes BLAKE3 Source Fetched"
    assert rows.columns.tolist() == columns.split()
    assert rows[["Kind", "Split", "Path"]].to_numpy().tolist() == WANTED.to_numpy().tolist()
    for row, (_, _, outcome) in zip(rows.itertuples(), ROWS, strict=True):
        assert (row.State, row.Reason, row.Detail) == (
            outcome.state,
            outcome.reason or "",
            outcome.detail,
        )
        found = row.Bytes, row.BLAKE3, row.Source, row.Fetched
        assert found == outcome[3:7]
    assert num_to_retry(rows) == 2


def test_what_is_recorded_is_known_and_a_newer_row_replaces_an_older_one(tmp_path):
    record(tmp_path)
    newer = ROWS[0][2]._replace(checksum="new")
    record(tmp_path, [("image", "train", newer)])
    with open_manifest(tmp_path) as manifest:
        known = manifest.known("image", "train")
        assert known == {"a.jpg": newer, "b.jpg": ROWS[1][2], "d.jpg": ROWS[2][2]}
        assert manifest.known("image", "test") == {}


def test_the_same_rows_give_the_same_bytes_in_whatever_order(tmp_path):
    for name, rows in (("a", ROWS), ("b", ROWS[::-1])):
        record(tmp_path / name, rows)
    assert export(tmp_path / "a") == export(tmp_path / "b")


def test_only_wanted_files_are_exported_but_others_stay_known(tmp_path):
    record(tmp_path)
    export(tmp_path, WANTED.iloc[1:3])
    rows = read_manifest(tmp_path / "manifest.csv")
    assert rows["Path"].tolist() == ["b.jpg", "d.jpg"]
    with open_manifest(tmp_path) as manifest:
        assert manifest.export(WANTED.iloc[:2], tmp_path / "b.csv")["Path"].tolist() == [
            "a.jpg",
            "b.jpg",
        ]
        assert len(manifest.known("image", "train")) == 3


@pytest.mark.parametrize(
    ("kind", "state", "reason"),
    [
        (Kind.ABSENT, State.MISSING, Kind.ABSENT),
        (Kind.DAMAGED, State.CORRUPT, Kind.DAMAGED),
        (Kind.REFUSED, State.FAILED, Kind.REFUSED),
        (Kind.CHANGED, State.FAILED, Kind.CHANGED),
        (Kind.UNREACHABLE, State.FAILED, Kind.UNREACHABLE),
        (Kind.UNSUPPORTED, State.FAILED, Kind.UNSUPPORTED),
    ],
)
def test_each_kind_of_problem_has_its_state_and_reason(kind, state, reason):
    outcome = outcome_of("a.jpg", Problem(kind, "url/a.jpg", "facts"), "url/a.jpg")
    assert outcome == Outcome("a.jpg", state, reason, source="url/a.jpg", detail="facts")


def test_a_manifest_that_is_damaged_is_named(tmp_path):
    record(tmp_path)
    (tmp_path / MANIFEST_SQLITE).write_bytes(b"no database" * 100)
    with refused(Kind.DAMAGED, remedy=Remedy.MOVE_AWAY, about=tmp_path / MANIFEST_SQLITE):
        record(tmp_path)


@pytest.mark.parametrize(
    ("old", "new"),
    [  # found by fuzzing: a row that its key does not find, and a column more
        (b"imagetrainb.jpg", b"imagetrai\0b.jpg"),
        (b"detail TEXT", b"d,tail TEXT"),
    ],
)
def test_a_manifest_with_another_order_or_other_columns_is_damaged(tmp_path, old, new):
    record(tmp_path)
    data = (tmp_path / MANIFEST_SQLITE).read_bytes()
    assert data.count(old) == 1
    (tmp_path / MANIFEST_SQLITE).write_bytes(data.replace(old, new))
    with refused(Kind.DAMAGED, remedy=Remedy.MOVE_AWAY, about=tmp_path / MANIFEST_SQLITE):
        record(tmp_path)


def test_a_manifest_that_another_process_writes_is_busy(tmp_path, monkeypatch):
    record(tmp_path)
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path: connect(path, timeout=0.01))
    other = connect(tmp_path / MANIFEST_SQLITE)
    other.execute("BEGIN EXCLUSIVE")
    try:
        with refused(Kind.BUSY, remedy=Remedy.WAIT):
            record(tmp_path)
    finally:
        other.close()


CHILD = """
import sys
from pathlib import Path
from oiv5_d2.acquisition.manifest import Outcome, State, open_manifest
with open_manifest(Path(sys.argv[1])) as manifest:
    for number in range(1_000_000):
        batch = [Outcome(f"{number:06}-{each}", State.PRESENT) for each in range(100)]
        manifest.record("image", "train", batch)
        print(number, flush=True)
"""


def test_batches_are_there_whole_or_not_at_all_after_a_kill(tmp_path):
    said = tmp_path / "said"
    with said.open("w") as file:
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdout=file)
    wait_until(lambda: len(said.read_text().splitlines()) > 5, child)
    child.send_signal(signal.SIGKILL)
    child.wait()
    num_told = len(said.read_text().splitlines())
    with open_manifest(tmp_path) as manifest:
        num_rows = len(manifest.known("image", "train"))
    assert num_rows % 100 == 0
    assert num_told * 100 <= num_rows <= (num_told + 1) * 100
