import hashlib
import os
import shutil
import subprocess
import sys

import pandas as pd
import pytest
from oiv5_d2.acquisition.tables.arrivals import ArrivingTables
from oiv5_d2.acquisition.tables.sources import FolderTables
from servers import SHORTER, Fault, serve

from oiv5_d2.acquisition.stores import ChangedError, FolderStore, HttpStore, Transfer
from oiv5_d2.files import sha256
from oiv5_d2.openimages import readers, release
from oiv5_d2.openimages.classes import read_classes, read_hierarchy

# A bucket in a folder, taken for one far away: what a server does with it is tested further below.

CAR, VAN = "/m/0k4j", "/m/0h2r6"
BOXES = release.box_csv("train")
COLUMNS = ["ImageID", "LabelName", "XMin", *release.ATTRIBUTES]
KINDS = {
    "masks": (readers.read_masks, release.mask_csv, ["LabelName", "BoxXMin", "PredictedIoU"]),
    "boxes": (readers.read_boxes, release.box_csv, COLUMNS),
    "labels": (readers.read_image_labels, release.image_label_csv, ["LabelName", "Confidence"]),
    "images": (readers.read_images, release.image_csv, ["Title", "Rotation"]),
}


class CountingStore(FolderStore):
    """A folder that notes what is read of it."""

    def __init__(self, root):
        super().__init__(root)
        self.asked = []

    def stream(self, key, start=0, etag=""):
        self.asked.append(key)
        yield from super().stream(key, start, etag)

    def read(self, key, *part):
        self.asked.append(key)
        return super().read(key, *part)


def open_arriving(bucket_dir, tables_dir, keep_originals=False):
    return ArrivingTables(CountingStore(bucket_dir), tables_dir, keep_originals)


def take(source, kind="boxes", labels=(CAR, VAN), image_ids=None, advance=lambda _: None, **file):
    """Return the rows of a table of the train split, and the table's fingerprint."""
    read, table, columns = KINDS[kind]
    frames = source.frames(
        read,
        table("train")._replace(**file),
        ["ImageID", *(name for name in columns if name != "ImageID")],
        labels=None if kind == "images" else labels,
        image_ids=image_ids,
        advance=advance,
    )
    rows = []
    while True:
        try:
            rows.append(next(frames))
        except StopIteration as end:
            return pd.concat(rows, ignore_index=True), end.value


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# --- Rows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_arrive_are_the_rows_in_the_folder(bucket_dir, tables_dir, kind):
    local, arriving = FolderTables(bucket_dir), open_arriving(bucket_dir, tables_dir)
    rows, fingerprint = take(local, kind)
    assert len(rows) > 0
    for _ in range(2):  # as they arrive, and as they were kept
        pd.testing.assert_frame_equal(take(arriving, kind)[0], rows)
        assert take(arriving, kind)[1] == fingerprint
    some = rows["ImageID"].iloc[[0, -1]]
    pd.testing.assert_frame_equal(
        take(arriving, kind, image_ids=some)[0], take(local, kind, image_ids=some)[0]
    )
    assert arriving._store.asked == [KINDS[kind][1]("train").path]


@pytest.mark.parametrize("kind", KINDS)
def test_no_rows_have_columns_and_types(bucket_dir, tables_dir, kind):
    local, arriving = FolderTables(bucket_dir), open_arriving(bucket_dir, tables_dir)
    for options in ({"labels": ["/m/none"]}, {"image_ids": []}):
        expected = take(local, kind, **options)[0].iloc[:0]
        pd.testing.assert_frame_equal(take(arriving, kind, **options)[0].iloc[:0], expected)


