import io
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from processes import wait_until
from raising import refused
from servers import CUT, NO_RANGES, PASSING, Fault, always, serve, sometimes
from zip_files import header_of, in_header, zipped

from oiv5_d2.acquisition import partial_zips
from oiv5_d2.acquisition.buckets import Bucket, Head
from oiv5_d2.acquisition.manifest import State
from oiv5_d2.acquisition.mask_zips import (
    extract_masks,
    needed_bytes,
    remove_unfinished,
)
from oiv5_d2.acquisition.partial_zips import open_zip
from oiv5_d2.acquisition.shards import DAMAGE
from oiv5_d2.acquisition.transfer import Transfer
from oiv5_d2.problems import Kind, Problem, Remedy

NAMES = [f"0{number:015x}_m0k4j_{number:08x}.png" for number in range(12)]
KEY = "v5/train-masks/train-masks-0.zip"
QUICK = Transfer(
    connections=4,
    retry_config={
        "max_retries": 3,
        "backoff": {"init_backoff": "10ms", "max_backoff": "20ms", "base": 2},
    },
)
PRESENT, MISSING, CORRUPT, FAILED = State.PRESENT, State.MISSING, State.CORRUPT, State.FAILED


def png(size, noise=0):
    buffer = io.BytesIO()
    Image.effect_noise(size, noise).convert("1").save(buffer, "PNG")
    return buffer.getvalue()


MASKS = {name: png((200 + number, 200), 90) for number, name in enumerate(NAMES)}
ZIPS = {method: zipped(MASKS, method) for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)}
STORED = ZIPS[zipfile.ZIP_STORED]
DIRECTORY_START = STORED.index(b"PK\1\2")


def put(root, data):
    (root / KEY).parent.mkdir(parents=True, exist_ok=True)
    (root / KEY).write_bytes(data)


@pytest.fixture
def root(tmp_path):
    put(tmp_path / "release", STORED)
    return tmp_path / "release"


@pytest.fixture
def near(root):
    """The release in a folder."""
    return Bucket(str(root), Transfer())


class Far(Bucket):
    """The release on a real server; `log` has what it was asked, but for lengths."""

    def __init__(self, server):
        super().__init__(server.url, QUICK)
        self.server, self.root = server, server.folder

    @property
    def log(self):
        return [access for access in self.server.log if access.method == "GET"]

    @property
    def gets(self):
        return [place_of(access) for access in self.log]

    @property
    def num_bytes(self):
        return sum(access.num_bytes for access in self.log)


def place_of(access):
    """Return the first byte that was asked for, and the one after the last."""
    first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", access.range or "bytes=0-").groups()
    return int(first), int(last) + 1 if last else 1 << 40


@pytest.fixture
def far(root):
    with serve(root) as server:
        yield Far(server)


def err_at(start, fault):
    """Err with requests for the piece that begins there."""
    return lambda request, chance: (
        fault if request.headers.get("range", "").startswith(f"bytes={start}-") else None
    )


@pytest.fixture
def shard_path(tmp_path):
    return tmp_path / "masks" / "train-masks-0.zip"


def extract(bucket, wanted, shard_path):
    told = []
    outcomes = extract_masks(bucket, KEY, wanted, shard_path, lambda *news: told.append(news))
    assert [outcome.name for outcome in outcomes] == list(wanted)
    lacking = [outcome for outcome in outcomes if outcome.state != PRESENT]
    assert sum(num_done for num_done, _, _ in told) == len(wanted)
    assert sum(num_failed for _, _, num_failed in told) == len(lacking)
    for outcome in outcomes:
        assert outcome.source == f"{bucket.location}/{KEY}"
        is_there = outcome.state == PRESENT
        assert bool(outcome.checksum) == bool(outcome.fetched) == is_there
        assert bool(outcome.reason) != is_there
        assert "\n" not in outcome.detail
    return outcomes


def states(outcomes):
    return [outcome.state for outcome in outcomes]


def read_all(path):
    with zipfile.ZipFile(path) as shard:
        assert shard.testzip() is None
        return {name: shard.read(name) for name in shard.namelist()}


def files_beside(path):
    others = (other for other in path.parent.rglob("*") if other.is_file() and other != path)
    return sorted(str(other.relative_to(path.parent)) for other in others)


# --- What is made ---------------------------------------------------------------------------------


