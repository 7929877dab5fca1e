import shutil

import pytest
from raising import refused

from oiv5_d2.exploring.sources import find_evaluated, find_parts, find_runs
from oiv5_d2.problems import Kind, Remedy


def names(datasets):
    return [one.name for one in datasets]


def test_parts_are_in_their_usual_order_or_as_they_are_named(blocks):
    assert names(find_parts("blocks", blocks.data_dir, [])) == ["blocks_train", "blocks_test"]
    assert names(find_parts("blocks", blocks.data_dir, ["test"])) == ["blocks_test"]


def test_a_part_that_is_not_there_is_refused(blocks, tmp_path):
    with refused(Kind.ABSENT, about="test, train"):
        find_parts("blocks", blocks.data_dir, ["validation"])
    with refused(Kind.ABSENT, remedy=Remedy.PREPARE):
        find_parts("blocks", tmp_path, [])


def test_runs_of_one_name_are_called_by_their_folders(blocks, tmp_path):
    assert [run.name for run in find_runs(list(map(str, blocks.runs)))] == ["one", "other"]
    for place in ("a/first", "b/first"):
        shutil.copytree(blocks.runs[0], tmp_path / place)
    runs = find_runs([str(tmp_path / "a"), str(tmp_path / "b")])
    assert [run.name for run in runs] == ["a/first", "b/first"]


def test_runs_are_shown_on_what_they_were_evaluated_on(blocks):
    runs = find_runs([str(blocks.runs[0])])
    assert names(find_evaluated(runs, [])) == ["blocks_test"]
    with refused(Kind.UNFINISHED, remedy=Remedy.EVALUATE):
        find_evaluated(runs, ["train"])


@pytest.mark.parametrize("number", [3, 4])
def test_more_runs_than_two_are_refused(number):
    with refused(Kind.SETTING, key="runs"):
        find_runs(["anywhere"] * number)
