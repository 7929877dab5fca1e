import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image

from oiv5_d2.acquisition.fetch import fetch
from oiv5_d2.acquisition.manifest import read_manifest
from oiv5_d2.acquisition.outcomes import checksum
from oiv5_d2.acquisition.stores import Transfer, open_source
from oiv5_d2.openimages import release
from oiv5_d2.selection.choice import Choice
from oiv5_d2.selection.files import list_files
from oiv5_d2.selection.select import select
from oiv5_d2.selection.subset import save

WANTED = ["Person", "Traffic light", "Car", "Traffic sign"]


@pytest.fixture(scope="module")
def subsets(tiny_release):
    return list(select(tiny_release / release.ANNOTATIONS_DIR, release.V5, Choice(WANTED)).values())


@pytest.fixture
def our_release(tiny_release, tmp_path):
    """A copy of the synthetic release, to be damaged, with all that it lists."""
    root = tmp_path / "release"
    shutil.copytree(tiny_release, root)
    return root


@pytest.fixture
def data_dir(tmp_path):
    return tmp_path / "data"


def folder_source(root):
    buckets = [str(root / name) for name in (release.ANNOTATIONS_DIR, release.IMAGES_DIR)]
    return open_source(*buckets, Transfer())


def bring(subsets, root, data_dir, **options):
    return fetch(
        list_files(subsets), folder_source(root), data_dir, **{"max_missing": 1.0, **options}
    )


def snapshot(data_dir):
    """Return all that was fetched; of the manifest all but the column that says when."""
    return {
        str(path.relative_to(data_dir)): without_times(path)
        for path in sorted(data_dir.rglob("*"))
        if path.is_file()
    }


def without_times(path):
    if path.name != "manifest.csv":
        return path.read_bytes()
    return read_manifest(path).drop(columns="Fetched").to_csv()


def times(data_dir):
    return {path: path.stat().st_mtime_ns for path in data_dir.rglob("*") if path.is_file()}


def row_of(data_dir, name):
    manifest = read_manifest(data_dir / "manifest.csv").set_index("Path")
    return manifest.loc[name, ["State", "Reason"]].tolist()


def first(subsets, kind, num=0):
    """Return a file that is there in the release: its split and name."""
    files = list_files(subsets)
    row = files[(files["Kind"] == kind) & (files["Split"] == "train")].iloc[num]
    return row["Split"], row["Path"]


def zip_of(root, split, name):
    return root / release.ANNOTATIONS_DIR / release.V5.mask_zip(split, name[0]).path


def rewrite_zip(path, change, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path) as old:
        entries = {name: old.read(name) for name in old.namelist()}
    change(entries)
    with zipfile.ZipFile(path, "w", compression) as new:
        for name, data in entries.items():
            new.writestr(name, data)


# --- What is brought -----------------------------------------------------------------------------


def test_all_that_is_wanted_is_there_and_nothing_else(subsets, our_release, data_dir):
    fetched = bring(subsets, our_release, data_dir)
    files = list_files(subsets)
    manifest = read_manifest(fetched.manifest_path)
    assert manifest[["Kind", "Split", "Path"]].equals(files[["Kind", "Split", "Path"]])
    present = manifest[manifest["State"] == "present"]
    assert (present["Reason"] == "").all()
    assert len(present) == fetched.num_images + fetched.num_masks
    assert fetched.num_bytes == present["Bytes"].sum()
    images = present[present["Kind"] == "image"]
    for split, name, num_bytes in images[["Split", "Path", "Bytes"]].itertuples(index=False):
        copy = (data_dir / "images" / split / name).read_bytes()
        assert copy == (our_release / release.IMAGES_DIR / split / name).read_bytes()
        assert len(copy) == num_bytes
    on_disk = {path.name for path in data_dir.glob("images/*/*")}
    assert on_disk == set(images["Path"])
    masks = present[present["Kind"] == "mask"]
    in_zips = {}
    for path in data_dir.glob("masks/*"):
        with zipfile.ZipFile(path) as shard:
            assert shard.namelist() == sorted(shard.namelist())
            assert {entry.compress_type for entry in shard.infolist()} <= {zipfile.ZIP_STORED}
            in_zips |= {name: shard.read(name) for name in shard.namelist()}
    assert set(in_zips) == set(masks["Path"])
    split, name = first(subsets, "mask")
    with zipfile.ZipFile(zip_of(our_release, split, name)) as original:
        assert in_zips[name] == original.read(name)


