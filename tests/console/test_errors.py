import sys

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException

from oiv5_d2.console.errors import (
    COMMANDS,
    CONFIG_DIR,
    PHRASES,
    REMEDIES,
    explain,
    report_errors,
    resuming,
    suggesting,
    words,
)
from oiv5_d2.problems import TRY_AGAIN, Kind, Problem, Remedy


def stop(main):
    with pytest.raises(SystemExit) as stopped:
        report_errors(main, "prepare")
    return stopped.value.code


def test_every_kind_and_remedy_has_its_words():
    assert set(PHRASES) == set(Kind)
    assert set(REMEDIES) == set(Remedy) - {Remedy.NONE}
    assert list(PHRASES) == sorted(PHRASES) and list(REMEDIES) == sorted(REMEDIES)
    for remedy, text in REMEDIES.items():
        assert ("{command}" in text) == (remedy in COMMANDS)


@pytest.mark.parametrize("remedy", Remedy)
@pytest.mark.parametrize("key", ["", "data.shares", "data.shares data.limit=null"])
def test_a_problem_is_a_line_with_its_facts_and_a_line_with_its_remedy(remedy, key):
    said = words(Problem(Kind.DAMAGED, "train.csv", "row 3\nis cut", key=key, remedy=remedy))
    first, *rest = said.split("\n")
    assert "train.csv" in first and first.endswith(": row 3 is cut")
    assert len(rest) == (remedy is not Remedy.NONE)
    for line in rest:
        assert line.startswith("  ") and "{" not in line


def test_the_settings_to_change_are_named():
    problem = Problem(Kind.SETTING, "x", key="a.b c=1 d=0", remedy=Remedy.CHANGE_SETTING)
    assert "change a.b or set c=1 d=0" in words(problem).lower()


def test_a_tool_adds_the_command_that_fits_its_choice():
    command = "python tools/prepare_data.py data=folder data.source=/a"
    with pytest.raises(Problem) as caught, suggesting({Remedy.PREPARE: command}):
        raise Problem(Kind.ABSENT, "train.json", remedy=Remedy.PREPARE)
    assert words(caught.value).endswith(command)
    with pytest.raises(Problem) as other, suggesting({Remedy.PREPARE: command}):
        raise Problem(Kind.ABSENT, "run.json", remedy=Remedy.TRAIN)
    assert words(other.value).endswith(COMMANDS[Remedy.TRAIN])


@pytest.mark.parametrize("remedy", [Remedy.FREE_DISK, Remedy.RUN_AGAIN])
def test_a_run_that_has_begun_is_continued_where_else_one_would_call_again(
    tmp_path, monkeypatch, remedy
):
    monkeypatch.setattr(sys, "argv", ["train_net.py", "+experiment=quickstart", "run_dir=else"])
    monkeypatch.chdir(tmp_path)
    for has_begun in (False, True):
        with pytest.raises(Problem) as caught, resuming(str(tmp_path / "run")):
            raise Problem(Kind.DISK_FULL, "model_0000009.pth", remedy=remedy)
        said = words(caught.value)
        assert (said.endswith("run_dir=run resume=true") and "else" not in said) is has_begun
        (tmp_path / "run").mkdir(exist_ok=True)
        (tmp_path / "run" / "run.json").touch()


def test_a_problem_ends_a_tool_with_its_words_and_exit_code_1(capsys):
    problem = Problem(Kind.BUSY, "data/mini", "by process 7", remedy=Remedy.WAIT)

    def main():
        raise problem

    assert stop(main) == 1
    assert capsys.readouterr().err == f"error: {words(problem)}\n"


def test_what_was_ended_from_outside_has_an_exit_code_of_its_own():
    def main():
        raise Problem(Kind.STOPPED, "job 7", "NODE_FAIL", remedy=Remedy.RUN_AGAIN)

    assert stop(main) == TRY_AGAIN


@pytest.mark.parametrize("error", [ValueError, OSError])
def test_another_mistake_is_one_line_and_exit_code_1(capsys, error):
    def main():
        raise error("train.csv: row 3 is cut:\n  fetch it again")

    assert stop(main) == 1
    assert capsys.readouterr().err == "error: train.csv: row 3 is cut: fetch it again\n"


def test_ctrl_c_ends_with_the_shell_s_code(capsys):
    def main():
        raise KeyboardInterrupt

    assert stop(main) == 130


def test_a_fault_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        report_errors(lambda: 1 / 0, "prepare")


def test_the_traceback_of_a_mistake_can_be_shown(monkeypatch):
    monkeypatch.setenv("OIV5_D2_TRACEBACK", "1")

    def main():
        raise Problem(Kind.ABSENT, "gone")

    with pytest.raises(Problem):
        report_errors(main, "prepare")


@pytest.mark.parametrize(
    ("word", "remedy"),
    [
        ("experiment=quickstart", "+experiment=quickstart"),
        ("experiment=quikstart", "+experiment=quikstart; did you mean quickstart?"),
    ],
)
def test_a_group_that_is_added_is_shown_with_its_plus(word, remedy, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tool.py", word])
    with pytest.raises(HydraException) as caught, initialize_config_dir(
        str(CONFIG_DIR), version_base="1.3"
    ):  # fmt: skip
        compose("train", [word])
    assert explain(caught.value, "train").endswith(remedy)


@pytest.mark.parametrize(
    ("word", "right"),
    [
        ("data.classes=[Fußgänger,Car]", "data.classes=['Fußgänger',Car]"),
        ("data.classes=[Car (left), Bus]", "data.classes=['Car (left)',Bus]"),
        ("data.source=a=b", "data.source='a=b'"),
    ],
)
def test_a_word_that_hydra_does_not_take_is_shown_as_it_has_to_be_typed(word, right):
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        with pytest.raises(HydraException) as caught:
            compose("prepare", ["data=folder", word])
        assert explain(caught.value, "prepare").endswith(f'  "{right}"')
        compose("prepare", ["data=folder", right])


@pytest.mark.parametrize(
    ("override", "nearest"),
    [
        ("data.clases=[Car]", "data.classes"),
        ("modle=mask_rcnn_r50_fpn", "model"),
        ("model=mask_rcnn_r50_fnp", "mask_rcnn_r50_fpn"),
        ("resum=true", "resume"),
        ("d2.SOLVER.BASE_LRR=0.1", "d2.SOLVER.BASE_LR"),
        ("+experiment=quikstart", "quickstart"),
        ("+experiment=zzz", "r101_traffic"),
    ],
)
def test_an_unknown_name_comes_with_the_nearest_known_one(override, nearest):
    with pytest.raises(HydraException) as caught, initialize_config_dir(
        str(CONFIG_DIR), version_base="1.3"
    ):  # fmt: skip
        compose("train", [override])
    said = explain(caught.value, "train")
    assert override.lstrip("+").partition("=")[0] in said
    assert nearest in said.partition(";")[2] and "\n" not in said


def test_a_key_of_a_file_that_was_not_chosen_is_not_called_unknown():
    overrides = ["logger=none", "logger.send.images=2"]
    with (
        initialize_config_dir(str(CONFIG_DIR), version_base="1.3"),
        pytest.raises(HydraException) as caught,
    ):
        compose("train", overrides)
    said = explain(caught.value, "train")
    assert said.startswith("logger.send.images ") and "unknown" not in said
