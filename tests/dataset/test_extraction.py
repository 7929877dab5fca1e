import io
import shutil
import tempfile
import zipfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from oiv5_d2.dataset.extraction import extract_masks
from oiv5_d2.openimages import release

NAMES = [f"0{number:015x}_m0k4j_{number:08x}.png" for number in range(4)]
KEY = release.mask_zip("train", "0").path


class MemoryStore(dict):
    """A store of files by key."""

    def read(self, key):
        return self[key]

    def read_range(self, key, start, stop):
        return self[key][start:stop]

    def size(self, key):
        if key not in self:
            raise FileNotFoundError(key)
        return len(self[key])


def png(size):
    buffer = io.BytesIO()
    Image.new("1", size).save(buffer, "PNG")
    return buffer.getvalue()


def zipped(compression):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for number, name in enumerate(NAMES):
            archive.writestr(name, png((8 + number, 5)))
    return buffer.getvalue()


ZIPS = [zipped(zipfile.ZIP_STORED), zipped(zipfile.ZIP_DEFLATED)]


def extract(data, wanted, shard_path):
    seen = []
    outcomes = extract_masks(
        MemoryStore({KEY: data}), "train", "0", wanted, shard_path, seen.append
    )
    assert sum(seen) == len(wanted)
    assert [outcome.path for outcome in outcomes] == list(wanted)
    return outcomes


def names_in(path):
    with zipfile.ZipFile(path) as shard:
        assert shard.testzip() is None
        return shard.namelist()


def test_wanted_masks_are_cut_out(tmp_path):
    outcomes = extract(ZIPS[1], NAMES[1:3], tmp_path / "shard.zip")
    assert [outcome.state for outcome in outcomes] == ["present"] * 2
    assert [outcome.num_bytes for outcome in outcomes] == [len(png((9, 5))), len(png((10, 5)))]
    assert names_in(tmp_path / "shard.zip") == NAMES[1:3]


def test_what_is_there_is_kept_when_more_is_wanted(tmp_path):
    extract(ZIPS[0], NAMES[:2], tmp_path / "shard.zip")
    outcomes = extract(b"", NAMES, tmp_path / "shard.zip")
    assert [outcome.state for outcome in outcomes] == ["present", "present", "corrupt", "corrupt"]
    assert names_in(tmp_path / "shard.zip") == NAMES[:2]


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(ZIPS),
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
        outcomes = extract(damaged, NAMES, folder / "shard.zip")
        present = [outcome.path for outcome in outcomes if outcome.state == "present"]
        assert names_in(folder / "shard.zip") == present
        assert all(outcome.reason for outcome in outcomes if outcome.state != "present")
    finally:
        shutil.rmtree(folder)