def test_masks_that_are_not_learnt_are_not_wanted(subsets):
    learnt = {
        path
        for subset in subsets
        for path in subset.instances.loc[subset.instances["Ignore"] == "", "MaskPath"]
    }
    files = list_files(subsets)
    assert set(files.loc[files["Kind"] == "mask", "Path"]) == learnt
    assert list_files(subsets * 2).equals(files)


def test_the_same_release_gives_the_same_bytes(subsets, our_release, tmp_path):
    for name in ("a", "b"):
        bring(subsets, our_release, tmp_path / name)
    assert snapshot(tmp_path / "a") == snapshot(tmp_path / "b")


def test_a_second_run_writes_no_picture_and_no_mask(subsets, our_release, data_dir):
    bring(subsets, our_release, data_dir)
    before, written = snapshot(data_dir), times(data_dir)
    for path in our_release.rglob("*"):  # nor is anything asked for again
        if path.is_file() and path.suffix in (".jpg", ".zip"):
            path.unlink()
    bring(subsets, our_release, data_dir)
    assert snapshot(data_dir) == before
    written.pop(data_dir / "manifest.csv")
    assert {path: times(data_dir)[path] for path in written} == written


def test_progress_counts_every_file_once(subsets, our_release, data_dir):
    for again in (False, True):
        seen = []
        fetched = bring(
            subsets, our_release, data_dir, advance=lambda *n, seen=seen: seen.append(n)
        )
        num_files, num_bytes, num_failed = map(sum, zip(*seen, strict=True))
        assert num_files == len(list_files(subsets))
        assert num_failed == fetched.num_missing + fetched.num_corrupt
        assert again or num_bytes >= fetched.num_bytes


def test_stored_and_deflated_zips_serve_alike(subsets, our_release, tmp_path):
    bring(subsets, our_release, tmp_path / "a")
    for path in our_release.rglob("*.zip"):
        rewrite_zip(path, lambda entries: None, zipfile.ZIP_DEFLATED)
    bring(subsets, our_release, tmp_path / "b")
    assert snapshot(tmp_path / "a") == snapshot(tmp_path / "b")


def test_a_zip_holds_what_the_newest_subset_wants(subsets, our_release, data_dir, tmp_path):
    bring(subsets, our_release, data_dir)
    annotations_dir = our_release / release.ANNOTATIONS_DIR
    fewer = list(select(annotations_dir, release.V5, Choice(("Person",))).values())
    bring(fewer, our_release, data_dir)
    bring(fewer, our_release, tmp_path / "alone")
    wanted = {path.name: path for path in (tmp_path / "alone" / "masks").iterdir()}
    for name, path in wanted.items():
        assert (data_dir / "masks" / name).read_bytes() == path.read_bytes()
    # What is there already is not asked for again, even where the zip is written anew.
    for path in our_release.rglob("*.zip"):
        path.unlink()
    manifest = bring(fewer, our_release, data_dir)
    assert manifest.num_missing == bring(fewer, our_release, tmp_path / "alone").num_missing


# --- What is missing or damaged ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "state", "reason"),
    [
        (lambda path: path.unlink(), "missing", "not in the release"),
        (lambda path: path.write_bytes(b""), "corrupt", "the file is empty"),
        (lambda path: path.write_bytes(b"<html>"), "corrupt", "not a JPEG"),
        (lambda path: os.truncate(path, path.stat().st_size // 2), "corrupt", "damaged JPEG"),
        (lambda path: (path.unlink(), path.mkdir()), "failed", "can not be read"),
    ],
)
def test_a_picture_that_can_not_be_had_is_listed(
    subsets, our_release, data_dir, damage, state, reason
):
    split, name = first(subsets, "image")
    damage(our_release / release.IMAGES_DIR / split / name)
    bring(subsets, our_release, data_dir)
    found = row_of(data_dir, name)
    assert found[0] == state
    assert reason in found[1]
    assert not (data_dir / "images" / split / name).exists()


def damage_entry(data):
    def change(path, name):
        rewrite_zip(path, lambda entries: entries.update({name: data}))

    return change


def break_crc(path, name):
    with zipfile.ZipFile(path) as original:
        entry = original.getinfo(name)
    data = bytearray(path.read_bytes())
    data[entry.header_offset + 30 + len(name) + 40] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "state", "reason"),
    [
        (lambda path, name: path.unlink(), "missing", "is not in the release"),
        (lambda path, name: path.write_bytes(b""), "corrupt", "not a zip"),
        (lambda path, name: os.truncate(path, path.stat().st_size - 30), "corrupt", "not a zip"),
        (
            lambda path, name: rewrite_zip(path, lambda entries: entries.pop(name)),
            "missing",
            "no such entry",
        ),
        (break_crc, "corrupt", "CRC"),
        (damage_entry(b""), "corrupt", "empty"),
        (damage_entry(b"GIF89a"), "corrupt", "not a PNG"),
        (damage_entry(b"\x89PNG\r\n\x1a\n" + bytes(40)), "corrupt", "PNG"),
    ],
)
def test_a_mask_that_can_not_be_had_is_listed(
    subsets, our_release, data_dir, damage, state, reason
):
    split, name = first(subsets, "mask")
    damage(zip_of(our_release, split, name), name)
    bring(subsets, our_release, data_dir)
    found = row_of(data_dir, name)
    assert found[0] == state
    assert reason in found[1]