def test_other_labels_and_columns_are_kept_apart(bucket_dir, tables_dir):
    arriving = open_arriving(bucket_dir, tables_dir)
    cars, vans = (take(arriving, labels=[mid])[0] for mid in (CAR, VAN))
    assert set(cars["LabelName"]) == {CAR}
    assert set(vans["LabelName"]) <= {VAN}
    assert len(names(tables_dir)) == 2
    assert set(take(arriving, labels={VAN, CAR})[0]["LabelName"]) >= {CAR}
    assert take(arriving, labels=[CAR, VAN, CAR])[1] == take(arriving)[1]  # the same labels
    assert len(names(tables_dir)) == 3


def test_the_same_table_gives_the_same_file(bucket_dir, tmp_path):
    for name in ("a", "b"):
        take(open_arriving(bucket_dir, tmp_path / name))
    assert names(tmp_path / "a") == names(tmp_path / "b")
    [name] = names(tmp_path / "a")
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_nothing_is_left_but_the_rows(bucket_dir, tables_dir):
    take(open_arriving(bucket_dir, tables_dir))
    [name] = names(tables_dir)
    assert name.startswith("train-annotations-bbox-")
    assert name.endswith(".parquet")


def test_progress_counts_each_table_once_whether_it_arrives_or_is_here(bucket_dir, tables_dir):
    for _ in range(2):
        arriving, seen = open_arriving(bucket_dir, tables_dir), []
        for _ in range(3):
            take(arriving, advance=seen.append)
        num_bytes = arriving.num_bytes_to_read([BOXES, BOXES])
        assert sum(seen) == num_bytes == (bucket_dir / BOXES.path).stat().st_size


# --- The same table, or another ------------------------------------------------------------------


def change(path, num_bytes_same=False):
    """Change the last row, or write it once more."""
    rows = path.read_text().splitlines(keepends=True)
    if num_bytes_same:
        rows[-1] = rows[-1].replace(",0,", ",1,", 1)
    else:
        rows.append(rows[-1])
    path.write_text("".join(rows))


@pytest.mark.parametrize("num_bytes_same", [True, False])
def test_a_changed_table_arrives_anew(bucket_dir, tables_dir, num_bytes_same):
    _, old = take(open_arriving(bucket_dir, tables_dir))
    change(bucket_dir / BOXES.path, num_bytes_same)
    os.utime(bucket_dir / BOXES.path, ns=(1, 1))  # the clock of files may not have moved on
    arriving = open_arriving(bucket_dir, tables_dir)
    _, new = take(arriving)
    assert arriving._store.asked == [BOXES.path]
    assert new == take(FolderTables(bucket_dir))[1] != old
    assert (new["bytes"] == old["bytes"]) == num_bytes_same
    assert len(names(tables_dir)) == 1


def test_a_table_of_another_place_is_not_taken_for_this_one(bucket_dir, tables_dir, tmp_path):
    take(open_arriving(bucket_dir, tables_dir, keep_originals=True))
    shutil.copytree(bucket_dir, tmp_path / "mirror")
    mirror = open_arriving(tmp_path / "mirror", tables_dir)
    take(mirror)
    assert mirror._store.asked == [BOXES.path]


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-40], lambda data: b"", lambda data: data[:9]]
)
def test_cached_rows_that_are_cut_are_made_again(bucket_dir, tables_dir, damage):
    rows, _ = take(open_arriving(bucket_dir, tables_dir))
    [path] = tables_dir.glob("*.parquet")
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    pd.testing.assert_frame_equal(take(open_arriving(bucket_dir, tables_dir))[0], rows)
    assert path.read_bytes() == whole


def test_cached_rows_with_a_changed_byte_are_refused_with_the_remedy(bucket_dir, tables_dir):
    take(open_arriving(bucket_dir, tables_dir))
    [path] = tables_dir.glob("*.parquet")
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="cached rows are damaged") as caught:
        take(open_arriving(bucket_dir, tables_dir))
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).endswith("Delete the file")
    assert "\n" not in str(caught.value)


# --- Whole tables --------------------------------------------------------------------------------


