import hashlib
import io
import itertools
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from processes import wait_until
from servers import CUT, NO_RANGES, Fault, always, serve, sometimes
from zip_files import FarStore, FlippingStore, header_of, in_header, parse, zipped

from oiv5_d2.acquisition.mask_zips import ranges
from oiv5_d2.acquisition.mask_zips.extraction import extract_masks
from oiv5_d2.acquisition.mask_zips.spool import Spool
from oiv5_d2.acquisition.outcomes import checksum
from oiv5_d2.acquisition.stores import ChangedError, FolderStore, HttpStore, StoreError, Transfer
from oiv5_d2.openimages import release

NAMES = [f"0{number:015x}_m0k4j_{number:08x}.png" for number in range(12)]
KEY = release.V5.mask_zip("train", "0").path


def png(size, noise=0):
    buffer = io.BytesIO()
    Image.effect_noise(size, noise).convert("1").save(buffer, "PNG")
    return buffer.getvalue()


MASKS = {name: png((200 + number, 200), 90) for number, name in enumerate(NAMES)}
ZIPS = {method: zipped(MASKS, method) for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)}
STORED = ZIPS[zipfile.ZIP_STORED]


def put(root, data):
    (root / KEY).parent.mkdir(parents=True, exist_ok=True)
    (root / KEY).write_bytes(data)


@pytest.fixture
def near(tmp_path):
    """The release in a folder."""
    put(tmp_path / "release", STORED)
    return FolderStore(tmp_path / "release")


@pytest.fixture
def far(near):
    """The release on a server."""
    return FarStore(near.root)


@pytest.fixture
def shard_path(tmp_path):
    return tmp_path / "masks" / "train-masks-0.zip"


def extract(store, wanted, shard_path, **options):
    told = []
    outcomes = extract_masks(
        store, "train", "0", wanted, shard_path, lambda *news: told.append(news), **options
    )
    assert [outcome.path for outcome in outcomes] == list(wanted)
    lacking = [outcome for outcome in outcomes if outcome.state != "present"]
    assert sum(num_files for num_files, _, _ in told) == len(wanted)
    assert sum(num_failed for _, _, num_failed in told) == len(lacking)
    assert all(outcome.reason and "\n" not in outcome.reason for outcome in lacking)
    assert all(not outcome.checksum for outcome in lacking)
    return outcomes


def states(outcomes):
    return [outcome.state for outcome in outcomes]


def read_all(path):
    with zipfile.ZipFile(path) as shard:
        assert shard.testzip() is None
        return {name: shard.read(name) for name in shard.namelist()}


def files_beside(path):
    return sorted(other.name for other in path.parent.iterdir() if other != path)


# --- What is made ---------------------------------------------------------------------------------


@pytest.mark.parametrize("data", ZIPS.values())
@pytest.mark.parametrize("mode", ["auto", "range", "whole"])
@pytest.mark.parametrize("is_far", [True, False])
def test_the_wanted_masks_are_cut_out(near, far, shard_path, data, mode, is_far):
    put(near.root, data)
    outcomes = extract(far if is_far else near, NAMES[1:3], shard_path, mode=mode)
    assert states(outcomes) == ["present"] * 2
    for outcome in outcomes:
        content = MASKS[outcome.path]
        assert outcome.num_bytes == len(content)
        assert outcome.checksum == checksum(content)
    assert read_all(shard_path) == {name: MASKS[name] for name in NAMES[1:3]}
    assert not files_beside(shard_path)


def test_the_bytes_are_the_same_as_ever(near, shard_path):
    """Folders that were prepared by a former version are to be known again."""
    extract(near, NAMES[:2], shard_path)
    expected = io.BytesIO()
    with zipfile.ZipFile(expected, "w") as archive:
        archive.comment = b"The wanted masks only, cut from the release by oiv5_d2"
        for name in NAMES[:2]:
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, MASKS[name])
    assert shard_path.read_bytes() == expected.getvalue()