def test_an_entry_that_would_fill_the_memory_is_refused(subsets, our_release, data_dir):
    split, name = first(subsets, "mask")
    path = zip_of(our_release, split, name)
    bomb = {name: bytes(40 << 20)}
    rewrite_zip(path, lambda entries: entries.update(bomb), zipfile.ZIP_DEFLATED)
    bring(subsets, our_release, data_dir)
    assert row_of(data_dir, name) == ["corrupt", "it would unpack to 41943040 bytes: refused"]


def test_what_was_missing_is_brought_when_it_is_there(subsets, our_release, data_dir, tmp_path):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (image_split, image), (split, mask) = first(subsets, "image"), first(subsets, "mask")
    moved = {
        our_release / release.IMAGES_DIR / image_split / image: hidden / image,
        zip_of(our_release, split, mask): hidden / "zip",
    }
    for place, away in moved.items():
        place.rename(away)
    assert bring(subsets, our_release, data_dir).num_missing >= 2
    for place, away in moved.items():
        away.rename(place)
    bring(subsets, our_release, data_dir)
    bring(subsets, our_release, tmp_path / "clean")
    assert snapshot(data_dir) == snapshot(tmp_path / "clean")


def test_a_picture_that_was_damaged_after_it_came_is_brought_again(subsets, our_release, data_dir):
    bring(subsets, our_release, data_dir)
    before = snapshot(data_dir)
    split, name = first(subsets, "image")
    os.truncate(data_dir / "images" / split / name, 100)
    split, name = first(subsets, "mask")
    os.truncate(data_dir / "masks" / f"{split}-masks-{name[0]}.zip", 100)
    bring(subsets, our_release, data_dir)
    assert snapshot(data_dir) == before


def test_a_picture_damaged_inside_is_found_by_a_full_decode(subsets, our_release, data_dir):
    split, name = first(subsets, "image")
    path = our_release / release.IMAGES_DIR / split / name
    data = path.read_bytes()
    tables = data.index(b"\xff\xc4")
    path.write_bytes(data[: tables + 5] + b"\xff" * 16 + data[tables + 21 :])
    bring(subsets, our_release, data_dir)
    assert row_of(data_dir, name)[0] == "present"
    bring(subsets, our_release, data_dir, full_decode=True)
    assert row_of(data_dir, name)[0] == "corrupt"


def test_too_many_missing_files_stop_the_run_and_lose_nothing(subsets, our_release, data_dir):
    images_dir = our_release / release.IMAGES_DIR
    some = sorted((images_dir / "train").iterdir())[:4]
    for path in some:
        path.unlink()
    with pytest.raises(ValueError, match=r"images of train .*max_missing=0.02.*manifest") as caught:
        bring(subsets, our_release, data_dir, max_missing=0.02)
    assert "\n" not in str(caught.value)
    assert "not in the release" in str(caught.value)
    manifest = read_manifest(data_dir / "manifest.csv")
    assert len(manifest) == len(list_files(subsets))
    on_disk = {path.name for path in data_dir.glob("images/*/*")}
    present = manifest[(manifest["State"] == "present") & (manifest["Kind"] == "image")]
    assert on_disk == set(present["Path"])
    assert on_disk


def test_a_zip_that_was_put_there_by_hand_is_not_overwritten(subsets, our_release, data_dir):
    split, name = first(subsets, "mask")
    original = zip_of(our_release, split, name)
    (data_dir / "masks").mkdir(parents=True)
    by_hand = shutil.copy(original, data_dir / "masks" / original.name)
    with pytest.raises(ValueError, match="was not made here"):
        bring(subsets, our_release, data_dir)
    assert by_hand.read_bytes() == original.read_bytes()


