"""A metric is a record of `runs.metrics` and a module; everything else takes it over."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from judging import random_case, read

from oiv5_d2.evaluation.analysis import analyse
from oiv5_d2.evaluation.diagnosis import diagnose
from oiv5_d2.evaluation.hierarchy import read_above
from oiv5_d2.evaluation.scoring import score
from oiv5_d2.reporting.tables import ap_table, class_table
from oiv5_d2.runs.metrics import METRICS, Metric, check_metric
from oiv5_d2.runs.results import Protocol, read_results, write_results
from oiv5_d2.training.writers.tables import spans

SHARE = Metric("share", ("half", "all"), ("half",), headline="half", mark="S ")


@pytest.fixture
def new_metric(monkeypatch):
    """One that scores every class by its place."""

    def evaluate(truth, found, task, above):
        return {"half": 12.5, "all": 25.0} | {f"half-{n}": i for i, n in enumerate(truth.classes)}

    def resampled(truth, found, task, above, weights):
        return {
            name: np.full(len(weights), value)
            for name, value in evaluate(truth, found, task, above).items()
        }

    module = SimpleNamespace(
        evaluate=evaluate, resampled=resampled, describe=lambda truth: Protocol("shares", ("none",))
    )
    monkeypatch.setitem(sys.modules, "oiv5_d2.evaluation.share", module)
    METRICS.append(SHARE)
    yield
    METRICS.remove(SHARE)


@pytest.fixture
def results(new_metric, tmp_path):
    content, detections = random_case(1)
    truth, found = read(tmp_path, content, detections)
    above, analysis = read_above(truth, {}, None), analyse(diagnose(truth, found, "segm"), {})
    made = score(truth, found, above, ("bbox", "segm"), analysis, resamples=20)
    write_results(tmp_path / "results.json", made)
    return read_results(tmp_path / "results.json")


def test_a_new_metric_is_in_the_results_with_its_words_and_intervals(results):
    assert results.tasks["share/segm"]["half"] == 12.5
    assert results.protocols["share"] == Protocol("shares", ("none",))
    assert results.intervals["share/bbox"]["all"] == (25.0, 25.0)


def test_a_new_metric_is_in_the_tables(results):
    table = ap_table([results])
    place = table.columns.index("S half")
    assert table.columns[place + 1 : place + 3] == ("95 %", "S all")
    assert table.rows[0][place : place + 3] == ("12.5", "12.5-12.5", "25.0")
    assert [row[-2] for row in class_table([results]).rows] == [
        f"{i}.0" for i in range(len(results.num_instances))
    ]


def test_runs_are_compared_by_a_new_metric_and_w_and_b_gets_it(results):
    for name in ("share/segm/half", "share/bbox/half-Person"):
        assert check_metric(name, ["Person"], has_masks=True) == name
    assert spans(results)["interval/share/segm/half/low"] == 12.5
