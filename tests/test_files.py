import hashlib

import pytest

from oiv5_d2.files import files_below, sha256, whole_file


def test_a_file_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "table.csv"
    with whole_file(path) as temporary:
        temporary.write_text("all of it")
        assert not path.exists()
    assert path.read_text() == "all of it"
    assert [file.name for file in path.parent.iterdir()] == ["table.csv"]


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(RuntimeError), whole_file(path) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_name_keeps_the_suffix(tmp_path):
    with whole_file(tmp_path / "image.png") as temporary:
        assert temporary.suffix == ".png"
        temporary.touch()


def test_a_fingerprint_is_the_known_one(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc" * 1_000_000)
    assert sha256(path) == hashlib.sha256(b"abc" * 1_000_000).hexdigest()


def test_files_are_found_through_links_and_each_folder_is_read_once(tmp_path):
    for name in ("a/1", "a/b/2", ".hidden/3", "c/.4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for number in range(9):  # each way round would be another path
        (tmp_path / "a" / f"round{number}").symlink_to(tmp_path)
    (tmp_path / "c" / "link").symlink_to(tmp_path / "a" / "b")
    found = [path.resolve() for path in files_below(tmp_path)]
    assert sorted(found) == [tmp_path / "a/1", tmp_path / "a/b/2"]
    assert list(files_below(tmp_path, is_deep=False)) == list(files_below(tmp_path / "none")) == []