def test_a_full_disk_is_no_missing_file(subsets, our_release, data_dir):
    split, _ = first(subsets, "image")
    (data_dir / "images").mkdir(parents=True)
    (data_dir / "images" / split).write_text("a file where a folder has to be")
    with pytest.raises(OSError):
        bring(subsets, our_release, data_dir)


# --- Killed at any moment ------------------------------------------------------------------------

CHILD = """
import sys
from pathlib import Path
from oiv5_d2.acquisition.fetch import fetch
from oiv5_d2.acquisition.stores import Transfer, open_source
from oiv5_d2.selection.files import list_files
from oiv5_d2.selection.subset import load
root, subset_dir, data_dir = map(Path, sys.argv[1:])
subsets = [load(subset_dir, part) for part in ("train", "validation", "test")]
print("ready", flush=True)
source = open_source(f"{root}/openimages", f"{root}/open-images-dataset", Transfer())
fetch(list_files(subsets), source, data_dir, max_missing=1.0)
"""


def test_a_run_that_was_killed_goes_on_to_the_same_bytes(subsets, our_release, tmp_path):
    for subset in subsets:
        save(subset, tmp_path / "subset")
    bring(subsets, our_release, tmp_path / "clean")
    arguments = [str(our_release), str(tmp_path / "subset"), str(tmp_path / "killed")]
    for milliseconds in (3, 15, 50):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, *arguments], stdout=subprocess.PIPE, text=True
        )
        with child:
            assert child.stdout.readline() == "ready\n"
            time.sleep(milliseconds / 1000)
            child.send_signal(signal.SIGKILL)
    for path in (tmp_path / "killed").glob("images/*/[!.]*"):
        with Image.open(path) as picture:
            picture.load()  # whatever has its name is whole
    bring(subsets, our_release, tmp_path / "killed")
    assert snapshot(tmp_path / "killed") == snapshot(tmp_path / "clean")


@pytest.mark.parametrize(
    "stray",
    [
        "images/train/.part-0123456789abcdef.jpg",
        "masks/.part-train-masks-0.zip",
        "masks/.spool-other-masks-0",
        "masks/.directory-other-masks-0",
        "masks/.whole-other-masks-0.zip",
        "masks/.arriving-0123456789ab-.whole-other-masks-0.zip",
        "tables/.part-other-boxes.parquet",
        "tables/original/v5/.arriving-0123456789ab-other-boxes.csv",
    ],
)
def test_strays_of_a_killed_run_are_removed(subsets, our_release, data_dir, stray):
    (data_dir / stray).parent.mkdir(parents=True)
    (data_dir / stray).write_text("half")
    bring(subsets, our_release, data_dir)
    assert not (data_dir / stray).exists()


def test_what_came_of_a_zip_that_is_still_wanted_is_no_stray(subsets, our_release, data_dir):
    split, name = first(subsets, "mask")
    original = zip_of(our_release, split, name)
    whole = data_dir / "masks" / f".whole-{original.name}"
    whole.parent.mkdir(parents=True)
    original.rename(whole)
    bring(subsets, our_release, data_dir)
    assert row_of(data_dir, name)[0] == "present"


def test_the_manifest_tells_checksum_source_and_time_of_what_is_there(
    subsets, our_release, data_dir
):
    begin = datetime.now(UTC) - timedelta(seconds=1)  # full seconds, by the clock of files
    bring(subsets, our_release, data_dir)
    rows = read_manifest(data_dir / "manifest.csv")
    present = rows[rows["State"] == "present"]
    for row in present.itertuples():
        assert begin <= datetime.fromisoformat(row.Fetched) <= datetime.now(UTC)
        if row.Kind == "image":
            assert checksum(Path(row.Source).read_bytes()) == row.BLAKE3
        else:
            assert row.Source == str(zip_of(our_release, row.Split, row.Path))
            assert len(row.BLAKE3) == 64
    assert set(rows.loc[rows["State"] != "present", ["BLAKE3", "Fetched"]].to_numpy().flat) <= {""}


def test_real_pictures_and_masks_are_all_brought(street_mirror, data_dir):
    parts = select(street_mirror / release.ANNOTATIONS_DIR, release.V5, Choice(WANTED)).values()
    fetched = fetch(list_files(parts), folder_source(street_mirror), data_dir, full_decode=True)
    assert (fetched.num_images, fetched.num_masks) == (77, 252)
    assert fetched.num_missing == fetched.num_corrupt == 0