def test_what_is_there_is_kept_when_more_is_wanted(near, shard_path):
    extract(near, NAMES[:2], shard_path)
    put(near.root, b"")
    outcomes = extract(near, NAMES[:4], shard_path)
    assert states(outcomes) == ["present", "present", "corrupt", "corrupt"]
    assert list(read_all(shard_path)) == NAMES[:2]


def test_masks_that_changed_in_their_folder_are_copied_again(near, shard_path):
    before = extract(near, NAMES[:3], shard_path)
    changed = {**MASKS, NAMES[1]: MASKS[NAMES[2]]}
    del changed[NAMES[0]]
    while (near.root / KEY).stat().st_ctime_ns <= shard_path.stat().st_mtime_ns:
        put(near.root, zipped(changed))  # until the clock of files has moved on
    outcomes = extract(near, NAMES[:3], shard_path)
    assert states(outcomes) == ["present"] * 3  # what was brought stays
    assert outcomes[1].checksum == before[2].checksum
    assert read_all(shard_path)[NAMES[1]] == MASKS[NAMES[2]]


def test_what_is_not_wanted_any_more_is_dropped(far, shard_path):
    extract(far, NAMES[:4], shard_path)
    (far.root / KEY).unlink()
    assert states(extract(far, NAMES[1:3], shard_path)) == ["present"] * 2
    assert list(read_all(shard_path)) == NAMES[1:3]


def test_a_zip_that_need_not_change_is_not_written_and_nothing_is_asked(far, shard_path):
    first = extract(far, [*NAMES, "z.png"], shard_path)
    written = shard_path.stat()  # but for the time of reading: who looks into the zip changes that
    far.gets.clear()
    assert extract(far, NAMES, shard_path) == first[:-1]
    assert not far.gets
    extract(far, [*NAMES, "z.png"], shard_path)
    again = shard_path.stat()
    assert (again.st_ino, again.st_mtime_ns) == (written.st_ino, written.st_mtime_ns)


def test_a_mask_damaged_in_the_zip_that_was_made_is_brought_again(far, shard_path):
    extract(far, NAMES, shard_path)
    before = shard_path.read_bytes()
    place = before.index(MASKS[NAMES[3]]) + 50
    shard_path.write_bytes(before[:place] + b"XX" + before[place + 2 :])
    far.gets.clear()
    assert states(extract(far, NAMES, shard_path)) == ["present"] * 12
    assert shard_path.read_bytes() == before
    assert len(far.gets) <= 3
    assert far.num_bytes < 0.3 * len(STORED)


def test_what_lies_where_the_zip_is_to_be_and_can_not_be_read_is_named(far, shard_path):
    shard_path.mkdir(parents=True)
    with pytest.raises(OSError, match=f"^{shard_path}: it can not be read: .*Move it away"):
        extract(far, NAMES, shard_path)


def test_masks_that_the_zip_does_not_have_are_missing(far, shard_path):
    outcomes = extract(far, [NAMES[0], "absent.png"], shard_path)
    assert outcomes[1][1:3] == ("missing", "the zip has no such entry")
    assert list(read_all(shard_path)) == NAMES[:1]


def test_an_empty_zip_has_none(far, shard_path):
    put(far.root, zipped({}))
    assert states(extract(far, NAMES, shard_path)) == ["missing"] * 12
    assert read_all(shard_path) == {}


# --- What is asked for ----------------------------------------------------------------------------


@settings(max_examples=50)
@given(st.sets(st.sampled_from(NAMES), min_size=1), st.sampled_from(list(ZIPS.values())))
def test_little_more_is_fetched_than_what_is_wanted(wanted, data):
    with tempfile.TemporaryDirectory() as folder:
        put(Path(folder), data)
        store = FarStore(Path(folder))
        extract(store, sorted(wanted), Path(folder) / "shard.zip")
        end = data.rindex(b"PK\5\6")
        directory_bytes = len(data) - int.from_bytes(data[end + 16 : end + 20], "little")
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            sizes = [archive.getinfo(name).compress_size + 30 + len(name) for name in wanted]
        assert store.num_bytes <= 1.1 * (sum(sizes) + directory_bytes)