@pytest.mark.parametrize("data", ZIPS.values(), ids=["stored", "deflated"])
@pytest.mark.parametrize("wanted", [NAMES[1:3], NAMES[::2], NAMES], ids=len)
@pytest.mark.parametrize("place", ["folder", "server", "server without ranges"])
def test_the_wanted_masks_are_cut_out(near, far, shard_path, data, wanted, place):
    put(far.root, data)
    far.server.faults = always(NO_RANGES) if place == "server without ranges" else None
    outcomes = extract(near if place == "folder" else far, wanted, shard_path)
    assert states(outcomes) == [PRESENT] * len(wanted)
    for outcome in outcomes:
        content = MASKS[outcome.name]
        assert outcome[3:5] == (len(content), blake3(content).hexdigest())
    assert read_all(shard_path) == {name: MASKS[name] for name in wanted}
    assert not files_beside(shard_path)


def test_a_folder_is_only_read(near, root, shard_path):
    def look():
        return [(path, path.stat().st_mtime_ns, path.stat().st_ino) for path in root.rglob("*")]

    before = look()
    needed_bytes(near, KEY, NAMES, shard_path)
    assert not shard_path.parent.exists()
    extract(near, NAMES, shard_path)
    assert look() == before


def test_what_is_there_is_kept_when_more_is_wanted(near, root, shard_path):
    extract(near, NAMES[:2], shard_path)
    put(root, b"")
    outcomes = extract(near, NAMES[:4], shard_path)
    assert states(outcomes) == [PRESENT, PRESENT, CORRUPT, CORRUPT]
    assert list(read_all(shard_path)) == NAMES[:2]


def test_masks_that_changed_in_their_folder_are_copied_again(near, root, shard_path):
    before = extract(near, NAMES[:3], shard_path)
    changed = {**MASKS, NAMES[1]: MASKS[NAMES[2]]}
    del changed[NAMES[0]]
    while (root / KEY).stat().st_ctime_ns <= shard_path.stat().st_mtime_ns:
        put(root, zipped(changed))  # until the clock of files has moved on
    outcomes = extract(near, NAMES[:3], shard_path)
    assert states(outcomes) == [PRESENT] * 3  # what was fetched stays
    assert outcomes[1].checksum == before[2].checksum
    assert read_all(shard_path)[NAMES[1]] == MASKS[NAMES[2]]


def test_what_is_no_longer_wanted_is_dropped(far, shard_path):
    extract(far, NAMES[:4], shard_path)
    (far.root / KEY).unlink()
    assert states(extract(far, NAMES[1:3], shard_path)) == [PRESENT] * 2
    assert list(read_all(shard_path)) == NAMES[1:3]


def test_a_shard_that_need_not_change_is_not_written_and_nothing_is_asked(far, shard_path):
    first = extract(far, [*NAMES, "z.png"], shard_path)
    written = shard_path.stat()
    far.server.log.clear()
    assert extract(far, NAMES, shard_path) == first[:-1]
    assert not far.server.log
    extract(far, [*NAMES, "z.png"], shard_path)
    again = shard_path.stat()
    assert (again.st_ino, again.st_mtime_ns) == (written.st_ino, written.st_mtime_ns)


def test_a_mask_damaged_in_the_shard_is_fetched_again(far, shard_path):
    extract(far, NAMES, shard_path)
    before = shard_path.read_bytes()
    place = before.index(MASKS[NAMES[3]]) + 50
    shard_path.write_bytes(before[:place] + b"XX" + before[place + 2 :])
    far.server.log.clear()
    assert states(extract(far, NAMES, shard_path)) == [PRESENT] * 12
    assert shard_path.read_bytes() == before
    assert far.num_bytes < 0.3 * len(STORED)


def test_what_these_tools_did_not_write_stays(far, shard_path):
    put(shard_path.parent, b"")
    shutil.copy(far.root / KEY, shard_path)
    for call in (needed_bytes, lambda *given: extract_masks(*given, lambda *_: None)):
        with refused(Kind.FOREIGN, remedy=Remedy.MOVE_AWAY, about=shard_path):
            call(far, KEY, NAMES, shard_path)
    assert shard_path.read_bytes() == STORED
    assert not far.server.log


