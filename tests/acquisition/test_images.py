import os
from pathlib import Path

import pytest
from servers import CUT, SHORTER, Fault, always, first, serve

from oiv5_d2.acquisition.images import fetch_images
from oiv5_d2.acquisition.outcomes import Known, checksum, moment
from oiv5_d2.acquisition.stores import FolderStore, HttpStore, Transfer
from oiv5_d2.openimages import release


@pytest.fixture
def pictures(tiny_release):
    """The folder of the release's pictures, and the keys of some of them."""
    folder = tiny_release / release.IMAGES_DIR
    return folder, sorted(f"train/{path.name}" for path in (folder / "train").iterdir())


def bring(server, keys, images_dir, known=None, full_decode=False, news=None):
    """Return each key's outcome, in the order in which they were told."""
    store = HttpStore(server.url, Transfer(tries=2, pause_seconds=0.01))
    news = [] if news is None else news
    advance = lambda *numbers: news.append(numbers)  # noqa: E731
    outcomes = {}
    try:
        fetch_images(
            keys,
            store,
            images_dir,
            (known or {}).get,
            full_decode,
            advance,
            outcomes.__setitem__,
        )
    finally:
        store.close()
    assert list(outcomes) == keys
    return outcomes


def test_pictures_are_the_same_bytes_with_their_checksums(pictures, tmp_path):
    folder, keys = pictures
    news = []
    with serve(folder) as server:
        outcomes = bring(server, keys, tmp_path, news=news)
    for key in keys:
        data = (folder / key).read_bytes()
        assert (tmp_path / key).read_bytes() == data
        assert outcomes[key].checksum == checksum(data)
        assert outcomes[key][:4] == (Path(key).name, "present", "", len(data))
    num_bytes = sum((folder / key).stat().st_size for key in keys)
    assert tuple(map(sum, zip(*news, strict=True))) == (len(keys), num_bytes, 0)


def test_what_is_there_and_whole_is_not_asked_for(pictures, tmp_path):
    folder, keys = pictures
    (tmp_path / "train").mkdir()
    (tmp_path / keys[0]).write_bytes((folder / keys[0]).read_bytes())
    (tmp_path / keys[1]).write_bytes((folder / keys[1]).read_bytes()[:-100])
    (tmp_path / keys[2]).write_bytes(b"known")
    when = moment((tmp_path / keys[2]).stat().st_mtime)
    known = {keys[2]: Known(5, "its checksum", "another mirror", when)}
    with serve(folder) as server:
        outcomes = bring(server, keys, tmp_path, known)
        assert sorted(line.path for line in server.log) == sorted({*keys} - {keys[0], keys[2]})
    assert outcomes[keys[2]][3:] == known[keys[2]]
    assert (tmp_path / keys[1]).read_bytes() == (folder / keys[1]).read_bytes()


def known_from(outcomes):
    return {key: Known(*outcome[3:]) for key, outcome in outcomes.items()}


def test_what_was_only_touched_since_it_was_checked_is_kept(pictures, tmp_path):
    folder, keys = pictures
    with serve(folder) as server:
        known = known_from(bring(server, keys, tmp_path))
        server.log.clear()
        os.utime(tmp_path / keys[0], (1, 1))
        outcomes = bring(server, keys, tmp_path, known)
        assert not server.log
    assert outcomes[keys[0]].fetched == "1970-01-01T00:00:01+00:00"
    assert outcomes[keys[0]].checksum == known[keys[0]].checksum


@pytest.mark.parametrize("full_decode", [False, True])
def test_what_changed_since_it_was_checked_is_asked_for_again(pictures, tmp_path, full_decode):
    """Even where it is a whole picture. With its time as it was, only a full reading tells."""
    folder, keys = pictures
    with serve(folder) as server:
        known = known_from(bring(server, keys[:2], tmp_path))
        server.log.clear()
        path = tmp_path / keys[0]
        times = path.stat().st_atime_ns, path.stat().st_mtime_ns + (not full_decode) * 10**10
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        os.utime(path, ns=times)
        outcomes = bring(server, keys[:2], tmp_path, known, full_decode)
        assert [line.path for line in server.log] == keys[:1]
    assert known_from(outcomes)[keys[0]].checksum == known[keys[0]].checksum
    assert path.read_bytes() == (folder / keys[0]).read_bytes()


