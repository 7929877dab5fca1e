from dataclasses import replace

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from raising import refused

from oiv5_d2.console.errors import CONFIG_DIR
from oiv5_d2.problems import Kind
from oiv5_d2.sweeps.ranges import distributions
from oiv5_d2.sweeps.settings import (
    CONFIGS,
    Settings,
    first_words,
    freeze,
    frozen_configs,
    make_plan,
    read_plan,
)

SWEEPS = sorted(path.stem for path in (CONFIG_DIR / "sweep").glob("*.yaml"))


@pytest.fixture
def configs_dir(tmp_path):
    (tmp_path / "now").mkdir()
    (tmp_path / "now" / "train.yaml").write_text("a: 1\n")
    (tmp_path / "sweep").mkdir()
    return tmp_path / "now"


def composed(*words):
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        hydra = compose("train", [*words, "sweep_dir=x"], return_hydra_config=True).hydra
    return Settings(**OmegaConf.to_container(hydra.sweeper, resolve=True))


@pytest.mark.parametrize("name", SWEEPS)
def test_every_sweep_has_ranges(name):
    words = ["+experiment=quickstart", f"+sweep={name}"]
    plan = make_plan(composed(*words), words)
    assert plan.words == tuple(words)
    assert distributions(plan.ranges)


def test_a_word_of_the_command_line_replaces_a_range_of_the_file():
    plan = make_plan(composed("+sweep=search"), ["d2.SOLVER.BASE_LR=0.1"])
    assert "d2.SOLVER.BASE_LR" not in plan.ranges and "d2.SOLVER.BASE_LR=0.1" in plan.words


def test_the_first_values_of_all_ranges_are_a_command_line():
    words = ["name=x", "d2.SEED=3,4", "trainer.ema=choice(0.5)", "jobs=2"]
    found = first_words(composed("+sweep=search"), words)
    expected = {"name=x", "d2.SEED=3", "trainer.ema=0.5", "d2.SOLVER.BASE_LR=0.01"}
    assert {*found} == {*expected, "d2.SOLVER.WEIGHT_DECAY=1e-05"}


@pytest.mark.parametrize("word", ["jobs=0", "jobs=many", "hydra.sweeper.trials=0"])
def test_a_number_without_meaning_is_refused(word):
    with refused(Kind.SETTING):
        composed(word)


def test_as_many_trials_as_gpus_is_no_number_of_jobs_of_a_cluster():
    assert composed("launch=slurm", "jobs=4").slurm
    with refused(Kind.SETTING, key="jobs"):
        composed("launch=slurm", "jobs=gpus")


def test_files_of_settings_stay_as_they_were_when_the_sweep_started(
    tmp_path, configs_dir, make_plan
):
    plan = make_plan()
    assert frozen_configs(tmp_path / "sweep") is None
    freeze(tmp_path / "sweep", plan, configs_dir)
    (configs_dir / "train.yaml").write_text("a: 2\n")
    freeze(tmp_path / "sweep", plan, configs_dir)
    assert frozen_configs(tmp_path / "sweep") == tmp_path / "sweep" / CONFIGS
    assert (tmp_path / "sweep" / CONFIGS / "train.yaml").read_text() == "a: 1\n"
    assert read_plan(tmp_path / "sweep") == plan


def test_another_command_in_the_folder_of_a_sweep_is_refused(tmp_path, configs_dir, make_plan):
    freeze(tmp_path / "sweep", make_plan(), configs_dir)
    with refused(Kind.MISMATCH) as problem:
        freeze(tmp_path / "sweep", replace(make_plan(), words=("a=2",)), configs_dir)
    assert "words" in problem.value.detail


def test_a_float_keeps_all_its_digits_on_the_way_to_a_trial(make_plan):
    value = 0.1 + 0.2
    words = make_plan().words_of({"d2.SOLVER.BASE_LR": value})
    assert float(words[-1].partition("=")[2]) == value