def test_a_table_that_is_kept_is_as_it_came_and_serves_every_choice(bucket_dir, tables_dir):
    arriving = open_arriving(bucket_dir, tables_dir, keep_originals=True)
    take(arriving)
    kept = tables_dir / "original" / BOXES.path
    assert kept.read_bytes() == (bucket_dir / BOXES.path).read_bytes()
    again = open_arriving(bucket_dir, tables_dir)
    rows, fingerprint = take(again, labels=[VAN])
    assert again._store.asked == []
    assert fingerprint == take(FolderTables(bucket_dir))[1]
    pd.testing.assert_frame_equal(rows, take(FolderTables(bucket_dir), labels=[VAN])[0])
    assert kept.exists()


def test_a_table_that_is_to_be_kept_comes_again_where_only_its_rows_were(bucket_dir, tables_dir):
    first_time = take(open_arriving(bucket_dir, tables_dir))
    kept = tables_dir / "original" / BOXES.path
    for asked in ([BOXES.path], []):
        arriving = open_arriving(bucket_dir, tables_dir, keep_originals=True)
        rows, fingerprint = take(arriving)
        pd.testing.assert_frame_equal(rows, first_time[0])
        assert fingerprint == first_time[1]
        assert arriving._store.asked == asked
        assert kept.read_bytes() == (bucket_dir / BOXES.path).read_bytes()


def test_a_kept_table_that_was_changed_here_is_refused(bucket_dir, tables_dir):
    take(open_arriving(bucket_dir, tables_dir, keep_originals=True))
    kept = tables_dir / "original" / BOXES.path
    change(kept, num_bytes_same=True)
    with pytest.raises(ValueError, match="it is not what") as caught:
        take(open_arriving(bucket_dir, tables_dir), labels=[VAN])
    assert str(kept) in str(caught.value)
    assert len(list(tables_dir.glob("*.parquet"))) == 1
    assert not list(tables_dir.glob(".part*"))


def test_a_kept_table_that_changed_far_away_is_replaced(bucket_dir, tables_dir):
    take(open_arriving(bucket_dir, tables_dir, keep_originals=True))
    change(bucket_dir / BOXES.path)
    take(open_arriving(bucket_dir, tables_dir, keep_originals=True))
    kept = tables_dir / "original" / BOXES.path
    assert kept.read_bytes() == (bucket_dir / BOXES.path).read_bytes()


def test_a_whole_table_left_behind_by_a_killed_run_is_removed(bucket_dir, tables_dir):
    take(open_arriving(bucket_dir, tables_dir))
    folder = (tables_dir / "original" / BOXES.path).parent
    whole = folder / f".arriving-0123456789ab-{(bucket_dir / BOXES.path).name}"
    shutil.copy(bucket_dir / BOXES.path, whole)
    begun = folder / f".arriving-ba9876543210-{(bucket_dir / BOXES.path).name}"
    begun.write_bytes(b"ImageID,")
    take(open_arriving(bucket_dir, tables_dir))
    assert not whole.exists()
    assert begun.exists()  # perhaps of another choice, which goes on with it


# --- Small files ---------------------------------------------------------------------------------


def test_small_files_are_kept_and_asked_for_once(bucket_dir, tables_dir):
    for file, parser in (
        (release.CLASS_CSV, read_classes),
        (release.HIERARCHY_JSON, read_hierarchy),
    ):
        local = FolderTables(bucket_dir).parse(file, parser)
        arriving = open_arriving(bucket_dir, tables_dir)
        assert [arriving.parse(file, parser) for _ in range(2)] == [local, local]
        assert open_arriving(bucket_dir, tables_dir).parse(file, parser) == local
        assert arriving._store.asked == [file.path]
        kept = tables_dir / "original" / file.path
        assert kept.read_bytes() == (bucket_dir / file.path).read_bytes()