def test_masks_that_the_zip_does_not_have_are_missing(far, shard_path):
    outcomes = extract(far, [NAMES[0], "absent.png"], shard_path)
    assert outcomes[1][1:3] == (MISSING, Kind.ABSENT)
    assert list(read_all(shard_path)) == NAMES[:1]


def test_an_empty_zip_has_none(far, shard_path):
    put(far.root, zipped({}))
    assert states(extract(far, NAMES, shard_path)) == [MISSING] * 12
    assert read_all(shard_path) == {}


# --- What is asked for ----------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.sets(st.sampled_from(NAMES), min_size=1), st.sampled_from(list(ZIPS.values())))
def test_little_more_is_fetched_than_what_is_wanted(wanted, data):
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder)) as server:
        put(Path(folder), data)
        far = Far(server)
        extract(far, sorted(wanted), Path(folder) / "masks" / "shard.zip")
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            sizes = [archive.getinfo(name).compress_size + 30 + len(name) for name in wanted]
            least = sum(sizes) + len(data) - archive.start_dir
        assert far.num_bytes <= 1.1 * least


def test_neighbours_are_asked_for_together(far, shard_path):
    extract(far, NAMES[4:8], shard_path)
    assert len([start for start, _ in far.gets if start < DIRECTORY_START]) == 1


@pytest.mark.parametrize("faults", [None, always(NO_RANGES)])
def test_bytes_are_told_as_they_come(far, shard_path, faults):
    far.server.faults = faults
    told = []
    extract_masks(far, KEY, NAMES, shard_path, lambda *news: told.append(news))
    assert sum(num_bytes for _, num_bytes, _ in told) == len(STORED)


def test_very_many_requests_become_all_of_the_zip(far, shard_path, monkeypatch):
    monkeypatch.setattr(partial_zips, "_FEW_REQUESTS", 1)
    extract(far, NAMES[::2], shard_path)
    assert len([start for start, _ in far.gets if start < DIRECTORY_START]) == 1
    assert read_all(shard_path) == {name: MASKS[name] for name in NAMES[::2]}


# --- What a plan says -----------------------------------------------------------------------------


def test_a_plan_says_what_is_then_fetched(far, shard_path):
    extract(far, NAMES[:2], shard_path)
    wanted = [*NAMES[:6:2], NAMES[9], "absent.png"]
    need = needed_bytes(far, KEY, wanted, shard_path)
    assert (need.num_masks, need.num_missing) == (3, 1)
    assert need == needed_bytes(far, KEY, wanted, shard_path)
    far.server.log.clear()
    extract(far, wanted, shard_path)
    assert (len(far.log), far.num_bytes) == (need.num_requests, need.num_bytes)


def test_a_plan_where_all_is_there_asks_for_nothing(far, shard_path):
    extract(far, NAMES, shard_path)
    far.server.log.clear()
    assert needed_bytes(far, KEY, NAMES, shard_path) == (0, 0, 0, 0)
    assert not far.server.log
    assert not files_beside(shard_path)


def test_a_plan_for_a_server_without_ranges_has_the_whole_zip(far, shard_path):
    far.server.faults = always(NO_RANGES)
    assert needed_bytes(far, KEY, NAMES[:2], shard_path) == (2, len(STORED), 1, 0)
    assert not files_beside(shard_path)


@pytest.mark.parametrize(("data", "kind"), [(None, Kind.ABSENT), (b"no zip", Kind.DAMAGED)])
def test_a_plan_says_why_a_zip_cannot_be_read(far, shard_path, data, kind):
    (far.root / KEY).unlink()
    if data:
        put(far.root, data)
    with refused(kind, about=f"{far.location}/{KEY}"):
        needed_bytes(far, KEY, NAMES, shard_path)
    assert not files_beside(shard_path) if shard_path.parent.exists() else True


# --- What cannot be used --------------------------------------------------------------------------


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


