"""A run that is a trial: its evaluations are in the study, and the pruner can end it well."""

import json

import pytest

from oiv5_d2.runs.study import PRUNED
from oiv5_d2.sweeps.settings import Plan
from oiv5_d2.sweeps.study import Ledger

FEW = ("d2.SOLVER.MAX_ITER=4", "d2.TEST.EVAL_PERIOD=2", "d2.SOLVER.CHECKPOINT_PERIOD=2")


@pytest.fixture
def ledger(tmp_path):
    """A study with a pruner that ends every trial at its first evaluation that is below 100."""
    pruner = {"name": "ThresholdPruner", "lower": 100.0}
    plan = Plan((), {"a": "1,2"}, "segm/AP", None, pruner, None, "sweep")
    return Ledger(tmp_path, plan)


@pytest.mark.slow
def test_a_pruned_trial_ends_with_its_record_and_its_last_checkpoint(start, ledger, tmp_path):
    trial = ledger.take(0)
    trial.let_go()
    value = start(*FEW, name=trial.run_dir.name)
    record = json.loads((trial.run_dir / "run.json").read_text())
    assert record["iterations"] == 2 and record["results"]["segm"]["AP"] == value
    assert (trial.run_dir / "model_final.pth").is_file()
    found = ledger.trials()[0]
    assert found.user_attrs[PRUNED] and found.intermediate_values == {1: value}


def test_a_run_that_is_no_trial_knows_of_no_study(start, ledger, tmp_path):
    start(*FEW)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["iterations"] == 4
    assert not any(one.intermediate_values for one in ledger.trials())
