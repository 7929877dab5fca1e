import sys

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf
from raising import refused

from oiv5_d2.console import commands
from oiv5_d2.console.commands import (
    COMMITTED,
    OVERRIDES,
    check_d2,
    check_run,
    choose_defaults,
    data_commands,
    data_words,
    explicit_keys,
    in_solver,
    is_below,
    is_watched,
    read_class_file,
    repeat_run,
)
from oiv5_d2.console.errors import CONFIG_DIR
from oiv5_d2.console.shell import command
from oiv5_d2.problems import Kind, Remedy
from oiv5_d2.training import config


@pytest.fixture
def written(monkeypatch, tmp_path):
    """Where defaults are written, instead of configs/; returns the tool's words after a choice."""
    monkeypatch.setattr(commands, "CONFIG_DIR", tmp_path)

    def choose(version, *words):
        monkeypatch.setattr(commands, "detectron2_version", lambda: version)
        monkeypatch.setattr(sys, "argv", ["tool.py", *words])
        choose_defaults()
        return sys.argv[1:]

    def write(configs_dir):
        path = configs_dir / "detectron2" / "v0.7.yaml"
        path.parent.mkdir()  # it fails if it is called again
        path.write_text("d2: {NEW: 1}\n")

    monkeypatch.setattr(config, "write_defaults", write)
    return choose


def test_the_commands_that_prepare_keep_the_choice_of_data():
    words = ["data.name=my street", "d2.SEED=2", "name=x"]
    prepare = command("prepare_data", "data=folder", "data.name=my street")
    assert data_commands("folder", words) == {
        Remedy.PREPARE: prepare,
        Remedy.PREPARE_AGAIN: f"{prepare} force=true",
        Remedy.PACK_AGAIN: f"{prepare} pack=true",
    }
    assert data_words("x", ["++data.name=a", "~data.limit"]) == [
        "data=x",
        "++data.name=a",
        "~data.limit",
    ]


def test_the_committed_defaults_need_no_word(written, tmp_path):
    assert written(COMMITTED.removeprefix("v")) == []
    assert list(tmp_path.iterdir()) == []


def test_the_defaults_of_another_version_are_written_once_and_chosen(written, tmp_path):
    for _ in range(2):
        assert written("0.7", "name=x") == ["name=x", "detectron2=v0.7"]
    check_d2({"NEW": 2}, "v0.7")
    with refused(Kind.SETTING, key="d2.OLD"):
        check_d2({"OLD": 2}, "v0.7")


def test_a_choice_of_defaults_stays(written):
    assert written("0.7", "detectron2=v0.6") == ["detectron2=v0.6"]


def test_an_unknown_key_of_detectron2_is_refused_with_the_nearest():
    check_d2({"SOLVER": {"BASE_LR": 0.1}}, COMMITTED)
    with refused(Kind.SETTING, key="d2.SOLVER.BASE_LRR", about="d2.SOLVER.BASE_LR or"):
        check_d2({"SOLVER": {"BASE_LRR": 0.1}}, COMMITTED)


@pytest.fixture
def prepared(tmp_path):
    """The words of a quickstart whose data is there, though empty."""
    (tmp_path / "coco").mkdir()
    for part in ("train", "validation"):
        (tmp_path / "coco" / f"{part}.json").touch()
    return ["+experiment=quickstart", f"data.dir={tmp_path}"]


def test_what_no_run_could_begin_with_is_refused(prepared, tmp_path):
    check_run(prepared, CONFIG_DIR)
    with refused(Kind.SETTING, key="d2.SOLVER.BASE_LRR"):
        check_run([*prepared, "+d2.SOLVER.BASE_LRR=0.1"], CONFIG_DIR)
    with pytest.raises(HydraException):
        check_run([*prepared, "model=none"], CONFIG_DIR)
    words = ["data=mini_partial", f"data.dir={tmp_path / 'other'}"]
    with refused(Kind.ABSENT, remedy=Remedy.PREPARE) as problem:
        check_run(["+experiment=quickstart", *words], CONFIG_DIR)
    assert problem.value.__notes__ == [command("prepare_data", *words)]


