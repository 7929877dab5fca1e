import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
from blake3 import blake3
from raising import refused
from servers import CUT, SHORTER, Fault, always, first, serve

from oiv5_d2.acquisition.images import fetch_images, needed_images
from oiv5_d2.acquisition.manifest import Outcome, State, open_manifest
from oiv5_d2.openimages import release
from oiv5_d2.problems import Kind, Remedy


@pytest.fixture
def origin(tiny_release):
    """The folder of the release's images."""
    return tiny_release / release.IMAGES_DIR


@pytest.fixture
def keys(origin):
    """The keys of its train images."""
    return sorted(f"train/{path.name}" for path in (origin / "train").iterdir())


@pytest.fixture
def fetch(connect, tmp_path):
    """Fetch images into ``tmp_path/data``; return each key's outcome."""

    def run(location, keys, full_decode=False, news=None):
        rows = [("image", *key.split("/"), key) for key in keys]
        files = pd.DataFrame(rows, columns=["Kind", "Split", "Name", "Key"])
        note = (lambda *numbers: None) if news is None else (lambda *n: news.append(n))
        data_dir = tmp_path / "data"
        with open_manifest(data_dir) as manifest:
            bucket = connect(str(location))
            fetch_images(files, bucket, data_dir / "images", manifest, full_decode, note)
            splits = {key.split("/")[0] for key in keys}
            known = {split: manifest.known("image", split) for split in splits}
        return {key: known[key.split("/")[0]][key.split("/")[1]] for key in keys}

    return run


@pytest.fixture
def images_dir(tmp_path):
    return tmp_path / "data" / "images"


def reasons(outcomes):
    return {(outcome.state, outcome.reason) for outcome in outcomes.values()}


def snapshot(folder):
    """Return all that a folder holds: each file's inode, time and bytes."""
    return {
        path.relative_to(folder): (
            path.lstat().st_ino,
            path.lstat().st_mtime_ns,
            path.read_bytes() if path.is_file() else None,
        )
        for path in folder.rglob("*")
    }


def test_images_are_the_same_bytes_with_their_checksums(origin, keys, fetch, images_dir):
    news = []
    with serve(origin) as server:
        outcomes = fetch(server.url, keys, news=news)
        for key in keys:
            data = (origin / key).read_bytes()
            assert (images_dir / key).read_bytes() == data
            checksum = blake3(data).hexdigest()
            expected = (Path(key).name, State.PRESENT, None, len(data), checksum)
            assert outcomes[key][:6] == (*expected, f"{server.url}/{key}")
    num_bytes = sum((origin / key).stat().st_size for key in keys)
    assert tuple(map(sum, zip(*news, strict=True))) == (len(keys), num_bytes, 0)


def test_what_is_there_and_whole_is_not_asked_for_again(origin, keys, fetch):
    with serve(origin) as server:
        outcomes = fetch(server.url, keys[:5])
        assert len(server.log) == 5
        server.log.clear()
        assert {key: fetch(server.url, keys)[key] for key in keys[:5]} == outcomes
        assert sorted(line.path for line in server.log) == keys[5:]


def test_an_image_that_was_only_touched_is_kept(origin, keys, fetch, images_dir):
    with serve(origin) as server:
        before = fetch(server.url, keys)
        server.log.clear()
        os.utime(images_dir / keys[0], (1, 1))
        after = fetch(server.url, keys)
        assert not server.log
    when = "1970-01-01T00:00:01+00:00"
    assert after[keys[0]] == before[keys[0]]._replace(fetched=when)


@pytest.mark.parametrize("full_decode", [False, True])
def test_what_changed_since_it_was_written_is_asked_for_again(
    origin, keys, fetch, images_dir, full_decode
):
    """Even if it is a whole image. With its time as it was, only a full reading finds it."""
    with serve(origin) as server:
        before = fetch(server.url, keys[:2])
        server.log.clear()
        path = images_dir / keys[0]
        times = path.stat().st_atime_ns, path.stat().st_mtime_ns + (not full_decode) * 10**10
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        os.utime(path, ns=times)
        after = fetch(server.url, keys[:2], full_decode)
        assert [line.path for line in server.log] == keys[:1]
    assert after[keys[0]].checksum == before[keys[0]].checksum
    assert path.read_bytes() == (origin / keys[0]).read_bytes()