@pytest.mark.parametrize("place", ["folder", "server", "server without ranges"])
@pytest.mark.parametrize(
    "change",
    [
        flipped(NAMES[5]),
        in_header(NAMES[5], 8, "<H", 1),
        in_header(NAMES[5], 10, "<H", 99),
        in_header(NAMES[5], 24, "<L", 50 << 20),
        renamed_locally(NAMES[5]),
        replaced(NAMES[5], b""),
        replaced(NAMES[5], b"GIF89a" * 9),
        replaced(NAMES[5], HUGE_PNG),
        replaced(NAMES[5], png((99, 99), 90)[:-20]),
    ],
)
def test_a_corrupt_mask_is_told_and_leaves_nothing(near, far, shard_path, change, place):
    put(far.root, change(STORED))
    far.server.faults = always(NO_RANGES) if place == "server without ranges" else None
    outcomes = extract(near if place == "folder" else far, NAMES[4:7], shard_path)
    assert states(outcomes) == [PRESENT, CORRUPT, PRESENT]
    assert outcomes[1].reason in (Kind.DAMAGED, Kind.UNSUPPORTED)
    assert list(read_all(shard_path)) == [NAMES[4], NAMES[6]]
    assert not files_beside(shard_path)


def test_a_mask_that_was_damaged_on_its_way_is_asked_for_again_and_no_other(far, shard_path):
    times = (far.root / KEY).stat()

    def damage_once(request, chance):
        """Serve one piece from a damaged file that looks like the whole one."""
        if request.method == "GET":
            is_first = request.headers["range"].startswith("bytes=0-")
            put(far.root, flipped(NAMES[2])(STORED) if is_first else STORED)
            os.utime(far.root / KEY, ns=(times.st_atime_ns, times.st_mtime_ns))

    far.server.faults = damage_once
    assert states(extract(far, NAMES[:3], shard_path)) == [PRESENT] * 3
    assert read_all(shard_path) == {name: MASKS[name] for name in NAMES[:3]}
    start = STORED.index(NAMES[2].encode()) - 30
    assert far.gets[-1] == (start, STORED.index(NAMES[3].encode()) - 30)


def test_two_entries_of_one_name_are_refused(far, shard_path):
    data = bytearray(STORED)
    place = header_of(STORED, NAMES[5]) + 46
    data[place : place + len(NAMES[4])] = NAMES[4].encode()
    put(far.root, bytes(data))
    outcomes = extract(far, NAMES[4:6], shard_path)
    assert [outcome[1:3] for outcome in outcomes] == [
        (CORRUPT, Kind.DAMAGED),
        (MISSING, Kind.ABSENT),
    ]


@pytest.mark.parametrize(
    ("status", "state", "reason"),
    [
        (403, FAILED, Kind.REFUSED),
        (404, MISSING, Kind.ABSENT),
        (500, FAILED, Kind.UNREACHABLE),
    ],
)
@pytest.mark.parametrize("is_at_the_end", [True, False])
def test_a_piece_that_cannot_be_fetched_is_told(
    far, shard_path, status, state, reason, is_at_the_end
):
    start = len(STORED) - 98 if is_at_the_end else 0
    far.server.faults = err_at(start, Fault(status))
    outcomes = extract(far, NAMES[:2], shard_path)
    assert {outcome[1:3] for outcome in outcomes} == {(state, reason)}


@pytest.mark.parametrize("place", ["folder", "server"])
def test_a_zip_that_is_not_there_is_missing(near, far, shard_path, place):
    (far.root / KEY).unlink()
    outcomes = extract(near if place == "folder" else far, NAMES[:2], shard_path)
    assert {outcome[1:3] for outcome in outcomes} == {(MISSING, Kind.ABSENT)}


def test_what_failed_is_asked_for_again_and_nothing_else(far, shard_path, tmp_path):
    far.server.faults = err_at(0, Fault(403))
    assert states(extract(far, NAMES[::2], shard_path)) == [FAILED] + [PRESENT] * 5
    far.server.faults = None
    far.server.log.clear()
    assert states(extract(far, NAMES[::2], shard_path)) == [PRESENT] * 6
    assert [start for start, _ in far.gets] == [0]  # the directory was kept
    extract(far, NAMES[::2], tmp_path / "clean.zip")
    assert shard_path.read_bytes() == (tmp_path / "clean.zip").read_bytes()
    assert not files_beside(shard_path)


# --- A zip that becomes another one ---------------------------------------------------------------


def test_a_zip_that_changes_on_the_way_is_begun_again(far, shard_path):
    changed = MASKS | {name: png((50, 50 + number), 90) for number, name in enumerate(NAMES[:6])}
    count = itertools.count()

    def change_once(request, chance):
        if request.method == "GET" and next(count) == 3:
            put(far.root, zipped(changed))

    far.server.faults = change_once
    wanted = NAMES[::2]
    assert states(extract(far, wanted, shard_path)) == [PRESENT] * 6
    assert read_all(shard_path) == {name: changed[name] for name in wanted}
    assert not files_beside(shard_path)


