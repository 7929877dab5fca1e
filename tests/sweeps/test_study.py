import pytest
from optuna.trial import TrialState
from raising import refused

from oiv5_d2.problems import Kind
from oiv5_d2.runs.study import Reports
from oiv5_d2.sweeps.study import check_plan

SEARCH = {
    "ranges": {"a": "tag(log,interval(0.001,1))", "b": "choice(x,y)"},
    "sampler": {"name": "RandomSampler", "seed": 3},
}


def test_a_grid_is_taken_in_order_and_never_twice(ledger):
    first, second = ledger(), ledger()
    taken = [first.take(0), second.take(0)]
    assert [one.number for one in taken] == [0, 1]
    assert [one.params["d2.SOLVER.BASE_LR"] for one in taken] == ["0.1", "0.2"]
    assert first.take(0) is None


def test_what_a_killed_worker_held_is_continued_under_its_number(ledger):
    killed = ledger().take(0)
    killed.let_go()  # as the system does
    after = ledger()
    taken = after.take(0)
    assert (taken.number, taken.is_begun, taken.params) == (0, True, killed.params)
    assert after.take(0).number == 1


def test_a_search_goes_on_after_a_kill_as_if_there_had_been_none(ledger, tmp_path):
    whole = [ledger(**SEARCH, study="whole").take(6) for _ in range(6)]
    for one in whole:
        one.let_go()
    pieces = []
    while taken := ledger(**SEARCH).take(6):  # a worker for each, which holds it
        pieces.append(taken)
    assert [one.params for one in pieces] == [one.params for one in whole]
    assert len({one.params["a"] for one in pieces}) == 6


def test_a_trial_that_was_cut_off_waits_for_the_next_start(ledger):
    worker = ledger()
    worker.cut_off(worker.take(0), "killed by SIGKILL")
    assert worker.take(0).number == 1
    assert worker.take(0) is None
    assert ledger().take(0).number == 0


def test_a_failed_trial_keeps_its_reason_and_its_number(ledger):
    worker = ledger()
    worker.fail(worker.take(0), "diverged")
    trial = ledger().trials()[0]
    assert trial.state is TrialState.FAIL and trial.user_attrs["reason"] == "diverged"
    assert ledger().take(0).number == 1


def test_a_search_is_extended_by_a_larger_number_of_trials(ledger):
    worker = ledger(**SEARCH)
    worker.finish(worker.take(1), 3.0)
    assert worker.take(1) is None
    assert worker.take(2).number == 1


def test_a_trial_worse_than_the_median_is_pruned_and_has_its_last_value(ledger):
    worker = ledger(pruner={"name": "MedianPruner", "n_startup_trials": 1})
    good, bad = worker.take(0), worker.take(0)
    assert not Reports(good.run_dir).report(10, 50.0)
    assert worker.finish(good, 50.0) is False
    assert Reports(bad.run_dir).report(10, 1.0)
    assert worker.finish(bad, 1.0) is True
    assert [one.state for one in worker.trials()] == [TrialState.COMPLETE, TrialState.PRUNED]
    assert worker.trials()[1].value == 1.0


def test_the_study_can_be_in_a_database(ledger, tmp_path):
    parts = {"storage": f"sqlite:///{tmp_path}/study.db", "pruner": {"name": "MedianPruner"}}
    taken = ledger(**parts).take(0)
    assert not Reports(taken.run_dir).report(1, 2.0)
    assert ledger(**parts).trials()[0].intermediate_values == {1: 2.0}


def test_half_a_line_at_the_end_of_the_journal_is_dropped(ledger, tmp_path):
    ledger().take(0)
    with (tmp_path / "study.log").open("a") as file:
        file.write('{"op_code": 4, "wor')
    assert ledger().take(0).number == 1


@pytest.mark.parametrize(
    ("parts", "near"),
    [
        ({"sampler": {"name": "TPESamplr"}}, "TPESampler"),
        ({"sampler": {"name": "TPESampler", "sed": 1}}, "sed"),
        ({"pruner": {"name": "median"}}, "median"),
        ({"sampler": None}, "interval"),
        ({"ranges": {"a": "interval(2,1)"}}, "interval"),
    ],
)
def test_a_plan_that_no_trial_can_be_made_of_is_refused(make_plan, parts, near):
    check_plan(make_plan(**SEARCH))
    with refused(Kind.SETTING) as problem:
        check_plan(make_plan(**{**SEARCH, **parts}))
    assert near in str(problem.value)
