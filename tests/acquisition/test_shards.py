import io
import zipfile

import pytest
from PIL import Image
from raising import refused

from oiv5_d2.acquisition.shards import (
    open_shard,
    read_mask_file,
    shard_path,
    write_shard,
)
from oiv5_d2.problems import Kind, Remedy


def png(size):
    buffer = io.BytesIO()
    Image.effect_noise(size, 90).convert("1").save(buffer, "PNG")
    return buffer.getvalue()


SMALL = png((9, 9))
MASKS = {f"0{number}.png": bytes([number]) * 300 for number in range(3)}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "train-masks-0.zip"
    write_shard(path, MASKS, MASKS.__getitem__)
    return path


def test_an_image_has_its_masks_in_the_zip_of_its_first_digit(tmp_path):
    assert shard_path(tmp_path, "train", "0123") == tmp_path / "train-masks-0.zip"


def test_the_bytes_are_the_same_as_ever(path):
    """Folders that an older version prepared are not written again."""
    expected = io.BytesIO()
    with zipfile.ZipFile(expected, "w") as archive:
        archive.comment = b"The wanted masks only, cut from the release by oiv5_d2"
        for name, content in MASKS.items():
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, content)
    assert path.read_bytes() == expected.getvalue()


def test_a_mask_is_read_by_its_image_and_name(path):
    assert read_mask_file(path.parent, "train", "0123", "01.png") == MASKS["01.png"]
    write_shard(path, ["01.png"], lambda name: b"other")
    assert read_mask_file(path.parent, "train", "0123", "01.png") == b"other"


@pytest.mark.parametrize(("split", "name"), [("train", "absent.png"), ("test", "01.png")])
def test_a_mask_that_is_not_there_is_not_found(path, split, name):
    with pytest.raises(FileNotFoundError):
        read_mask_file(path.parent, split, "0123", name)


def damage(path, name):
    data = path.read_bytes()
    place = data.index(MASKS[name])
    path.write_bytes(data[:place] + b"X" + data[place + 1 :])


def test_a_damaged_mask_is_not_read(path):
    damage(path, "02.png")
    with pytest.raises(ValueError):
        read_mask_file(path.parent, "train", "0123", "02.png")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError):
        read_mask_file(path.parent, "train", "0123", "01.png")


def test_a_shard_is_opened(path):
    with open_shard(path) as shard:
        assert shard.namelist() == list(MASKS)
        assert shard.read("01.png") == MASKS["01.png"]


def test_no_shard_is_none(path):
    path.unlink()
    assert open_shard(path) is None


def test_a_shard_of_ours_that_cannot_be_opened_is_none(path):
    data = path.read_bytes()
    place = data.index(b"PK\1\2")
    path.write_bytes(data[:place] + b"XX" + data[place + 2 :])
    assert open_shard(path) is None


@pytest.mark.parametrize("content", [b"", b"anything", None, "folder"])
def test_what_these_tools_did_not_write_is_not_replaced(path, content):
    path.unlink()
    if content == "folder":
        path.mkdir()
    elif content is None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("01.png", b"the user's own")
    else:
        path.write_bytes(content)
    with refused(Kind.FOREIGN, remedy=Remedy.MOVE_AWAY, about=path):
        open_shard(path)
