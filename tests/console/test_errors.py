import pytest
from hydra.errors import HydraException

from oiv5_d2.console.errors import explain, leaves, near, report_errors


def test_a_mistake_of_the_user_s_is_one_line_and_exit_code_1(capsys):
    def main():
        raise ValueError("train.csv: row 3 is cut:\n  fetch the file again")

    with pytest.raises(SystemExit) as stop:
        report_errors(main, "prepare")
    assert stop.value.code == 1
    assert capsys.readouterr().err == "error: train.csv: row 3 is cut: fetch the file again\n"


def test_a_fault_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        report_errors(lambda: 1 / 0, "prepare")


def test_the_traceback_of_a_mistake_can_be_had(monkeypatch):
    monkeypatch.setenv("OIV5_D2_TRACEBACK", "1")

    def main():
        raise FileNotFoundError("gone")

    with pytest.raises(FileNotFoundError, match="gone"):
        report_errors(main, "prepare")


def test_an_unknown_key_comes_with_the_nearest_known_one():
    error = HydraException("Could not override 'data.clases'.\nTo append to your config use +")
    said = explain(error, "prepare")
    assert said.startswith("unknown key data.clases; did you mean data.classes")


def test_an_unknown_group_comes_with_the_nearest_known_one():
    error = HydraException("Could not override 'modle'. No match in the defaults list.")
    assert explain(error, "prepare") == "unknown key modle; did you mean model?"


def test_nothing_near_suggests_nothing():
    assert near("zzz", {"data.name"}) == ""


def test_the_same_name_elsewhere_is_suggested():
    assert near("SOLVER.base_lr", {"d2.SOLVER.BASE_LR", "d2.SEED"}) == (
        "; did you mean d2.SOLVER.BASE_LR?"
    )


def test_leaves_are_dotted_and_empty_ones_stay():
    assert dict(leaves({"a": {"b": 1, "c": {}}, "d": [2]})) == {"a.b": 1, "a.c": {}, "d": [2]}