def test_neighbours_are_asked_for_together(far, shard_path):
    extract(far, NAMES[4:8], shard_path, mode="range")
    assert len([get for get in far.gets if get.start < STORED.index(b"PK\1\2")]) == 1


@pytest.mark.parametrize("mode", ["range", "whole"])
def test_bytes_are_told_as_they_come(far, shard_path, mode):
    told = []
    extract_masks(far, "train", "0", NAMES, shard_path, lambda *news: told.append(news), mode=mode)
    num_bytes = sum(num_bytes for _, num_bytes, _ in told)
    assert num_bytes == far.num_bytes == len(STORED)


# --- Whole zips -----------------------------------------------------------------------------------


def test_a_zip_that_is_nearly_all_wanted_is_fetched_whole(far, shard_path, tmp_path):
    extract(far, NAMES, shard_path, keep_zip_dir=tmp_path / "kept")
    kept = tmp_path / "kept" / "train-masks-0.zip"
    assert kept.read_bytes() == STORED
    assert read_all(shard_path) == MASKS
    assert not files_beside(shard_path)
    far.gets.clear(), far.heads.clear()
    shard_path.unlink()
    extract(far, NAMES[:4], shard_path, keep_zip_dir=tmp_path / "kept")
    assert not far.gets + far.heads
    assert kept.read_bytes() == STORED


@pytest.fixture
def kept(tmp_path, far, shard_path):
    """A whole zip that an earlier run kept; what it took from it is gone."""
    extract(far, NAMES, shard_path, mode="whole", keep_zip_dir=tmp_path / "kept")
    shard_path.unlink()
    far.gets.clear(), far.heads.clear()
    return tmp_path / "kept" / "train-masks-0.zip"


def test_a_kept_zip_that_is_damaged_as_a_whole_is_fetched_anew(far, shard_path, kept):
    kept.write_bytes(STORED[:-40])
    assert states(extract(far, NAMES, shard_path, keep_zip_dir=kept.parent)) == ["present"] * 12
    assert kept.read_bytes() == STORED


def test_of_a_kept_zip_that_is_damaged_in_a_mask_that_one_is_asked_for(far, shard_path, kept):
    kept.write_bytes(flipped(NAMES[5])(STORED))
    assert states(extract(far, NAMES, shard_path, keep_zip_dir=kept.parent)) == ["present"] * 12
    assert far.num_bytes < 0.3 * len(STORED)
    assert not kept.exists()


def test_a_kept_zip_is_dropped_where_the_server_has_a_fuller_one(far, shard_path, kept):
    new = "0f.png"
    data = zipped(MASKS | {new: png((9, 9))})
    put(far.root, data)
    wanted = sorted([*NAMES, new])
    assert states(extract(far, wanted, shard_path, keep_zip_dir=kept.parent)) == ["present"] * 13
    assert kept.read_bytes() == data


@pytest.mark.parametrize("is_there", [True, False])
def test_a_kept_zip_stays_where_the_server_has_no_other(far, shard_path, kept, is_there):
    if not is_there:
        (far.root / KEY).unlink()
    outcomes = extract(far, [NAMES[0], "absent.png"], shard_path, keep_zip_dir=kept.parent)
    assert states(outcomes) == ["present", "missing"]
    assert kept.read_bytes() == STORED
    assert (far.gets, far.heads) == ([], [KEY])


def test_a_kept_zip_serves_where_no_server_answers(far, shard_path, kept, monkeypatch):
    def fail(key):
        raise StoreError("no answer, 5 tries")

    monkeypatch.setattr(far, "head", fail)
    outcomes = extract(far, [NAMES[0], "absent.png"], shard_path, keep_zip_dir=kept.parent)
    reason = f"{kept} has no such entry, and the server can not be asked: no answer, 5 tries"
    assert states(outcomes) == ["present", "failed"]
    assert outcomes[1].reason == reason


