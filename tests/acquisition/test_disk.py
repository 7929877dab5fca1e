"""What is said of a disk that is full, or will be."""

import errno
import os

import pandas as pd
import pytest

from oiv5_d2.acquisition.disk import check_room, naming_full_disk
from oiv5_d2.acquisition.stores import FolderStore


@pytest.fixture
def files():
    names = [f"{number:016x}.jpg" for number in range(100)]
    return pd.DataFrame({"Kind": "image", "Split": "train", "Path": names, "Digit": "0"})


@pytest.fixture
def store(files, tmp_path):
    (tmp_path / "bucket" / "train").mkdir(parents=True)
    for name in files["Path"][:90]:  # ten are not there
        (tmp_path / "bucket" / "train" / name).write_bytes(b"x" * 10_000)
    return FolderStore(tmp_path / "bucket")


def has_room(monkeypatch, num_bytes):
    monkeypatch.setattr("oiv5_d2.acquisition.disk.free_bytes", lambda path: num_bytes)


def test_what_will_not_fit_is_not_begun(files, store, tmp_path, monkeypatch):
    has_room(monkeypatch, 500_000)
    with pytest.raises(OSError, match=r"data has 500.0 kB left, and about 1.0 MB .*per_class"):
        check_room(files, store, tmp_path / "data")
    has_room(monkeypatch, 2_000_000)
    check_room(files, store, tmp_path / "data")


def test_pictures_that_are_here_need_no_room(files, store, tmp_path, monkeypatch):
    has_room(monkeypatch, 0)
    (tmp_path / "data" / "images").mkdir(parents=True)
    (tmp_path / "bucket" / "train").rename(tmp_path / "data" / "images" / "train")
    check_room(files[:90], store, tmp_path / "data")


def test_a_full_disk_is_named_with_the_remedy(tmp_path):
    with pytest.raises(OSError, match=rf"the disk of {tmp_path} is full: make room, .*data.dir="):
        with naming_full_disk(tmp_path), open("/dev/full", "wb", 0) as full:
            full.write(b"x")


def test_other_errors_are_left_as_they_are(tmp_path):
    with pytest.raises(PermissionError) as caught, naming_full_disk(tmp_path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "there")
    assert caught.value.filename == "there"