def test_the_hydra_that_started_a_sweep_is_the_same_after_the_check(prepared):
    # It knows the files of a pattern such as model=glob(*), which the sweep reads afterwards.
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        outer = GlobalHydra.instance().hydra
        check_run(prepared, CONFIG_DIR)
        assert GlobalHydra.instance().hydra is outer and outer is not None


def test_what_is_written_in_named_files_is_explicit_too():
    words = ["+experiment=quickstart", "d2.SOLVER.MAX_ITER=3", "solver=1x", "+a.b={c: 1}"]
    found = explicit_keys(words)
    assert {"d2.SOLVER.MAX_ITER", "d2.INPUT.MIN_SIZE_TEST", "d2.SOLVER.STEPS", "a.b"} <= found
    assert "d2.MODEL.ANCHOR_GENERATOR.SIZES" not in found  # of the model that it builds on
    assert is_below("a.b.c", found) and not is_below("a.bc", found)


@pytest.mark.parametrize(("rank", "expected"), [(None, True), ("0", True), ("3", False)])
def test_one_process_of_torchrun_s_writes_to_the_screen(monkeypatch, rank, expected):
    monkeypatch.delenv("RANK", raising=False)
    if rank:
        monkeypatch.setenv("RANK", rank)
    assert is_watched() is expected


def test_a_solver_s_rate_is_for_its_batch():
    assert in_solver("1x") == (16, 0.02)


def with_classes(monkeypatch, value):
    monkeypatch.setattr(sys, "argv", ["tool.py", f"data.classes={value}", "plan=true"])
    read_class_file()
    return sys.argv[1:]


def test_a_file_of_classes_stands_for_its_lines(tmp_path, monkeypatch):
    path = tmp_path / "classes.txt"
    path.write_text(
        "\ufeffTraffic light  # lamps\n\n/m/0k4j\nMen's, all\n# Bus\n", encoding="utf-8"
    )
    words = with_classes(monkeypatch, path)
    assert words[1] == "plan=true"
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        run = compose("prepare", overrides=words)
    assert run.data.classes == ["Traffic light", "/m/0k4j", "Men's, all"]
    assert with_classes(monkeypatch, "[Person]") == ["data.classes=[Person]", "plan=true"]


@pytest.mark.parametrize(
    ("content", "kind"), [(None, Kind.ABSENT), (b"# none\n", Kind.EMPTY), (b"\xff", Kind.DAMAGED)]
)
def test_a_file_without_classes_is_refused(tmp_path, monkeypatch, content, kind):
    path = tmp_path / "classes.txt"
    if content is not None:
        path.write_bytes(content)
    with refused(kind, about=path):
        with_classes(monkeypatch, path)


def test_an_earlier_run_s_words_come_again(tmp_path, monkeypatch):
    saved = ["+experiment=quickstart", "d2.SOLVER.MAX_ITER=9", "data.name=a", "run_dir=x"]
    (tmp_path / ".hydra").mkdir()
    saved.append("data.classes=[Person,'Traffic light']")
    OmegaConf.save(OmegaConf.create(saved), tmp_path / OVERRIDES)
    monkeypatch.setattr(sys, "argv", ["tool.py", f"again={tmp_path}", "d2.SOLVER.MAX_ITER=5"])
    repeat_run()
    words = ["+experiment=quickstart", "data.name=a", "data.classes=[Person,'Traffic light']"]
    assert sys.argv[1:] == [*words, "d2.SOLVER.MAX_ITER=5"]


@pytest.mark.parametrize(("text", "kind"), [(None, Kind.ABSENT), ("a: [", Kind.DAMAGED)])
def test_what_is_no_run_is_refused(tmp_path, monkeypatch, text, kind):
    if text:
        (tmp_path / ".hydra").mkdir()
        (tmp_path / OVERRIDES).write_text(text)
    monkeypatch.setattr(sys, "argv", ["tool.py", f"again={tmp_path}"])
    with refused(kind, about=OVERRIDES):
        repeat_run()