def test_what_these_tools_wrote_and_is_damaged_by_now_is_replaced(origin, keys, fetch, images_dir):
    with serve(origin) as server:
        fetch(server.url, keys[:2])
        os.truncate(images_dir / keys[0], 100)
        assert reasons(fetch(server.url, keys[:2])) == {(State.PRESENT, None)}
        assert (images_dir / keys[0]).read_bytes() == (origin / keys[0]).read_bytes()
        os.truncate(images_dir / keys[0], 100)
        server.faults = always(Fault(404))
        assert fetch(server.url, keys[:2])[keys[0]].state is State.MISSING
    assert not (images_dir / keys[0]).exists()


@pytest.mark.parametrize("is_moved", [False, True])
def test_what_changed_in_its_folder_is_copied_again(
    origin, keys, fetch, images_dir, tmp_path, is_moved
):
    ours, theirs = images_dir / keys[0], tmp_path / "theirs" / keys[0]
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes((origin / keys[0]).read_bytes())
    fetch(tmp_path / "theirs", keys[:1])
    written = snapshot(images_dir)
    fetch(tmp_path / "theirs", keys[:1])
    assert snapshot(images_dir) == written
    better = tmp_path / "better.jpg"
    better.write_bytes((origin / keys[1]).read_bytes())
    os.utime(better, (1, 1))
    if is_moved:
        better.rename(theirs)
    else:
        theirs.write_bytes(better.read_bytes())
    fetch(tmp_path / "theirs", keys[:1])
    assert ours.read_bytes() == (origin / keys[1]).read_bytes()
    theirs.unlink()
    assert fetch(tmp_path / "theirs", keys[:1])[keys[0]].state is State.PRESENT


@pytest.mark.parametrize(
    ("fault", "state", "reason"),
    [
        (Fault(404), State.MISSING, Kind.ABSENT),
        (Fault(403), State.FAILED, Kind.REFUSED),
        (CUT, State.FAILED, Kind.UNREACHABLE),
        (SHORTER, State.CORRUPT, Kind.DAMAGED),
    ],
)
def test_what_cannot_be_fetched_leaves_nothing_and_has_its_reason(
    origin, keys, fetch, images_dir, fault, state, reason
):
    news = []
    with serve(origin, always(fault)) as server:
        outcomes = fetch(server.url, keys[:2], news=news)
        for key in keys[:2]:
            assert outcomes[key][:6] == (
                Path(key).name,
                state,
                reason,
                0,
                "",
                f"{server.url}/{key}",
            )
            assert not outcomes[key].fetched
    assert list((images_dir / "train").iterdir()) == []
    assert tuple(map(sum, zip(*news, strict=True))) == (2, 0, 2)


def test_an_image_that_was_damaged_on_its_way_is_asked_for_again(origin, keys, fetch, images_dir):
    with serve(origin, first(1, SHORTER)) as server:
        assert reasons(fetch(server.url, keys[:2])) == {(State.PRESENT, None)}
    for key in keys[:2]:
        assert (images_dir / key).read_bytes() == (origin / key).read_bytes()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"<html>not here</html>",
        lambda data: data[: len(data) // 2],
        lambda data: data[:300],
    ],
)
def test_a_damaged_image_of_the_source_is_refused_with_the_facts(
    origin, keys, fetch, images_dir, tmp_path, damage
):
    served = tmp_path / "served" / keys[0]
    served.parent.mkdir(parents=True)
    served.write_bytes(damage((origin / keys[0]).read_bytes()))
    outcome = fetch(tmp_path / "served", keys[:1])[keys[0]]
    assert (outcome.state, outcome.reason) == (State.CORRUPT, Kind.DAMAGED)
    assert outcome.detail
    assert not (images_dir / keys[0]).exists()