def test_a_kept_zip_that_can_not_be_opened_is_named(far, shard_path, kept):
    kept.unlink()
    kept.mkdir()
    outcomes = extract(far, NAMES[:1], shard_path, keep_zip_dir=kept.parent)
    assert states(outcomes) == ["failed"]
    assert f"{kept}: it can not be read: Is a directory. Remove it" in outcomes[0].reason


def test_many_requests_are_too_many(far, shard_path, tmp_path, monkeypatch):
    monkeypatch.setattr(ranges, "FEW_REQUESTS", 1)
    extract(far, NAMES[::2], shard_path, keep_zip_dir=tmp_path / "kept")
    assert (tmp_path / "kept" / "train-masks-0.zip").exists()


def test_a_whole_zip_that_was_cut_short_goes_on(far, shard_path):
    far.fail = lambda get: StoreError("no answer, 5 tries") if get.stop == 20_000 else None
    outcomes = extract(far, NAMES, shard_path, mode="whole")
    assert {outcome[1:3] for outcome in outcomes} == {("failed", f"{KEY}: no answer, 5 tries")}
    far.fail = lambda get: None
    assert states(extract(far, NAMES, shard_path, mode="whole")) == ["present"] * 12
    assert far.num_bytes == len(STORED)
    assert not files_beside(shard_path)


def test_what_came_of_a_whole_zip_is_removed_when_it_is_not_needed(far, shard_path):
    far.fail = lambda get: StoreError("no answer") if get.stop == 20_000 else None
    extract(far, NAMES, shard_path, mode="whole")
    assert [name for name in files_beside(shard_path) if name.startswith(".arriving-")]
    extract(far, NAMES[:1], shard_path, mode="range")
    assert not files_beside(shard_path)


@pytest.mark.parametrize("is_right", [True, False])
def test_the_real_zip_has_to_have_its_md5(far, shard_path, tmp_path, monkeypatch, is_right):
    md5 = hashlib.md5(STORED).hexdigest() if is_right else "0" * 32
    monkeypatch.setitem(release._FINGERPRINTS, KEY, (len(STORED), md5))
    outcomes = extract(far, NAMES, shard_path, mode="whole", keep_zip_dir=tmp_path / "kept")
    assert states(outcomes) == ["present" if is_right else "corrupt"] * 12
    assert (tmp_path / "kept").exists() == is_right
    if not is_right:
        assert re.search(r"its MD5 is \w+, and the release's is 0+$", outcomes[0].reason)
    assert not files_beside(shard_path)


def test_a_damaged_whole_zip_is_not_kept(far, shard_path, tmp_path):
    put(far.root, STORED[:-1])
    outcomes = extract(far, NAMES, shard_path, mode="whole", keep_zip_dir=tmp_path / "kept")
    assert {outcome.state for outcome in outcomes} == {"corrupt"}
    assert "not a zip" in outcomes[0].reason
    assert not (tmp_path / "kept").exists()
    assert not files_beside(shard_path)


# --- What can not be had --------------------------------------------------------------------------


def flipped(name):
    def change(data):
        place = data.index(MASKS[name]) + 60
        return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]

    return change


def replaced(name, content):
    return lambda data: zipped(MASKS | {name: content})


def renamed_locally(name):
    def change(data):
        place = data.index(name.encode())
        return data[:place] + b"f" + data[place + 1 :]

    return change


