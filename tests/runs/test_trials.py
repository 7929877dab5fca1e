import json

import pandas as pd
from omegaconf import OmegaConf

from oiv5_d2.runs.trials import TrialTable, read_trials


def write_trial(sweep_dir, number, overrides, ap=None):
    folder = sweep_dir / str(number)
    (folder / ".hydra").mkdir(parents=True)
    OmegaConf.save(OmegaConf.create(overrides), folder / ".hydra" / "overrides.yaml")
    run = {} if ap is None else {"results": {"segm": {"AP": ap}}, "seconds": 90.0}
    (folder / "run.json").write_text(json.dumps(run))


def test_trials_are_sorted_by_their_metric_and_show_where_they_differ(tmp_path):
    write_trial(tmp_path, 0, ["+experiment=quickstart", "d2.SOLVER.BASE_LR=0.02"], ap=20.0)
    write_trial(tmp_path, 1, ["+experiment=quickstart", "d2.SOLVER.BASE_LR=0.04"], ap=30.0)
    write_trial(tmp_path, 2, ["+experiment=quickstart", "d2.SOLVER.BASE_LR=9.0"])
    trials = read_trials(tmp_path, "segm/AP")
    assert list(trials[0]) == ["trial", "d2.SOLVER.BASE_LR", "segm/AP", "minutes"]
    assert [one["trial"] for one in trials] == ["1", "0", "2"]
    assert [one["minutes"] for one in trials] == [1.5, 1.5, None]
    assert trials[2]["segm/AP"] is None


def test_of_several_data_sets_the_first_one_counts_as_it_does_for_the_run(tmp_path):
    write_trial(tmp_path, 0, ["a=1"])
    results = {"mini_validation": {"segm": {"AP": 20.0}}, "mini_test": {"segm": {"AP": 9.0}}}
    (tmp_path / "0" / "run.json").write_text(json.dumps({"results": results, "seconds": 60.0}))
    assert read_trials(tmp_path, "segm/AP")[0]["segm/AP"] == 20.0


def test_the_table_is_written_when_a_sweep_ends(tmp_path):
    write_trial(tmp_path, 0, ["a=1"], ap=20.0)
    write_trial(tmp_path, 1, ["a=2"], ap=10.0)
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}})
    TrialTable("segm/AP").on_multirun_end(config)
    table = pd.read_csv(tmp_path / "trials.csv")
    assert list(table["a"]) == [1, 2]
    assert list(table["segm/AP"]) == [20.0, 10.0]
