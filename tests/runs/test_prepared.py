from pathlib import Path

import pytest
from raising import refused

from oiv5_d2.problems import Kind, Remedy
from oiv5_d2.runs import prepared
from oiv5_d2.runs.prepared import locate

NAMES = ["mine_train"]


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A current folder that is not the project's, whose folder is returned."""
    project, cwd = tmp_path / "project", tmp_path / "cwd"
    (project / "data/mine/coco").mkdir(parents=True)
    cwd.mkdir()
    monkeypatch.chdir(cwd)
    monkeypatch.setattr(prepared, "PROJECT_DIR", project)
    return project


def test_what_is_not_prepared_is_to_be_prepared(elsewhere):
    with refused(Kind.ABSENT, remedy=Remedy.PREPARE, about=Path.cwd()):
        locate("mine", Path("data/mine"), NAMES)


def test_a_part_that_is_not_there_comes_with_those_that_are(elsewhere):
    Path("data/mine/coco").mkdir(parents=True)
    Path("data/mine/coco/test.json").touch()
    with refused(Kind.ABSENT, remedy=Remedy.CHANGE_SETTING, about="parts there are test"):
        locate("mine", Path("data/mine"), NAMES)


def test_a_data_set_of_another_family_is_in_its_folder_beside_this_one(tmp_path):
    for name in ("mine/coco/train", "real_streets/coco/train", "real_streets/coco/train_pseudo"):
        path = tmp_path / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    names = ["mine_train", "real_streets_train", "real_streets_train_pseudo"]
    found = locate("mine", tmp_path / "mine", names)
    assert [one.name for one in found] == names
    assert [one.json_path.stem for one in found] == ["train", "train", "train_pseudo"]
    assert [one.images_dir.parent.name for one in found] == ["mine", *["real_streets"] * 2]
    for unknown in ("real_streets_test", "other_train", "train"):
        with refused(Kind.SETTING, key="d2.DATASETS.TRAIN d2.DATASETS.TEST data.name"):
            locate("mine", tmp_path / "mine", [unknown])


def test_data_that_is_in_the_project_s_folder_is_named_in_another_one(elsewhere):
    (elsewhere / "data/mine/coco/train.json").touch()
    about = f"data.dir={elsewhere / 'data/mine'}"
    with refused(Kind.ABSENT, key="data.dir", remedy=Remedy.CHANGE_SETTING, about=about):
        locate("mine", Path("data/mine"), NAMES)
    (found,) = locate("mine", elsewhere / "data/mine", NAMES)
    assert found.json_path == elsewhere / "data/mine/coco/train.json"
