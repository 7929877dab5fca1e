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


def test_data_that_is_in_the_project_s_folder_is_named_in_another_one(elsewhere):
    (elsewhere / "data/mine/coco/train.json").touch()
    about = f"data.dir={elsewhere / 'data/mine'}"
    with refused(Kind.ABSENT, key="data.dir", remedy=Remedy.CHANGE_SETTING, about=about):
        locate("mine", Path("data/mine"), NAMES)
    (found,) = locate("mine", elsewhere / "data/mine", NAMES)
    assert found.json_path == elsewhere / "data/mine/coco/train.json"
