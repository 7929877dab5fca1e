import os

import numpy as np
import pytest
from PIL import ExifTags, Image

from oiv5_d2.conversion.images import IMAGES_PER_TASK, check_images, size_of


def write(path, size=(6, 4), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((size[1], size[0], 3), np.uint8)).save(path, **options)
    return path


@pytest.fixture
def images_dir(tmp_path):
    write(tmp_path / "images/train/a.jpg")
    write(tmp_path / "images/train/b.png")
    return tmp_path / "images"


A, B = ({"file_name": f"train/{name}", "height": 4, "width": 6} for name in ("a.jpg", "b.png"))


def faults(images_dir, *records, **options):
    given = {"workers": 1, "checked_path": None, **options}
    return {fault.file_name: fault.what for fault in check_images(records, images_dir, **given)}


def test_images_that_are_there_and_of_their_size_are_right(images_dir):
    seen = []
    assert not faults(images_dir, A, B, {"file_name": "train/a.jpg"}, advance=seen.append)
    assert sum(seen) == 3


def test_an_image_that_training_cannot_use_is_named(images_dir):
    data = (images_dir / "train/a.jpg").read_bytes()
    (images_dir / "train/cut.jpg").write_bytes(data[:-40])
    (images_dir / "train/empty.jpg").touch()
    (images_dir / "train/text.jpg").write_text("no image")
    os.mkfifo(images_dir / "train/pipe.jpg")
    names = ["gone.jpg", "cut.jpg", "empty.jpg", "text.jpg", "pipe.jpg"]
    records = [{**A, "file_name": f"train/{name}"} for name in names]
    found = faults(images_dir, A, *records, {**B, "width": 7})
    assert list(found) == [record["file_name"] for record in [*records, B]]
    assert "6 x 4" in found["train/b.png"] and all(found.values())


@pytest.mark.parametrize(("kind", "ending"), [(np.uint16, "png"), (np.float32, "tif")])
def test_an_image_that_detectron2_would_read_as_white_or_black_is_named(tmp_path, kind, ending):
    Image.fromarray(np.ones((4, 6), kind)).save(tmp_path / f"a.{ending}")
    assert "8" in faults(tmp_path, {**A, "file_name": f"a.{ending}"})[f"a.{ending}"]


def test_an_image_is_as_wide_as_it_is_seen(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    assert size_of(write(tmp_path / "turned.jpg", exif=exif)) == (6, 4)
    assert size_of(write(tmp_path / "plain.jpg")) == (4, 6)


def test_what_was_right_is_read_again_only_when_it_changes(images_dir, tmp_path):
    checked_path = tmp_path / "checked.json"
    assert not faults(images_dir, A, B, checked_path=checked_path)
    path = images_dir / "train/a.jpg"
    status = path.stat()
    path.write_bytes(bytes(status.st_size))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not faults(images_dir, A, B, checked_path=checked_path)
    os.utime(path)
    assert list(faults(images_dir, A, B, checked_path=checked_path)) == [A["file_name"]]
    assert list(faults(images_dir, A, B, checked_path=checked_path)) == [A["file_name"]]


def test_a_folder_that_cannot_be_written_to_and_a_damaged_note_change_nothing(images_dir, tmp_path):
    (tmp_path / "note").write_text("[")
    assert not faults(images_dir, A, checked_path=tmp_path / "note")
    (tmp_path / "file").touch()
    assert not faults(images_dir, A, checked_path=tmp_path / "file" / "note")


def test_several_processes_find_the_same(images_dir, monkeypatch):
    monkeypatch.setattr("oiv5_d2.conversion.images.FEW", 1)
    records = [A] * (IMAGES_PER_TASK + 3) + [{**B, "file_name": "train/gone.png"}]
    assert faults(images_dir, *records, workers=2) == faults(images_dir, *records)