def test_a_small_file_that_was_changed_here_is_fetched_again(bucket_dir, tables_dir):
    first = open_arriving(bucket_dir, tables_dir).parse(release.CLASS_CSV, read_classes)
    kept = tables_dir / "original" / release.CLASS_CSV.path
    kept.write_bytes(kept.read_bytes().replace(b"Car", b"Cat"))
    assert open_arriving(bucket_dir, tables_dir).parse(release.CLASS_CSV, read_classes) == first


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_small_file_whose_length_is_told_wrong_once_comes_whole(bucket_dir, tables_dir, method):
    told = []

    def faults(request, chance):
        told.append(request.method)
        return SHORTER if request.method == method and told.count(method) == 1 else None

    with serve(bucket_dir, faults) as server:
        store = HttpStore(server.url, Transfer(pause_seconds=0.01))
        source = ArrivingTables(store, tables_dir, False)
        found, fingerprint = source.parse(release.CLASS_CSV, read_classes)
        store.close()
    path = bucket_dir / release.CLASS_CSV.path
    assert found == read_classes(path)
    assert fingerprint == {"bytes": path.stat().st_size, "sha256": sha256(path)}


@pytest.mark.parametrize("file", [release.CLASS_CSV, release.HIERARCHY_JSON])
def test_a_damaged_small_file_is_refused_by_its_address_and_not_kept(bucket_dir, tables_dir, file):
    path = bucket_dir / file.path
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] + b"\n,")
    parser = read_classes if file.path.endswith("csv") else read_hierarchy
    with pytest.raises(ValueError, match="Fetch the file again") as caught:
        open_arriving(bucket_dir, tables_dir).parse(file, parser)
    assert str(caught.value).startswith(f"{path}: ")  # the bucket's location, and the key
    assert names(tables_dir) == []
    path.write_bytes(whole)
    open_arriving(bucket_dir, tables_dir).parse(file, parser)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("status", [403, 404])
def test_a_small_file_that_is_not_given_is_named_once(bucket_dir, tables_dir, method, status):
    with serve(bucket_dir, lambda request, _: Fault(status * (request.method == method))) as server:
        store = HttpStore(server.url, Transfer(pause_seconds=0.01))
        with pytest.raises(OSError) as caught:
            ArrivingTables(store, tables_dir, False).parse(release.CLASS_CSV, read_classes)
    assert str(caught.value).startswith(f"{server.url}/{release.CLASS_CSV.path}: ")
    assert str(caught.value).count(server.url) == 1


# --- What is refused -----------------------------------------------------------------------------


def test_a_damaged_table_is_refused_with_its_line_and_leaves_nothing(bucket_dir, tables_dir):
    path = bucket_dir / BOXES.path
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:5], "x" + lines[5], *lines[6:]]))
    with pytest.raises(ValueError, match=r"train-annotations-bbox\.csv: line 6: ") as caught:
        take(open_arriving(bucket_dir, tables_dir))
    assert str(caught.value).startswith(f"{path}: ")
    assert names(tables_dir) == []


class BoastingStore(FolderStore):
    """A bucket that announces more than it has."""

    def head(self, key):
        head = super().head(key)
        return head._replace(num_bytes=head.num_bytes + 7)


def test_a_table_that_is_shorter_than_announced_is_refused(bucket_dir, tables_dir):
    with pytest.raises(ChangedError) as caught:
        take(ArrivingTables(BoastingStore(bucket_dir), tables_dir, False))
    num_bytes = (bucket_dir / BOXES.path).stat().st_size
    said = f"{bucket_dir / BOXES.path}: {num_bytes} bytes came of {num_bytes + 7}"
    assert str(caught.value) == said
    assert names(tables_dir) == []


def test_a_missing_table_is_named_by_its_address(bucket_dir, tables_dir):
    (bucket_dir / BOXES.path).unlink()
    for ask in (take, lambda source: source.num_bytes_to_read([BOXES])):
        with pytest.raises(FileNotFoundError) as caught:
            ask(open_arriving(bucket_dir, tables_dir))
        assert str(caught.value).startswith(f"{bucket_dir / BOXES.path}: this file of the release")
    assert names(tables_dir) == []


