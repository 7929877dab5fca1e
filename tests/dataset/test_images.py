from pathlib import Path

import pytest
from servers import CUT, SHORTER, Fault, always, first, serve

from oiv5_d2.dataset.images import fetch_images
from oiv5_d2.dataset.outcomes import Known, checksum
from oiv5_d2.dataset.stores import FolderStore, HttpStore, Transfer
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
    with serve(folder) as server:
        outcomes = bring(server, keys, tmp_path, known={keys[2]: Known(5, "its checksum")})
        assert sorted(line.path for line in server.log) == sorted({*keys} - {keys[0], keys[2]})
    assert outcomes[keys[2]].checksum == "its checksum"
    assert (tmp_path / keys[1]).read_bytes() == (folder / keys[1]).read_bytes()


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