HUGE_PNG = png((8, 8))[:16] + (60_000).to_bytes(4, "big") * 2 + png((8, 8))[24:]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (flipped(NAMES[5]), "its CRC-32 is not the one that the zip has for it"),
        (in_header(NAMES[5], 8, "<H", 1), "it is encrypted"),
        (in_header(NAMES[5], 10, "<H", 99), "it is packed by a method that is not read here (99)"),
        (in_header(NAMES[5], 24, "<L", 50 << 20), "it would unpack to 52428800 bytes: refused"),
        (renamed_locally(NAMES[5]), "its local header is damaged, or another entry's"),
        (replaced(NAMES[5], b""), "the file is empty"),
        (replaced(NAMES[5], b"GIF89a" * 9), "not a PNG"),
        (replaced(NAMES[5], HUGE_PNG), "60000x60000 pixels are refused"),
        (replaced(NAMES[5], png((99, 99), 90)[:-20]), "a damaged PNG"),
    ],
)
def test_a_corrupt_mask_is_told_and_leaves_nothing(far, shard_path, change, reason):
    put(far.root, change(STORED))
    outcomes = extract(far, NAMES[4:7], shard_path)
    assert states(outcomes) == ["present", "corrupt", "present"]
    assert reason in outcomes[1].reason
    assert list(read_all(shard_path)) == [NAMES[4], NAMES[6]]
    assert not files_beside(shard_path)


class DamagingStore(FarStore):
    """The first part that is read of a zip's entries comes with other bytes."""

    has_erred = False

    def read_many(self, gets, check=None):
        for answer in super().read_many(gets, check):
            if answer.data.startswith(b"PK\3\4") and not self.has_erred:
                self.has_erred = True
                answer = answer._replace(data=answer.data[:-100] + bytes(100))
            yield answer


def test_a_mask_that_was_damaged_on_its_way_is_asked_for_again_and_no_other(near, shard_path):
    store = DamagingStore(near.root)
    wanted = [NAMES[0], NAMES[1], NAMES[2]]
    assert states(extract(store, wanted, shard_path, mode="range")) == ["present"] * 3
    assert store.has_erred
    assert read_all(shard_path) == {name: MASKS[name] for name in wanted}
    last, entry = store.gets[-1], parse(STORED).entries[NAMES[2]]
    assert (last.start, last.stop) == (entry.start, entry.stop)


@pytest.mark.parametrize("offset", [0, 16])  # of the signature and the CRC-32
def test_a_directory_that_was_damaged_on_its_way_is_asked_for_again(near, shard_path, offset):
    store = FlippingStore(near.root, header_of(STORED, NAMES[5]) + offset)
    assert states(extract(store, NAMES[4:7], shard_path, mode="range")) == ["present"] * 3
    assert store.has_erred
    assert not files_beside(shard_path)


def test_no_damaged_directory_is_kept_for_what_failed(near, shard_path):
    store = FlippingStore(near.root, header_of(STORED, NAMES[5]) + 16)
    store.fail = lambda get: StoreError("no answer") if get.start == 0 else None
    wanted = [NAMES[0], NAMES[5]]
    assert states(extract(store, wanted, shard_path, mode="range")) == ["failed", "present"]
    store.fail = lambda get: None
    assert states(extract(store, wanted, shard_path, mode="range")) == ["present"] * 2


def test_two_entries_of_one_name_are_refused(far, shard_path):
    other = NAMES[5].replace("5", "4")
    assert other == NAMES[4]
    data = bytearray(STORED)
    place = header_of(STORED, NAMES[5]) + 46
    data[place : place + len(other)] = other.encode()
    put(far.root, bytes(data))
    outcomes = extract(far, NAMES[4:6], shard_path)
    assert outcomes[0][1:3] == ("corrupt", "the zip has several entries of this name")
    assert states(outcomes) == ["corrupt", "missing"]


def test_a_name_that_leads_out_of_the_folder_is_refused(far, shard_path):
    put(far.root, zipped({"../../evil.png": png((9, 9))}))
    [outcome] = extract(far, ["../../evil.png"], shard_path)
    assert outcome[1:3] == ("corrupt", "its name is not a plain file's name: refused")
    assert read_all(shard_path) == {}


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (StoreError("the server says 403 Forbidden"), "failed", f"{KEY}: the server says 403"),
        (FileNotFoundError("gone"), "missing", f"{KEY} is not in the release"),
    ],
)
@pytest.mark.parametrize("is_at_the_end", [True, False])
def test_a_part_that_can_not_be_had_is_told(far, shard_path, error, state, reason, is_at_the_end):
    directory_start = STORED.index(b"PK\1\2")
    far.fail = lambda get: error if (get.start >= directory_start) == is_at_the_end else None
    outcomes = extract(far, NAMES[:2], shard_path)
    assert states(outcomes) == [state] * 2
    assert outcomes[0].reason.startswith(reason)