def test_many_images_come_whole_and_once(origin, keys, fetch, images_dir, tmp_path):
    (tmp_path / "served" / "train").mkdir(parents=True)
    many = [f"train/{number:016x}.jpg" for number in range(600)]
    for key in many:
        (tmp_path / "served" / key).hardlink_to(origin / keys[0])
    news = []
    with serve(tmp_path / "served") as server:
        fetch(server.url, many[:300])
        outcomes = fetch(server.url, many, news=news)
        assert sorted(line.path for line in server.log) == many
    assert reasons(outcomes) == {(State.PRESENT, None)}
    assert len(list((images_dir / "train").iterdir())) == 600
    size = (origin / keys[0]).stat().st_size
    assert tuple(map(sum, zip(*news, strict=True))) == (600, 300 * size, 0)


def test_what_images_still_take_is_estimated_by_some_of_them(origin, keys, connect, tmp_path):
    (tmp_path / "images" / "train").mkdir(parents=True)
    shutil.copy(origin / keys[0], tmp_path / "images" / keys[0])
    rows = [(*key.split("/"), key) for key in [*keys, "train/nope.jpg"]]
    files = pd.DataFrame(rows, columns=["Split", "Name", "Key"])
    with serve(origin) as server:
        bucket = connect(server.url)
        need = needed_images(files, bucket, tmp_path / "images")
        assert (need.num_images, need.num_absent, need.problem) == (len(keys), 1, None)
        exact = sum((origin / key).stat().st_size for key in keys[1:])
        assert need.num_bytes == pytest.approx(exact, rel=0.01)
        assert needed_images(files, bucket, tmp_path / "images", most=3).num_asked <= 3
        server.faults = always(Fault(403))
        assert needed_images(files, bucket, tmp_path / "images").problem.kind is Kind.REFUSED
    assert needed_images(files[:1], bucket, tmp_path / "images")[:3] == (0, 0, 0)


# --- Files that a user brought ---


@pytest.fixture
def photos(origin, keys, tmp_path):
    """The user's own photos: some whole, one cut short, one that is not a JPEG."""
    folder = tmp_path / "photos"
    (folder / "train").mkdir(parents=True)
    for key in keys[:4]:
        shutil.copy(origin / key, folder / key)
    os.truncate(folder / keys[0], 100)
    (folder / keys[1]).write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


def test_a_link_to_the_source_itself_is_taken_as_it_lies(keys, fetch, images_dir, photos):
    images_dir.parent.mkdir()
    images_dir.symlink_to(photos)
    before = snapshot(photos)
    for full_decode in (False, True, False):
        outcomes = fetch(photos, keys[:5], full_decode)
        assert snapshot(photos) == before
        found = [outcomes[key][1:3] for key in keys[:5]]
        assert found[:2] == [(State.CORRUPT, Kind.DAMAGED)] * 2
        assert found[2:4] == [(State.PRESENT, None)] * 2
        assert found[4] == (State.MISSING, Kind.ABSENT)
        assert outcomes[keys[0]].source == f"{photos}/{keys[0]}"


@pytest.mark.parametrize("link", ["images", "split"])
def test_a_linked_folder_keeps_the_files_that_it_had(origin, keys, fetch, images_dir, photos, link):
    images_dir.parent.mkdir()
    if link == "images":
        images_dir.symlink_to(photos)
    else:
        images_dir.mkdir()
        (images_dir / "train").symlink_to(photos / "train")
    before = snapshot(photos)
    (photos / "train" / ".part-mine.txt").write_text("mine")
    with serve(origin) as server:
        for _ in range(2):
            outcomes = fetch(server.url, keys)
            assert sorted(line.path for line in server.log) == keys[4:]
    assert {key: snapshot(photos)[key] for key in before if key != Path("train")} == {
        key: before[key] for key in before if key != Path("train")
    }
    assert (photos / "train" / ".part-mine.txt").exists()
    assert [outcomes[key].reason for key in keys[:2]] == [Kind.FOREIGN] * 2
    assert outcomes[keys[0]].state is State.CORRUPT and outcomes[keys[0]].detail
    assert [outcomes[key].source for key in keys[2:4]] == ["", ""]
    assert outcomes[keys[4]].source == f"{server.url}/{keys[4]}"


