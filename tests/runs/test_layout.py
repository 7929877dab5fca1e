import json
import os

from raising import refused

from oiv5_d2.problems import Kind, Remedy
from oiv5_d2.runs.layout import find_finished, find_run, output_dir_of, read_record


def write_run(run_dir, **record):
    run_dir.mkdir(parents=True)
    (run_dir / "run.json").write_text(json.dumps(record))
    return run_dir


def touch(run_dir, seconds):
    os.utime(run_dir / "run.json", (seconds, seconds))


def test_a_run_is_found_by_its_own_folder(tmp_path):
    run_dir = write_run(tmp_path / "a", seconds=1.0)
    assert find_finished(run_dir) == run_dir


def test_of_a_folder_of_runs_the_newest_finished_one_is_taken(tmp_path):
    for name, seconds in (("old", 100), ("new", 200), ("sweep/0", 150)):
        touch(write_run(tmp_path / name, seconds=1.0), seconds)
    touch(write_run(tmp_path / "unfinished"), 300)
    assert find_finished(tmp_path) == tmp_path / "new"
    assert find_finished(tmp_path / "sweep") == tmp_path / "sweep" / "0"


def test_an_unfinished_run_is_found_by_its_own_folder_only(tmp_path):
    run_dir = write_run(tmp_path / "unfinished")
    assert find_run(run_dir) == run_dir
    finished = write_run(tmp_path / "finished", seconds=1.0)
    assert find_run(tmp_path) == finished


def test_a_folder_without_a_finished_run_is_refused(tmp_path):
    write_run(tmp_path / "unfinished")
    with refused(Kind.UNFINISHED, remedy=Remedy.TRAIN, about=tmp_path):
        find_finished(tmp_path)
    with refused(Kind.ABSENT, remedy=Remedy.TRAIN, about="none"):
        find_finished(tmp_path / "none")


def test_a_damaged_record_is_named(tmp_path):
    (write_run(tmp_path / "a") / "run.json").write_text('{"seconds')
    with refused(Kind.DAMAGED, about="run.json"):
        read_record(tmp_path / "a")


def test_other_weights_have_their_results_apart(tmp_path):
    final = output_dir_of(tmp_path, "mini_test", tmp_path / "model_final.pth")
    assert final == tmp_path / "evaluation" / "mini_test"
    other = output_dir_of(tmp_path, "mini_test", tmp_path / "model_0000099.pth")
    assert other == tmp_path / "evaluation_model_0000099" / "mini_test"
    changes = ["TEST.AUG.ENABLED=True", "TEST.AUG.MIN_SIZES=[128, 160]"]
    changed = output_dir_of(tmp_path, "mini_test", tmp_path / "model_final.pth", changes)
    names = ["evaluation", "TEST.AUG.ENABLED-True", "TEST.AUG.MIN_SIZES-128-160"]
    assert changed.parent.name == "_".join(names)