def test_a_zip_that_is_not_there_is_missing(far, shard_path):
    (far.root / KEY).unlink()
    outcomes = extract(far, NAMES[:2], shard_path)
    assert {outcome[1:3] for outcome in outcomes} == {("missing", f"{KEY} is not in the release")}


def test_what_failed_is_asked_for_again_and_nothing_else(far, shard_path, tmp_path):
    far.fail = lambda get: StoreError("no answer") if get.start == 0 else None
    assert states(extract(far, NAMES[::2], shard_path)) == ["failed"] + ["present"] * 5
    far.fail = lambda get: None
    far.gets.clear()
    assert states(extract(far, NAMES[::2], shard_path)) == ["present"] * 6
    assert [get.start for get in far.gets] == [0]  # the directory was kept
    extract(far, NAMES[::2], tmp_path / "clean.zip")
    assert shard_path.read_bytes() == (tmp_path / "clean.zip").read_bytes()
    assert not files_beside(shard_path)


# --- A zip that becomes another one ---------------------------------------------------------------


@pytest.mark.parametrize("mode", ["range", "whole"])
def test_a_zip_that_changes_on_the_way_is_begun_anew(far, shard_path, mode):
    changed = MASKS | {name: png((50, 50 + number), 90) for number, name in enumerate(NAMES[:6])}

    def fail(get):
        if get.stop > 20_000 and (far.root / KEY).read_bytes() == STORED:
            put(far.root, zipped(changed))
            return ChangedError("the file is another one than before") if mode == "whole" else None
        return None

    far.fail = fail
    wanted = NAMES[::2]
    told = extract(far, wanted, shard_path, mode=mode)
    assert states(told) == ["present"] * 6
    assert read_all(shard_path) == {name: changed[name] for name in wanted}


def test_a_zip_that_never_rests_fails(far, shard_path):
    def fail(get):
        return ChangedError("the file is another one than before") if get.start == 0 else None

    far.fail = fail
    outcomes = extract(far, NAMES[:2], shard_path)
    assert states(outcomes) == ["failed"] * 2
    assert outcomes[0].reason == f"{KEY}: the file is another one than before"


def test_masks_of_a_former_zip_are_not_mixed_with_those_of_another(far, shard_path, tmp_path):
    extract(far, NAMES[:4], shard_path)
    put(far.root, zipped(MASKS | {NAMES[1]: png((9, 9))}))
    extract(far, NAMES, shard_path)
    extract(far, NAMES, tmp_path / "clean.zip")
    assert shard_path.read_bytes() == (tmp_path / "clean.zip").read_bytes()


def test_masks_that_are_here_stay_while_those_of_another_zip_can_not_be_had(
    far, shard_path, caplog
):
    first = extract(far, NAMES[:5], shard_path)
    changed = {name: png((100 + number, 99), 90) for number, name in enumerate(NAMES)}
    put(far.root, zipped(changed))
    far.fail = lambda get: StoreError("no answer") if get.start == 0 else None
    outcomes = extract(far, NAMES[:6], shard_path)
    assert outcomes[:5] == first
    assert states(outcomes[5:]) == ["failed"]
    assert read_all(shard_path) == {name: MASKS[name] for name in NAMES[:5]}
    assert "5 masks are other ones by now" in caplog.text
    far.fail = lambda get: None
    extract(far, NAMES[:6], shard_path)
    assert read_all(shard_path) == {name: changed[name] for name in NAMES[:6]}


# --- Killed ---------------------------------------------------------------------------------------


class KilledError(BaseException):
    """Nothing catches it, as nothing catches a kill."""