@pytest.mark.parametrize("is_moved", [False, True])
def test_what_changed_in_its_folder_is_copied_again(pictures, tmp_path, is_moved):
    folder, keys = pictures
    ours, theirs = tmp_path / "ours" / keys[0], tmp_path / "theirs" / keys[0]
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes((folder / keys[0]).read_bytes())
    told = {}

    def bring_it():
        known = known_from(told).get
        store = FolderStore(tmp_path / "theirs")
        fetch_images(
            keys[:1], store, tmp_path / "ours", known, False, lambda *n: None, told.__setitem__
        )

    bring_it()
    written = ours.stat()
    bring_it()
    assert (ours.stat().st_ino, ours.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    better = tmp_path / "better.jpg"
    better.write_bytes((folder / keys[1]).read_bytes())
    os.utime(better, (1, 1))
    if is_moved:
        better.rename(theirs)
    else:
        theirs.write_bytes(better.read_bytes())
    bring_it()
    assert ours.read_bytes() == (folder / keys[1]).read_bytes()
    theirs.unlink()
    bring_it()
    assert told[keys[0]].state == "present"  # what was brought stays


@pytest.mark.parametrize(
    ("fault", "state", "reason"),
    [
        (Fault(404), "missing", "not in the release"),
        (Fault(403), "failed", "403"),
        (CUT, "failed", "2 tries"),
    ],
)
def test_what_can_not_be_had_leaves_nothing_and_says_why(pictures, tmp_path, fault, state, reason):
    folder, keys = pictures
    with serve(folder, always(fault)) as server:
        outcomes = bring(server, keys[:2], tmp_path)
    for key in keys[:2]:
        assert (outcomes[key].state, outcomes[key].checksum) == (state, "")
        assert reason in outcomes[key].reason
        assert not (tmp_path / key).exists()
    assert list((tmp_path / "train").iterdir()) == []


def test_a_picture_that_was_damaged_on_its_way_is_asked_for_again(pictures, tmp_path):
    folder, keys = pictures
    with serve(folder, first(1, SHORTER)) as server:
        outcomes = bring(server, keys[:2], tmp_path)
    assert {outcome.state for outcome in outcomes.values()} == {"present"}
    for key in keys[:2]:
        assert (tmp_path / key).read_bytes() == (folder / key).read_bytes()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: b"", "empty"),
        (lambda data: b"<html>not here</html>", "not a JPEG"),
        (lambda data: data[: len(data) // 2], "damaged"),
        (lambda data: data[:300], "damaged"),
    ],
)
def test_a_damaged_picture_is_refused_and_what_lay_there_is_gone(
    pictures, tmp_path, damage, reason
):
    folder, keys = pictures
    served = tmp_path / "served" / keys[0]
    served.parent.mkdir(parents=True)
    served.write_bytes(damage((folder / keys[0]).read_bytes()))
    (tmp_path / "train").mkdir()
    (tmp_path / keys[0]).write_bytes(b"damaged earlier")
    with serve(tmp_path / "served") as server:
        outcomes = bring(server, keys[:1], tmp_path)
    assert outcomes[keys[0]].state == "corrupt"
    assert reason in outcomes[keys[0]].reason
    assert not (tmp_path / keys[0]).exists()


class SecondComesLast(FolderStore):
    """A folder whose second file comes after all others."""

    def read_many(self, gets, check=None):
        one, two, *others = super().read_many(gets, check)
        return iter([one, *others, two])


def test_outcomes_are_told_in_order_as_soon_as_those_before_are_known(pictures, tmp_path):
    folder, keys = pictures
    told, num_told = [], []
    advance = lambda *numbers: num_told.append(len(told))  # noqa: E731
    note = lambda key, outcome: told.append(key)  # noqa: E731
    fetch_images(keys, SecondComesLast(folder), tmp_path, lambda key: None, False, advance, note)
    assert told == keys
    assert num_told == [1] * (len(keys) - 1) + [len(keys)]


def test_many_pictures_come_whole_and_once(pictures, tmp_path):
    folder, keys = pictures
    (tmp_path / "served" / "train").mkdir(parents=True)
    many = [f"train/{number:016x}.jpg" for number in range(600)]
    for key in many:
        (tmp_path / "served" / key).hardlink_to(folder / keys[0])
    news = []
    with serve(tmp_path / "served") as server:
        bring(server, many[:300], tmp_path / "to")
        outcomes = bring(server, many, tmp_path / "to", news=news)
        assert sorted(line.path for line in server.log) == many
    assert set(outcomes) == set(many)
    assert {outcome.state for outcome in outcomes.values()} == {"present"}
    assert len(list((tmp_path / "to" / "train").iterdir())) == 600
    size = (folder / keys[0]).stat().st_size
    assert tuple(map(sum, zip(*news, strict=True))) == (600, 300 * size, 0)
