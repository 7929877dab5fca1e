import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from blake3 import blake3
from raising import refused
from servers import PASSING, Fault, serve, sometimes

from oiv5_d2.acquisition.buckets import Bucket
from oiv5_d2.acquisition.fetch import fetch
from oiv5_d2.acquisition.jpeg import check_jpeg
from oiv5_d2.acquisition.manifest import MANIFEST_SQLITE, State, read_manifest
from oiv5_d2.acquisition.transfer import Transfer
from oiv5_d2.files import PART_PREFIX, naming_full_disk
from oiv5_d2.openimages import release
from oiv5_d2.problems import Kind, Remedy


@pytest.fixture(scope="session")
def files(tiny_release):
    """All masks that the release lists, and their images; some are not there."""
    frames = []
    for split in release.SPLITS:
        rows = pd.read_csv(tiny_release / release.ANNOTATIONS_DIR / release.V5.mask_csv(split).path)
        masks = rows.assign(Kind="mask", Split=split, Name=rows["MaskPath"])
        masks["Key"] = [release.V5.mask_zip(split, id[0]).path for id in rows["ImageID"]]
        images = masks.assign(Kind="image", Name=rows["ImageID"] + ".jpg")
        images["Key"] = [release.V5.image_key(split, id) for id in rows["ImageID"]]
        frames += [masks, images]
    table = pd.concat(frames)[["Kind", "Split", "Name", "Key"]].drop_duplicates()
    return table.sort_values(["Kind", "Split", "Name"], ignore_index=True)


@pytest.fixture
def our_release(tiny_release, tmp_path):
    """A copy of the synthetic release, to be damaged."""
    return shutil.copytree(tiny_release, tmp_path / "release")


@pytest.fixture
def data_dir(tmp_path):
    return tmp_path / "data"


def run(files, root, data_dir, **options):
    """Fetch from a folder or an address; return the manifest."""
    retries = {"max_retries": 4, "backoff": {"init_backoff": "5ms", "max_backoff": "20ms"}}
    transfer = Transfer(retry_config=retries)
    names = release.ANNOTATIONS_DIR, release.IMAGES_DIR
    annotations, images = (Bucket(f"{root}/{name}", transfer) for name in names)
    fetch(files, annotations, images, data_dir, **{"max_missing": 1.0, **options})
    return read_manifest(data_dir / "manifest.csv")


def snapshot(data_dir):
    """Return all that was fetched; of the manifest all but the column Fetched."""
    return {
        str(path.relative_to(data_dir)): content(path)
        for path in sorted(data_dir.rglob("*"))
        if path.is_file() and path != data_dir / MANIFEST_SQLITE
    }


def content(path):
    if path.name != "manifest.csv":
        return path.read_bytes()
    return read_manifest(path).drop(columns="Fetched").to_csv()


def times(data_dir):
    skipped = {"manifest.csv", Path(MANIFEST_SQLITE).name}
    paths = [path for path in data_dir.rglob("*") if path.is_file() and path.name not in skipped]
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


def row_of(data_dir, name):
    manifest = read_manifest(data_dir / "manifest.csv").set_index("Path")
    return tuple(manifest.loc[name, ["State", "Reason"]])


@pytest.fixture
def there(files, tiny_release):
    """Return the split, name and path of a file of a kind that the release has."""

    def find(kind, root):
        if kind == "mask":
            row = files[files["Kind"] == kind].iloc[0]
            return row["Split"], row["Name"], root / release.ANNOTATIONS_DIR / row["Key"]
        for row in files[files["Kind"] == kind].itertuples():
            path = root / release.IMAGES_DIR / row.Key
            if path.exists():
                return row.Split, row.Name, path
        raise AssertionError("the release has no image")

    return find


def test_all_that_is_wanted_is_there_and_nothing_else(files, our_release, data_dir):
    begin = datetime.now(UTC) - timedelta(seconds=1)  # full seconds, by the clock of files
    manifest = run(files, our_release, data_dir)
    listed = manifest.rename(columns={"Path": "Name"})[["Kind", "Split", "Name"]]
    assert listed.equals(files[["Kind", "Split", "Name"]])
    present = manifest[manifest["State"] == "present"]
    assert (manifest["State"] == "missing").sum() == len(files) - len(present) > 0
    for row in present[present["Kind"] == "image"].itertuples():
        copy = (data_dir / "images" / row.Split / row.Path).read_bytes()
        assert copy == Path(row.Source).read_bytes()
        assert (len(copy), blake3(copy).hexdigest()) == (row.Bytes, row.BLAKE3)
        assert begin <= datetime.fromisoformat(row.Fetched) <= datetime.now(UTC)
    images = present[present["Kind"] == "image"]
    assert {path.name for path in data_dir.glob("images/*/*")} == set(images["Path"])
    absent = manifest[manifest["State"] != "present"]
    assert set(absent[["BLAKE3", "Fetched"]].to_numpy().flat) == {""}
    in_zips = set()
    for path in data_dir.glob("masks/*"):
        with zipfile.ZipFile(path) as shard:
            in_zips |= set(shard.namelist())
    assert in_zips == set(present.loc[present["Kind"] == "mask", "Path"])


