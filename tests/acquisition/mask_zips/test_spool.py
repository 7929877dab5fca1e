import os
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oiv5_d2.acquisition.mask_zips.spool import Held, Spool
from oiv5_d2.acquisition.outcomes import checksum

MASKS = {f"{number}.png": os.urandom(40 * number) for number in range(6)}


def filled(path, masks=None):
    with Spool(path) as spool:
        for mask in (masks or MASKS).items():
            spool.add([mask])


def contents(path):
    with Spool(path) as spool:
        assert list(spool.held) == [name for name in MASKS if name in spool.held]
        return {name: spool.read(name) for name in spool.held}


def test_what_was_put_in_comes_out_in_the_next_process_too(tmp_path):
    path = tmp_path / "folder" / "spool"
    with Spool(path) as spool:
        assert not path.exists()
        spool.add(list(MASKS.items())[:4])
        spool.add(list(MASKS.items())[4:])
        assert {name: spool.read(name) for name in spool.held} == MASKS
        before = dict(spool.held)
    with Spool(path) as spool:
        assert spool.held == before
    assert contents(path) == MASKS
    content = MASKS["5.png"]
    assert before["5.png"] == Held(zlib.crc32(content), len(content), checksum(content))


def test_the_newest_content_of_a_name_counts(tmp_path):
    filled(tmp_path / "spool", {"a": b"old"})
    filled(tmp_path / "spool", {"a": b"newer"})
    with Spool(tmp_path / "spool") as spool:
        assert spool.read("a") == b"newer"


@given(st.floats(0, 1))
def test_a_spool_cut_short_anywhere_keeps_the_whole_masks(tmp_path_factory, share):
    path = tmp_path_factory.mktemp("cut") / "spool"
    filled(path)
    os.truncate(path, round(share * path.stat().st_size))
    kept = contents(path)
    assert kept.items() <= MASKS.items()
    filled(path, {name: MASKS[name] for name in MASKS if name not in kept} or {"0.png": b""})
    assert contents(path) == MASKS


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 255))
def test_nothing_after_a_damaged_place_is_believed(tmp_path_factory, share, value):
    path = tmp_path_factory.mktemp("damaged") / "spool"
    filled(path)
    data = bytearray(path.read_bytes())
    data[int(share * len(data))] = value
    path.write_bytes(data)
    assert contents(path).items() <= MASKS.items()


def test_damage_while_it_is_open_is_told(tmp_path):
    with Spool(tmp_path / "spool") as spool:
        spool.add(MASKS.items())
        (tmp_path / "spool").write_bytes(bytes(2000))
        with pytest.raises(OSError, match="spool: damaged on the disk"):
            spool.read("5.png")


def test_a_spool_is_removed_whether_it_is_there_or_not(tmp_path):
    with Spool(tmp_path / "spool") as spool:
        spool.remove()
        spool.add(MASKS.items())
        spool.remove()
    assert not list(tmp_path.iterdir())