@pytest.mark.parametrize("num_requests", range(2, 8))
@pytest.mark.parametrize("mode", ["range", "whole"])
def test_an_aborted_run_asks_for_nothing_twice(far, shard_path, tmp_path, num_requests, mode):
    wanted = NAMES[::2] if mode == "range" else NAMES
    count = itertools.count()

    def kill(get):
        if next(count) == num_requests:
            raise KilledError

    far.fail = kill
    with pytest.raises(KilledError):
        extract(far, wanted, shard_path, mode=mode)
    assert not shard_path.exists()
    if mode == "range":
        far.gets.pop()  # it was not answered
    assert states(extract(far, wanted, shard_path, mode=mode)) == ["present"] * len(wanted)
    gets = sorted((get.start, get.stop) for get in far.gets)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(gets))
    extract(far, wanted, tmp_path / "clean.zip", mode=mode)
    assert shard_path.read_bytes() == (tmp_path / "clean.zip").read_bytes()
    assert not files_beside(shard_path)


CHILD = """
import sys
from pathlib import Path
from oiv5_d2.acquisition.mask_zips.extraction import extract_masks
from oiv5_d2.acquisition.stores import HttpStore, Transfer
url, shard_path, mode, *wanted = sys.argv[1:]
store = HttpStore(url, Transfer(connections=4, max_bytes_per_second=200_000))
print("ready", flush=True)
extract_masks(store, "train", "0", wanted, Path(shard_path), lambda *news: None, mode=mode)
print("done", flush=True)
"""


class Stingy:
    """How a server errs that falls silent before all has come, so that no run ends by itself."""

    def __init__(self, data):
        self.directory_start = len(data) - parse(data).directory_bytes
        self.num_left = 0
        """How many bytes it gives yet, about; the directory does not count."""

    def __call__(self, request, chance):
        part = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", "bytes=0-"))
        start = int(part[1])
        if request.method == "HEAD" or start >= self.directory_start:
            return None
        if self.num_left <= 0:
            return Fault(num_bytes=1000, is_held=True)
        if not part[2]:  # the whole zip, or what is left of it
            return Fault(num_bytes=self.num_left, is_held=True)
        self.num_left -= int(part[2]) + 1 - start
        return None


def num_arrived(masks_dir):
    """Return how many bytes of masks, or of the whole zip, have come."""
    parts = [*masks_dir.glob(".spool-*"), *masks_dir.glob(".arriving-*")]
    return sum(part.stat().st_size for part in parts)


def run_child(arguments, masks_dir, is_killed):
    """Fetch in a process of its own; kill it when some more has come."""
    before = num_arrived(masks_dir)
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments], stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout.readline() == "ready\n"
            if is_killed:
                wait_until(lambda: num_arrived(masks_dir) >= before + 5000, child)
            else:
                assert child.stdout.read() == "done\n"
        finally:
            child.kill()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["range", "whole"])
def test_a_run_killed_ten_times_fetches_nothing_twice_that_was_complete(tmp_path, mode):
    names = [f"0{number:015x}_m0k4j_{number:08x}.png" for number in range(300)]
    data = zipped({name: png((150, 150), 90) for name in names})
    put(tmp_path / "release", data)
    wanted = names if mode == "whole" else names[::3]
    shard_path = tmp_path / "masks" / "train-masks-0.zip"
    settled = []  # what was there when a run was killed, and how long the log was then
    with serve(tmp_path / "release", Stingy(data)) as server:
        arguments = [server.url, str(shard_path), mode, *wanted]
        for _ in range(10):
            server.faults.num_left = 20_000
            run_child(arguments, shard_path.parent, is_killed=True)
            with Spool(shard_path.with_name(".spool-train-masks-0")) as spool:
                arrived = num_arrived(shard_path.parent) if mode == "whole" else 0
                settled.append((len(server.log), set(spool.held), arrived))
        server.faults = None
        run_child(arguments, shard_path.parent, is_killed=False)
        log = server.log
    assert settled[-1][1] or mode == "whole"
    entries = parse(data).entries
    for num_lines, held, arrived in settled:
        for access in log[num_lines:]:
            if access.method == "HEAD":
                continue
            first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", access.range).groups()
            start, last = int(first), int(last or len(data))
            assert start >= arrived
            assert not [name for name in held if start <= entries[name].start <= last]
    directory_start = len(data) - parse(data).directory_bytes
    directory_gets = [access for access in log if f"bytes={directory_start}-" in access.range]
    assert len(directory_gets) == (mode == "range")
    extract(FolderStore(tmp_path / "release"), wanted, tmp_path / "clean.zip")
    assert shard_path.read_bytes() == (tmp_path / "clean.zip").read_bytes()
    assert not files_beside(shard_path)