def test_a_file_in_a_linked_folder_that_changed_since_it_was_written_is_kept(
    origin, keys, fetch, images_dir, photos
):
    images_dir.parent.mkdir()
    images_dir.symlink_to(photos)
    with serve(origin) as server:
        fetch(server.url, keys)
        os.truncate(photos / keys[5], 50)  # by somebody else
        assert fetch(server.url, keys)[keys[5]].reason is Kind.FOREIGN
    assert (photos / keys[5]).stat().st_size == 50


@pytest.mark.parametrize("link", ["symbolic", "hard"])
def test_links_to_files_are_neither_written_nor_removed(
    origin, keys, fetch, images_dir, photos, link
):
    (images_dir / "train").mkdir(parents=True)
    for key in keys[:4]:
        if link == "symbolic":
            (images_dir / key).symlink_to(photos / key)
        else:
            (images_dir / key).hardlink_to(photos / key)
    before, links = snapshot(photos), snapshot(images_dir)
    for location in (photos, origin):
        outcomes = fetch(location, keys[:4])
        assert snapshot(photos) == before
        assert snapshot(images_dir) == links
        assert [outcomes[key].reason for key in keys[:4]] == [Kind.FOREIGN] * 2 + [None] * 2


def test_a_link_that_takes_the_place_of_what_these_tools_wrote_is_kept(
    origin, keys, fetch, images_dir, photos
):
    with serve(origin) as server:
        fetch(server.url, keys[:2])
        for key in keys[:2]:
            (images_dir / key).unlink()
        (images_dir / keys[0]).symlink_to(photos / keys[0])
        (images_dir / keys[1]).symlink_to("nowhere")
        outcomes = fetch(server.url, keys[:2])
    assert [outcomes[key].reason for key in keys[:2]] == [Kind.FOREIGN] * 2
    assert (photos / keys[0]).stat().st_size == 100
    assert (images_dir / keys[1]).is_symlink()


def test_a_damaged_file_of_unknown_origin_is_left_alone(origin, keys, fetch, images_dir):
    (images_dir / "train").mkdir(parents=True)
    (images_dir / keys[0]).write_bytes(b"mine")
    (images_dir / keys[1]).mkdir()
    shutil.copy(origin / keys[3], images_dir / keys[2])  # whole, though another one
    with serve(origin) as server:
        for _ in range(2):
            outcomes = fetch(server.url, keys[:3])
        assert server.log == []
    assert [outcomes[key].reason for key in keys[:2]] == [Kind.FOREIGN] * 2
    assert outcomes[keys[2]].state is State.PRESENT
    assert (images_dir / keys[0]).read_bytes() == b"mine"


def test_what_a_user_puts_where_the_source_has_nothing_is_never_removed(
    origin, keys, fetch, images_dir
):
    with serve(origin, always(Fault(404))) as server:
        fetch(server.url, keys[:1])
        (images_dir / keys[0]).write_bytes(b"mine, and damaged")
        assert fetch(server.url, keys[:1])[keys[0]].reason is Kind.FOREIGN
    assert (images_dir / keys[0]).read_bytes() == b"mine, and damaged"


def test_what_a_killed_run_wrote_is_known_as_written_here(
    origin, keys, fetch, images_dir, tmp_path
):
    with serve(origin) as server:
        clean = fetch(server.url, keys[:3])
        with open_manifest(tmp_path / "data") as manifest:  # as it is before images are written
            names = [(Path(key).name, f"{server.url}/{key}") for key in keys[:3]]
            manifest.record(
                "image",
                "train",
                (Outcome(n, State.FAILED, Kind.UNFINISHED, source=url) for n, url in names),
            )
        (images_dir / keys[0]).write_bytes(b"")  # by a power cut
        server.log.clear()
        again = fetch(server.url, keys[:3])
        assert [line.path for line in server.log] == keys[:1]
    for key in keys[:3]:
        assert again[key][:6] == clean[key][:6]


def test_something_else_in_the_place_of_a_folder_is_named(origin, keys, fetch, images_dir):
    images_dir.mkdir(parents=True)
    (images_dir / "train").write_text("a file where a folder has to be")
    with refused(Kind.FOREIGN, remedy=Remedy.MOVE_AWAY, about=images_dir / "train"):
        fetch(origin, keys)