def test_the_same_release_gives_the_same_bytes(files, our_release, tmp_path):
    for name in ("a", "b"):
        run(files, our_release, tmp_path / name)
    assert snapshot(tmp_path / "a") == snapshot(tmp_path / "b")


def test_a_second_run_writes_nothing_and_asks_for_nothing(files, our_release, data_dir):
    run(files, our_release, data_dir)
    before, written = snapshot(data_dir), times(data_dir)
    for path in our_release.rglob("*"):
        if path.suffix in (".jpg", ".zip"):
            path.unlink()
    run(files, our_release, data_dir)
    assert snapshot(data_dir) == before
    assert times(data_dir) == written


def test_progress_counts_every_file_once(files, our_release, data_dir):
    for again in (False, True):
        seen = []
        note = lambda *numbers, seen=seen: seen.append((*numbers, 0, 0)[:3])  # noqa: E731
        rows = run(files, our_release, data_dir, advance=note)
        num_files, num_bytes, num_failed = map(sum, zip(*seen, strict=True))
        assert num_files == len(files)
        assert num_failed == (rows["State"] != "present").sum()
        assert again or num_bytes >= rows["Bytes"].sum()


def test_what_is_no_longer_wanted_leaves_the_manifest_but_is_known_again(
    files, our_release, data_dir
):
    run(files, our_release, data_dir)
    before = (data_dir / "manifest.csv").read_bytes()
    some = files[files["Split"] == "validation"]
    run(some, our_release, data_dir)
    assert len(read_manifest(data_dir / "manifest.csv")) == len(some)
    written = times(data_dir)
    run(files, our_release, data_dir)
    assert (data_dir / "manifest.csv").read_bytes() == before
    assert times(data_dir) == written


def test_what_was_missing_is_fetched_when_it_is_there(
    files, our_release, data_dir, tmp_path, there
):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    paths = [there(kind, our_release)[2] for kind in ("image", "mask")]
    for path in paths:
        path.rename(hidden / path.name)
    assert (run(files, our_release, data_dir)["State"] == "missing").sum() >= 2
    for path in paths:
        (hidden / path.name).rename(path)
    run(files, our_release, data_dir)
    run(files, our_release, tmp_path / "clean")
    assert snapshot(data_dir) == snapshot(tmp_path / "clean")


def test_what_was_damaged_after_it_came_is_fetched_again(files, our_release, data_dir, there):
    run(files, our_release, data_dir)
    before = snapshot(data_dir)
    split, name, _ = there("image", our_release)
    os.truncate(data_dir / "images" / split / name, 100)
    _, _, path = there("mask", our_release)
    with (data_dir / "masks" / path.name).open("r+b") as shard:
        shard.seek(100)
        shard.write(b"damaged")
    run(files, our_release, data_dir)
    assert snapshot(data_dir) == before


def test_an_image_damaged_inside_is_found_by_a_full_decode(files, our_release, data_dir, there):
    _, name, path = there("image", our_release)
    data = path.read_bytes()
    tables = data.index(b"\xff\xc4")
    path.write_bytes(data[: tables + 5] + b"\xff" * 16 + data[tables + 21 :])
    run(files, our_release, data_dir)
    assert row_of(data_dir, name) == (State.PRESENT, "")
    run(files, our_release, data_dir, full_decode=True)
    assert row_of(data_dir, name) == (State.CORRUPT, Kind.DAMAGED)


def test_a_file_in_the_place_of_a_folder_is_no_missing_file(files, our_release, data_dir):
    (data_dir / "images").mkdir(parents=True)
    (data_dir / "images" / "train").write_text("a file where a folder has to be")
    with refused(Kind.FOREIGN):
        run(files, our_release, data_dir)


def test_a_mask_zip_that_was_put_there_by_hand_is_not_overwritten(
    files, our_release, data_dir, there
):
    _, _, original = there("mask", our_release)
    (data_dir / "masks").mkdir(parents=True)
    by_hand = shutil.copy(original, data_dir / "masks" / original.name)
    with refused(Kind.FOREIGN, about=by_hand):
        run(files, our_release, data_dir)
    assert by_hand.read_bytes() == original.read_bytes()


# --- Too many missing files ---


def lose(files, root, kind, split, number):
    """Remove images that the release has, or the mask zips that hold so many masks."""
    keys = files.loc[(files["Kind"] == kind) & (files["Split"] == split), "Key"].unique()
    paths = [root / release.IMAGES_DIR / key for key in keys]
    for path in [path for path in paths if path.exists()][:number]:
        path.unlink()


def test_too_many_missing_files_stop_the_run_and_lose_nothing(files, our_release, data_dir):
    lose(files, our_release, "image", "train", 4)
    with refused(
        Kind.TOO_MANY,
        key="data.source data.splits max_missing",
        remedy=Remedy.ADD_FILES,  # it is a folder: there is no address to check
        about="images of train",
    ) as caught:
        run(files, our_release, data_dir, max_missing=0.02)
    assert "masks of" not in caught.value.detail  # masks would hide the images' loss
    manifest = read_manifest(data_dir / "manifest.csv")
    assert len(manifest) == len(files)
    on_disk = {path.name for path in data_dir.glob("images/*/*")}
    present = manifest[(manifest["State"] == "present") & (manifest["Kind"] == "image")]
    assert on_disk == set(present["Path"]) and on_disk
    run(files, our_release, data_dir, max_missing=0.9)


