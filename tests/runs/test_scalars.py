import json

from raising import refused

from oiv5_d2.problems import Kind
from oiv5_d2.runs.scalars import read_scalars, series, write_evaluated


def write(run_dir, *rows, tail=""):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (run_dir / "metrics.json").write_text(text + tail)


def test_numbers_come_back_by_name_without_gaps(tmp_path):
    write(tmp_path, {"iteration": 19, "lr": 0.1, "a": 1.0}, {"iteration": 39, "a": 2.0})
    scalars = read_scalars(tmp_path)
    assert series(scalars, "a") == ([19, 39], [1.0, 2.0])
    assert series(scalars, "lr") == ([19], [0.1])
    assert series(scalars, "none") == ([], [])


def test_lines_of_one_iteration_are_one_row(tmp_path):
    write(tmp_path, {"iteration": 40, "segm/AP": 3.0}, {"iteration": 40, "bbox/AP": 4.0})
    assert len(read_scalars(tmp_path)) == 1


def test_a_resumed_run_counts_each_iteration_once_the_later_time(tmp_path):
    write(tmp_path, *({"iteration": i, "a": v} for i, v in ((19, 1.0), (39, 9.0), (39, 2.0))))
    assert series(read_scalars(tmp_path), "a") == ([19, 39], [1.0, 2.0])


def test_a_last_line_cut_short_is_left_out(tmp_path):
    write(tmp_path, {"iteration": 19, "a": 1.0}, tail='{"iteration": 39, "a"')
    assert series(read_scalars(tmp_path), "a") == ([19], [1.0])


def test_a_damaged_line_is_named(tmp_path):
    write(tmp_path, tail='{"iter\n{"iteration": 39, "a": 1.0}\n')
    with refused(Kind.DAMAGED, about="line 1"):
        read_scalars(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with refused(Kind.ABSENT, about="metrics.json"):
        read_scalars(tmp_path)


def test_only_evaluations_go_to_the_table(tmp_path):
    rows = [
        {"iteration": 19, "total_loss": 2.0},
        {"iteration": 20, "segm/AP": 12.3456, "bbox/AP-Car": float("nan")},
        {"iteration": 40, "segm/AP": 20.0, "bbox/AP-Car": 7.0, "time": 1.0},
    ]
    write(tmp_path, *rows)
    write_evaluated(read_scalars(tmp_path), tmp_path / "metrics.csv")
    expected = "iteration,bbox/AP-Car,segm/AP\n20,,12.35\n40,7.00,20.00\n"
    assert (tmp_path / "metrics.csv").read_text() == expected


def test_several_data_sets_are_told_apart(tmp_path):
    write(tmp_path, {"iteration": 20, "a_test/segm/AP": 1.0, "b_test/segm/AP": 2.0})
    write_evaluated(read_scalars(tmp_path), tmp_path / "metrics.csv")
    header = (tmp_path / "metrics.csv").read_text().splitlines()[0]
    assert header == "iteration,a_test/segm/AP,b_test/segm/AP"


def test_a_run_that_was_not_evaluated_gives_an_empty_table(tmp_path):
    write(tmp_path, {"iteration": 19, "total_loss": 2.0})
    write_evaluated(read_scalars(tmp_path), tmp_path / "metrics.csv")
    assert (tmp_path / "metrics.csv").read_text() == "iteration\n"