@pytest.mark.parametrize("mode", ["range", "whole"])
def test_a_server_that_errs_at_times_gives_the_same_zip(tmp_path, shard_path, near, mode):
    with serve(near.root, sometimes(0.3), seed=1) as server:
        store = HttpStore(server.url, Transfer(tries=20, pause_seconds=0.01), seed=0)
        assert states(extract(store, NAMES[::2], shard_path, mode=mode)) == ["present"] * 6
        store.close()
    extract(near, NAMES[::2], tmp_path / "clean.zip")
    assert shard_path.read_bytes() == (tmp_path / "clean.zip").read_bytes()


@pytest.mark.parametrize(
    ("mode", "state", "reason"),
    [("auto", "present", ""), ("whole", "present", ""), ("range", "failed", "ignores ranges")],
)
def test_a_server_that_has_only_whole_files_to_give(near, shard_path, mode, state, reason):
    put(near.root, zipped(MASKS | {"large.png": bytes(2 << 20)}))
    with serve(near.root, always(NO_RANGES)) as server:
        store = HttpStore(server.url, Transfer(pause_seconds=0.01))
        outcomes = extract(store, NAMES[:2], shard_path, mode=mode)
        store.close()
    assert states(outcomes) == [state] * 2
    assert reason in outcomes[0].reason


def test_a_whole_zip_begins_anew_where_a_server_can_not_go_on(near, shard_path):
    data = zipped(MASKS | {"large.png": bytes(2 << 20)})
    put(near.root, data)

    def faults(request, chance):
        return CUT if request.num_before == 1 else NO_RANGES

    with serve(near.root, faults) as server:
        store = HttpStore(server.url, Transfer(pause_seconds=0.01))
        assert states(extract(store, NAMES[:2], shard_path, mode="whole")) == ["present"] * 2
        store.close()
    assert not files_beside(shard_path)


def test_a_server_sends_little_more_than_what_is_wanted(near, shard_path):
    with serve(near.root) as server:
        store = HttpStore(server.url, Transfer())
        extract(store, NAMES[2:9:3], shard_path)
        store.close()
        entries = parse(STORED).entries
        wanted_bytes = sum(entries[name].stop - entries[name].start for name in NAMES[2:9:3])
        directory_bytes = parse(STORED).directory_bytes
        sent_bytes = sum(access.num_bytes for access in server.log)
        assert sent_bytes <= 1.1 * (wanted_bytes + directory_bytes)


@settings(max_examples=300)
@given(
    st.sampled_from(list(ZIPS.values())),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
    st.floats(0.5, 1),
    st.sampled_from(["range", "whole"]),
)
def test_a_damaged_zip_never_stops_the_run_nor_leaves_a_damaged_mask(data, changes, share, mode):
    damaged = bytearray(data)
    for place, value in changes:
        damaged[int(place * len(damaged))] = value
    damaged = bytes(damaged[: round(share * len(damaged))])
    folder = Path(tempfile.mkdtemp())
    try:
        put(folder, damaged)
        shard_path = folder / "masks" / "shard.zip"
        outcomes = extract(FarStore(folder), NAMES, shard_path, mode=mode)
        found = read_all(shard_path)
        assert list(found) == [o.path for o in outcomes if o.state == "present"]
        assert found.items() <= MASKS.items()
        assert not files_beside(shard_path)
    finally:
        shutil.rmtree(folder)