def test_a_zip_that_never_rests_fails(far, shard_path):
    far.server.faults = err_at(0, Fault(412))
    outcomes = extract(far, NAMES[::2], shard_path)
    assert outcomes[0][1:3] == (FAILED, Kind.CHANGED)
    assert states(outcomes[1:]) == [PRESENT] * 5
    assert read_all(shard_path) == {name: MASKS[name] for name in NAMES[2::2]}


def test_masks_of_a_former_zip_are_not_mixed_with_those_of_another(far, shard_path, tmp_path):
    extract(far, NAMES[:4], shard_path)
    put(far.root, zipped(MASKS | {NAMES[1]: png((9, 9))}))
    extract(far, NAMES, shard_path)
    extract(far, NAMES, tmp_path / "clean.zip")
    assert shard_path.read_bytes() == (tmp_path / "clean.zip").read_bytes()


def test_masks_stay_while_those_of_a_changed_zip_cannot_be_fetched(far, shard_path, caplog):
    first = extract(far, NAMES[:5], shard_path)
    changed = {name: png((100 + number, 99), 90) for number, name in enumerate(NAMES)}
    put(far.root, zipped(changed))
    far.server.faults = err_at(0, Fault(403))
    outcomes = extract(far, NAMES[:6], shard_path)
    assert outcomes[:5] == first
    assert states(outcomes[5:]) == [FAILED]
    assert read_all(shard_path) == {name: MASKS[name] for name in NAMES[:5]}
    assert caplog.records[-1].args[:2] == (shard_path, 5)
    far.server.faults = None
    extract(far, NAMES[:6], shard_path)
    assert read_all(shard_path) == {name: changed[name] for name in NAMES[:6]}


# --- Killed ---------------------------------------------------------------------------------------


class KilledError(BaseException):
    """Nothing catches it, as nothing catches a kill."""


@pytest.mark.parametrize("num_calls", range(8))
@pytest.mark.parametrize("has_ranges", [True, False])
def test_an_aborted_run_asks_for_nothing_twice(far, shard_path, tmp_path, num_calls, has_ranges):
    count = itertools.count()
    wanted = NAMES[::2]
    far.server.faults = None if has_ranges else always(NO_RANGES)

    def kill(*news):
        if next(count) == num_calls:
            raise KilledError

    try:
        extract_masks(far, KEY, wanted, shard_path, kill)
    except KilledError:
        assert not shard_path.exists() or num_calls > (5 if has_ranges else 2)
    held = arrived_in(shard_path.parent, wanted)
    num_before = len(far.log)
    assert states(extract(far, wanted, shard_path)) == [PRESENT] * 6
    if has_ranges:
        assert len(held) == max(0, min(num_calls, 6)) or shard_path.exists()
        starts = {STORED.index(name.encode()) - 30 for name in held}
        assert starts.isdisjoint(start for start, _ in far.gets[num_before:])
        assert sum(start >= DIRECTORY_START for start, _ in far.gets) == 2  # once, in 2 pieces
    elif held:
        assert len(far.log) == num_before
    extract(far, wanted, tmp_path / "clean.zip")
    assert shard_path.read_bytes() == (tmp_path / "clean.zip").read_bytes()
    assert not files_beside(shard_path)


CHILD = """
import sys
from pathlib import Path
from oiv5_d2.acquisition.buckets import Bucket
from oiv5_d2.acquisition.transfer import Transfer
from oiv5_d2.acquisition.mask_zips import extract_masks
url, key, shard_path, *wanted = sys.argv[1:]
backoff = {"init_backoff": "10ms", "max_backoff": "20ms", "base": 2}
bucket = Bucket(url, Transfer(connections=4, retry_config={"backoff": backoff}))
print("ready", flush=True)
while True:
    outcomes = extract_masks(bucket, key, wanted, Path(shard_path), lambda *news: None)
    if all(outcome.state == "present" for outcome in outcomes):
        break
print("done", flush=True)
"""


