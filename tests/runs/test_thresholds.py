import json

import pytest

from oiv5_d2.runs.matches import MIN_SCORE
from oiv5_d2.runs.results import Results, write_results
from oiv5_d2.runs.thresholds import choose_thresholds, read_thresholds


@pytest.fixture
def run_dir(tmp_path):
    """A run of cars and people that was validated on `b_validation`, and tested later."""
    (tmp_path / "run.json").write_text(json.dumps({"data": {"b_validation": {}}}))
    tasks = {"bbox": {"AP": 1.0}}
    for dataset, threshold in (("a_test", 0.3), ("b_validation", 0.7)):
        analysis = {"classes": {"Car": {"threshold": threshold}, "Person": {"threshold": None}}}
        results = Results(dataset, "", 1, {"Person": 1, "Car": 1}, tasks, analysis=analysis)
        write_results(tmp_path / "evaluation" / dataset / "results.json", results)
    return tmp_path


def test_the_thresholds_are_those_of_the_data_that_the_run_was_validated_on(run_dir):
    assert read_thresholds(run_dir) == {"Person": MIN_SCORE, "Car": 0.7}


def test_a_run_without_an_evaluation_has_none(run_dir):
    for path in run_dir.rglob("results.json"):
        path.unlink()
    assert read_thresholds(run_dir) == {}


def test_a_threshold_of_zero_stays():
    assert choose_thresholds({"classes": {"Car": {"threshold": 0.0}}}, ["Car"]) == {"Car": 0}
