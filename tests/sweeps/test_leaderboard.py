import json
from functools import partial

import pandas as pd
import pytest

from oiv5_d2.console.shell import command
from oiv5_d2.sweeps.leaderboard import write_leaderboard

TO_COMMAND = partial(command, "train_net")


def finish(worker, value, seconds=90.0):
    taken = worker.take(0)
    record = {"results": {"segm": {"AP": value}}, "seconds": seconds, "iterations": 400}
    (taken.run_dir / "run.json").write_text(json.dumps(record))
    worker.finish(taken, value)


@pytest.fixture
def plan(make_plan):
    ranges = {"d2.SOLVER.BASE_LR": "0.1,0.2,0.3,0.4", "trainer.ema": "choice(0.9)"}
    return make_plan(ranges=ranges)


def test_the_table_has_the_best_first_and_the_reasons_last(ledger, plan, tmp_path):
    worker = ledger(ranges=plan.ranges)
    finish(worker, 10.0)
    worker.fail(worker.take(0), "step 3 diverged")
    finish(worker, 20.0)
    rows = write_leaderboard(tmp_path, plan, worker.study(), TO_COMMAND)
    table = pd.read_csv(tmp_path / "trials.csv")
    assert list(table["trial"]) == [2, 0, 1, 3]
    assert list(table["state"]) == ["finished", "finished", "failed", "waiting"]
    assert list(table["d2.SOLVER.BASE_LR"]) == [0.3, 0.1, 0.2, 0.4]
    assert "trainer.ema" not in table.columns  # all trials have the same
    assert table["reason"][2] == "step 3 diverged"
    assert list(table["minutes"][:2]) == [1.5, 1.5]
    words = ("+experiment=x", "d2.SOLVER.BASE_LR=0.3", "trainer.ema=0.9")
    assert rows[0].command == command("train_net", *words)


def test_of_a_loss_the_lowest_is_the_best(ledger, plan, tmp_path, make_plan):
    metric = "validation/total_loss"
    worker = ledger(metric=metric)
    for value in (2.0, 1.0):
        finish(worker, value)
    rows = write_leaderboard(tmp_path, make_plan(metric=metric), worker.study(), TO_COMMAND)
    assert [row.value for row in rows] == [1.0, 2.0]