class Stingy:
    """How a server errs that falls silent before all has come, so that no run ends by itself.

    Before that it errs with 30 % of the requests.
    """

    errs = staticmethod(sometimes(0.3, tuple(fault for fault in PASSING if fault != NO_RANGES)))

    def __init__(self, directory_start):
        self.directory_start = directory_start
        self.num_left = 0
        """How many bytes it gives yet, about; the directory does not count."""

    def __call__(self, request, chance):
        if fault := self.errs(request, chance):
            return fault
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("range", ""))
        if not match or int(match[1]) >= self.directory_start:
            return None
        if self.num_left <= 0:
            return Fault(num_bytes=100, is_held=True)
        self.num_left -= int(match[2]) + 1 - int(match[1])
        return None


def arrived_in(masks_dir, names):
    """Return the masks that came and are complete, by the files in which they arrive."""
    found = set()
    for copy in masks_dir.glob(".arriving-*/[!.]*"):
        try:
            zip_ = open_zip(copy, Head(0, ""), names)
        except (FileNotFoundError, Problem):
            continue
        for name, entry in zip_.entries.items():
            with suppress(*DAMAGE):
                zip_.read(entry)
                found.add(name)
        zip_.close()
    return found


def run_child(arguments, masks_dir, names, is_killed):
    """Fetch in a process of its own; kill it when some more has come."""
    before = len(arrived_in(masks_dir, names))
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments], stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout.readline() == "ready\n"
            if is_killed:
                wait_until(lambda: len(arrived_in(masks_dir, names)) > before, child)
            else:
                assert child.stdout.read() == "done\n"
        finally:
            child.kill()


@pytest.mark.slow
def test_a_run_killed_ten_times_fetches_nothing_twice_that_was_complete(tmp_path):
    names = [f"0{number:015x}_m0k4j_{number:08x}.png" for number in range(300)]
    data = zipped({name: png((150, 150), 90) for name in names})
    put(tmp_path / "release", data)
    wanted = names[::3]
    shard_path = tmp_path / "masks" / "train-masks-0.zip"
    masks_dir = shard_path.parent
    settled = []  # what was there when a run was killed, and how long the log was then
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        directory_start = archive.start_dir
        start_of = {info.filename: info.header_offset for info in archive.infolist()}
    with serve(tmp_path / "release", Stingy(directory_start)) as server:
        arguments = [server.url, KEY, str(shard_path), *wanted]
        for _ in range(10):
            server.faults.num_left = 12_000
            run_child(arguments, masks_dir, wanted, is_killed=True)
            settled.append((len(server.log), arrived_in(masks_dir, wanted)))
        server.faults = None
        run_child(arguments, masks_dir, wanted, is_killed=False)
        log = server.log
    assert len(settled[-1][1]) >= 10
    for num_lines, held in settled:
        for access in log[num_lines:]:
            if access.method == "GET":
                start, stop = place_of(access)
                assert not [name for name in held if start <= start_of[name] < stop]
    extract(Bucket(str(tmp_path / "release"), QUICK), wanted, tmp_path / "clean.zip")
    assert shard_path.read_bytes() == (tmp_path / "clean.zip").read_bytes()
    assert not files_beside(shard_path)


@pytest.mark.parametrize("seed", range(4))
def test_a_server_that_errs_at_times_gives_the_same_shard(tmp_path, shard_path, near, root, seed):
    with serve(root, sometimes(0.3), seed=seed) as server:
        for _ in range(5):
            outcomes = extract(Far(server), NAMES[::2], shard_path)
            if FAILED not in states(outcomes):
                break
    assert states(outcomes) == [PRESENT] * 6
    extract(near, NAMES[::2], tmp_path / "clean.zip")
    assert shard_path.read_bytes() == (tmp_path / "clean.zip").read_bytes()
    assert not files_beside(shard_path)


def test_a_whole_zip_begins_again_where_a_server_cannot_go_on(near, root, shard_path):
    put(root, zipped(MASKS | {"large.png": bytes(2 << 20)}))

    def faults(request, chance):
        return CUT if request.method == "GET" and request.num_before == 5 else NO_RANGES

    with serve(root, faults) as server:
        assert states(extract(Far(server), NAMES[:2], shard_path)) == [PRESENT] * 2
    assert not files_beside(shard_path)