def test_a_split_without_any_image_is_refused_whatever_is_allowed(files, our_release, data_dir):
    lose(files, our_release, "image", "test", 10**6)
    with refused(Kind.TOO_MANY, about="images of test"):
        run(files, our_release, data_dir, max_missing=1.0)


@pytest.mark.parametrize(
    ("fault", "reason", "remedy"),
    [
        (Fault(404), Kind.ABSENT, Remedy.CHECK_ADDRESS),
        (Fault(403), Kind.REFUSED, Remedy.CHECK_ADDRESS),
        (Fault(503), Kind.UNREACHABLE, Remedy.RETRY_FAILED),
        (Fault(num_bytes=400, extra_length=-(10**9)), Kind.UNREACHABLE, Remedy.RETRY_FAILED),
    ],
)
def test_each_reason_has_its_remedy(files, our_release, data_dir, fault, reason, remedy):
    with serve(our_release, lambda request, chance: fault) as server:
        images = files[files["Kind"] == "image"][:20]
        with refused(Kind.TOO_MANY, key="max_missing", remedy=remedy, about=f"{reason}"):
            run(images, server.url, data_dir)


# --- Disk ---


def test_a_full_disk_is_a_problem_and_other_errors_are_left_as_they_are(tmp_path):
    with refused(Kind.DISK_FULL, remedy=Remedy.FREE_DISK, about=tmp_path):
        with naming_full_disk(tmp_path), open("/dev/full", "wb", 0) as full:
            full.write(b"x")
    with pytest.raises(PermissionError), naming_full_disk(tmp_path):
        raise PermissionError


# --- Faults and kills ---

CHILD = """
import sys
from pathlib import Path
import pandas as pd
from oiv5_d2.acquisition.buckets import Bucket
from oiv5_d2.acquisition.transfer import Transfer
from oiv5_d2.acquisition.fetch import fetch
url, files, data_dir = sys.argv[1:]
retries = {"max_retries": 8, "backoff": {"init_backoff": "5ms", "max_backoff": "20ms"}}
transfer = Transfer(connections=4, retry_config=retries)
buckets = [Bucket(f"{url}/{name}", transfer) for name in ("openimages", "open-images-dataset")]
print("ready", flush=True)
fetch(pd.read_pickle(files), *buckets, Path(data_dir), max_missing=1.0)
"""


def start(url, files_path, data_dir):
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, url, str(files_path), str(data_dir)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout.readline() == "ready\n"
    return child


@pytest.mark.slow
def test_faults_and_kills_end_in_the_same_bytes_and_nothing_whole_is_asked_for_again(
    files, our_release, tmp_path
):
    """30 % of the requests err, and the run is killed ten times."""
    files.to_pickle(tmp_path / "files")
    faults = sometimes(0.3, tuple(fault for fault in PASSING if not fault.ignores_range))
    chance, arguments = random.Random(0), (tmp_path / "files", tmp_path / "killed")
    images_dir, whole = tmp_path / "killed" / "images", set()
    with serve(our_release, faults, seed=1) as server:
        for _ in range(10):
            with start(server.url, *arguments) as child:
                time.sleep(chance.uniform(0.02, 0.25))
                child.send_signal(signal.SIGKILL)
            assert not whole & {line.path for line in server.log}
            server.log.clear()
            for path in images_dir.glob("*/[!.]*"):
                check_jpeg(path.read_bytes(), full_decode=True)  # what has its name is whole
                whole.add(f"{release.IMAGES_DIR}/{path.relative_to(images_dir)}")
        with start(server.url, *arguments) as child:
            assert child.wait(120) == 0
        server.faults = None
        with start(server.url, *arguments) as child:  # for what three rounds did not bring
            assert child.wait(120) == 0
        assert whole and not whole & {line.path for line in server.log}
        run(files, server.url, tmp_path / "clean")
    assert snapshot(tmp_path / "killed") == snapshot(tmp_path / "clean")


def test_a_killed_run_goes_on_to_the_same_bytes(files, our_release, tmp_path):
    files.to_pickle(tmp_path / "files")
    run(files, our_release, tmp_path / "clean")
    for milliseconds in (3, 50):
        with start(str(our_release), tmp_path / "files", tmp_path / "killed") as child:
            time.sleep(milliseconds / 1000)
            child.send_signal(signal.SIGKILL)
    run(files, our_release, tmp_path / "killed")
    assert snapshot(tmp_path / "killed") == snapshot(tmp_path / "clean")


def test_temporary_files_of_a_killed_run_are_removed(files, our_release, data_dir):
    stray = data_dir / "images" / "train" / f"{PART_PREFIX}0123456789abcdef.jpg"
    stray.parent.mkdir(parents=True)
    stray.write_text("half")
    run(files, our_release, data_dir)
    assert not stray.exists()
