import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from raising import refused

from oiv5_d2.problems import Kind, Remedy
from oiv5_d2.runs.results import Protocol, Results, describe_gaps, read_results, write_results

NUMBERS = st.one_of(st.floats(0, 100), st.just(math.nan))
METRICS = st.dictionaries(st.text("APsml50-Car ", min_size=1, max_size=9), NUMBERS, max_size=5)
RESULTS = Results("mini_test", "ab" * 32, 3, {"Car": 2, "Bus": 0}, {"segm": {"AP": 40.0}})


@given(METRICS, METRICS)
def test_results_survive_their_file(tmp_path_factory, bbox, segm):
    path = tmp_path_factory.mktemp("results") / "results.json"
    results = RESULTS._replace(tasks={"bbox": bbox, "segm": segm})
    write_results(path, results)
    np.testing.assert_equal(read_results(path)._asdict(), results._asdict())


def test_the_file_is_plain_json_without_nan(tmp_path):
    write_results(tmp_path / "r.json", RESULTS._replace(tasks={"segm": {"AP": math.nan}}))
    refuse = {"parse_constant": lambda name: pytest.fail(f"{name} is no JSON")}
    assert json.loads((tmp_path / "r.json").read_text(), **refuse)["coco"]["segm"] == {"AP": None}


def test_a_gap_is_told_with_what_the_mean_is_over():
    (note,) = describe_gaps(RESULTS)
    assert "Bus" in note and "1 of 2" in note
    assert describe_gaps(RESULTS._replace(num_instances={"Car": 2})) == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"dataset": "a"}'])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "results.json").write_text(content)
    with refused(Kind.DAMAGED, remedy=Remedy.EVALUATE, about="results.json"):
        read_results(tmp_path / "results.json")


def test_results_of_before_there_were_two_metrics_are_read(tmp_path):
    old = RESULTS._asdict() | {"segm": {"AP": 40.0, "APs": None}, "bbox": {"AP": 50.0}}
    (tmp_path / "r.json").write_text(json.dumps(old | {"notes": []}))
    tasks = read_results(tmp_path / "r.json").tasks
    assert tasks["segm"]["AP"] == 40 and math.isnan(tasks["segm"]["APs"])
    assert tasks["bbox"] == {"AP": 50}


def test_protocols_and_intervals_survive_the_file(tmp_path):
    results = RESULTS._replace(
        tasks={"segm": {"AP": 40.0}, "open_images/segm": {"AP50": 60.0}},
        protocols={"open_images": Protocol("Open Images", ("ties",))},
        intervals={"open_images/segm": {"AP50": (50.0, 70.0)}, "segm": {"AP": (30.0, 45.0)}},
        remarks=("3 detections left out",),
    )
    write_results(tmp_path / "r.json", results)
    assert read_results(tmp_path / "r.json") == results