def test_what_came_of_zips_that_nobody_wants_is_removed(far, shard_path):
    masks_dir = shard_path.parent
    wanted, other = shard_path, masks_dir / "test-masks-0.zip"
    for path in (wanted, other):
        needed_bytes(far, KEY, NAMES, path)
        (masks_dir / f".arriving-{path.name}" / ".download-1-1").touch()
    other.touch()
    before = set(files_beside(wanted))
    assert len(before) == 5
    remove_unfinished(masks_dir, [wanted.name])
    kept = {name for name in before if "-train-masks-0.zip/" in name or name == other.name}
    assert set(files_beside(wanted)) == kept
    remove_unfinished(masks_dir, [])
    assert files_beside(wanted) == [other.name]


@settings(max_examples=200)
@given(
    st.sampled_from(list(ZIPS.values())),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
    st.floats(0.5, 1),
)
def test_a_damaged_zip_never_stops_the_run_nor_leaves_a_damaged_mask(data, changes, share):
    damaged = bytearray(data)
    for place, value in changes:
        damaged[int(place * len(damaged))] = value
    damaged = bytes(damaged[: round(share * len(damaged))])
    folder = Path(tempfile.mkdtemp())
    try:
        put(folder, damaged)
        shard_path = folder / "masks" / "train-masks-0.zip"
        outcomes = extract(Bucket(str(folder), QUICK), NAMES, shard_path)
        found = read_all(shard_path)
        assert list(found) == [it.name for it in outcomes if it.state == PRESENT]
        assert found.items() <= MASKS.items()
        assert not files_beside(shard_path)
    finally:
        shutil.rmtree(folder)


# --- Masks that somebody unpacked ----------------------------------------------------------------


def test_unpacked_masks_stand_in_for_a_zip_that_is_not_there(near, root, shard_path):
    folder = (root / KEY).parent
    (root / KEY).unlink()
    for name in NAMES[:3]:
        (folder / name).write_bytes(MASKS[name])
    (folder / NAMES[3]).write_bytes(b"no picture")
    outcomes = extract(near, NAMES[:5], shard_path)
    assert states(outcomes) == [PRESENT] * 3 + [CORRUPT, MISSING]
    assert read_all(shard_path) == {name: MASKS[name] for name in NAMES[:3]}
    assert not files_beside(shard_path)
    written = shard_path.read_bytes()
    assert states(extract(near, NAMES[:5], shard_path))[:3] == [PRESENT] * 3
    assert shard_path.read_bytes() == written
    (folder / NAMES[0]).write_bytes(MASKS[NAMES[1]])
    extract(near, NAMES[:3], shard_path)
    assert read_all(shard_path)[NAMES[0]] == MASKS[NAMES[1]]


def test_masks_in_a_folder_of_a_zip_are_found_by_their_names(near, root, shard_path):
    put(root, zipped({f"train-masks-0/{name}": data for name, data in MASKS.items()}))
    assert states(extract(near, NAMES, shard_path)) == [PRESENT] * len(NAMES)
    assert read_all(shard_path) == MASKS


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_masks_packed_by_another_method_are_refused_with_its_name(near, root, shard_path, method):
    put(root, zipped(MASKS, method))
    (outcome,) = extract(near, NAMES[:1], shard_path)
    assert (outcome.state, outcome.reason) == (CORRUPT, Kind.UNSUPPORTED)
    assert str(method) in outcome.detail


def test_masks_that_are_not_png_are_a_mismatch_with_the_first(near, root, shard_path):
    name = NAMES[0].replace(".png", ".jpg")
    put(root, zipped({f"masks/{name}": b"JPEG"}))
    first, second = extract(near, NAMES[:2], shard_path)
    assert (first.state, first.reason) == (CORRUPT, Kind.MISMATCH)
    assert second.reason is Kind.MISMATCH and f"masks/{name}" in first.detail
    (root / KEY).unlink()
    (root / name).write_bytes(b"JPEG")
    assert str(root / name) in extract(near, NAMES[:1], shard_path)[0].detail


def test_a_zip_with_other_entries_or_none_is_told_from_one_that_is_not_there(
    near, root, shard_path
):
    put(root, zipped({"readme.txt": b""}))
    (outcome,) = extract(near, NAMES[:1], shard_path)
    assert outcome.state is MISSING and "readme.txt" in outcome.detail
    (root / KEY).unlink()
    (outcome,) = extract(near, NAMES[:1], shard_path)
    assert outcome.state is MISSING and str(near.folder) in outcome.detail