def test_a_table_as_long_as_the_releases_has_its_md5_too(bucket_dir, tables_dir):
    data = (bucket_dir / BOXES.path).read_bytes()
    right, wrong = hashlib.md5(data).hexdigest(), "0" * 32
    with pytest.raises(ValueError, match=f"its MD5 is {right}, but the release's is {wrong}"):
        take(open_arriving(bucket_dir, tables_dir), num_bytes=len(data), md5=wrong)
    assert names(tables_dir) == []
    take(open_arriving(bucket_dir, tables_dir), num_bytes=len(data), md5=right)
    shutil.rmtree(tables_dir)
    take(open_arriving(bucket_dir, tables_dir), num_bytes=len(data) + 1, md5=wrong)  # a mirror's


def test_a_small_file_as_long_as_the_releases_has_its_md5_too(bucket_dir, tables_dir):
    num_bytes = (bucket_dir / release.CLASS_CSV.path).stat().st_size
    file = release.CLASS_CSV._replace(num_bytes=num_bytes)
    with pytest.raises(ValueError, match="its MD5 is"):
        open_arriving(bucket_dir, tables_dir).parse(file, read_classes)
    assert names(tables_dir) == []


def test_the_releases_own_server_is_not_expected_to_have_another_file(
    bucket_dir, tables_dir, monkeypatch, caplog
):
    monkeypatch.setattr(release, "ANNOTATIONS_URL", f"{bucket_dir}/")
    num_bytes = (bucket_dir / BOXES.path).stat().st_size
    take(open_arriving(bucket_dir, tables_dir), num_bytes=num_bytes + 1, md5="0" * 32)
    (line,) = caplog.messages
    assert f"has {num_bytes} bytes, and the release's had {num_bytes + 1}" in line


# --- Memory --------------------------------------------------------------------------------------

# What is in use at the peak, not what allocators hold back; and the same on any number of cores.
# Not by getrusage: its peak begins with that of the process that started this one.
STEADY = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_MMAP_THRESHOLD_": "65536"}
STEADY |= {"OMP_NUM_THREADS": "2"}
MEASURE = """
import sys
from pathlib import Path
from oiv5_d2.acquisition.stores import HttpStore, Transfer
from oiv5_d2.acquisition.tables.sources import open_tables
from oiv5_d2.openimages import readers, release

source = open_tables(HttpStore(sys.argv[1], Transfer()), Path(sys.argv[2]))
columns, labels = ["ImageID", "LabelName", "MaskPath", "BoxXMin"], sys.argv[3:]
options = {"labels": labels, "image_ids": None, "advance": lambda num_bytes: None}
file = release.mask_csv("train")
num_rows = sum(map(len, source.frames(readers.read_masks, file, columns, **options)))
status = Path("/proc/self/status").read_text()
print(num_rows, int(status.split("VmHWM:")[1].split()[0]) >> 10)
"""


@pytest.mark.slow
def test_a_table_arrives_in_the_memory_of_a_few_blocks(bucket_dir, tables_dir):
    path = bucket_dir / release.mask_csv("train").path
    header, *rows = path.read_bytes().splitlines(keepends=True)
    measured = []
    for num_bytes in (20_000_000, 200_000_000):
        path.write_bytes(header)
        block = b"".join(rows) * 500
        with path.open("ab") as file:
            for _ in range(num_bytes // len(block) + 1):
                file.write(block)
        with serve(bucket_dir) as server:
            command = [sys.executable, "-c", MEASURE, server.url, str(tables_dir), CAR, VAN]
            told = subprocess.run(
                command, capture_output=True, text=True, check=True, env=os.environ | STEADY
            ).stdout
        measured.append([int(number) for number in told.split()])
        shutil.rmtree(tables_dir)
    (few_rows, small_mb), (many_rows, large_mb) = measured
    print(f"{small_mb} MB at the peak for 20 MB, {large_mb} MB for 200 MB")
    assert many_rows > 8 * few_rows > 0
    assert large_mb < 1.3 * small_mb
