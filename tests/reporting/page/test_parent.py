from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf, open_dict

from oiv5_d2.reporting.page.parent import read_parent

ROOT = Path(__file__).parents[3]


def write_notes(run_dir, words):
    """Write what Hydra notes of a run with some words."""
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        config = compose("train", words, return_hydra_config=True)
    choices = OmegaConf.to_container(config.hydra.runtime.choices)
    with open_dict(config):
        del config["hydra"]
    (run_dir / ".hydra").mkdir()
    OmegaConf.save(config, run_dir / ".hydra" / "config.yaml")
    notes = {"hydra": {"runtime": {"choices": choices}}}
    OmegaConf.save(OmegaConf.create(notes), run_dir / ".hydra" / "hydra.yaml")


def test_only_the_command_line_differs(tmp_path):
    words = ["logger=none", "d2.SEED=9", "trainer.ema=0.5", f"run_dir={tmp_path}"]
    write_notes(tmp_path, ["+experiment=quickstart", *words])
    parent = read_parent(tmp_path, ROOT)
    assert parent.name == "experiment=quickstart"
    assert [tuple(one)[:2] for one in parent.changes] == [
        ("logger", "none"),
        ("d2.SEED", "9"),
        ("trainer.ema", "0.5"),
    ]
    assert parent.changes[0].parent == "wandb"


def test_nothing_differs_from_an_experiment_as_it_is(tmp_path):
    write_notes(tmp_path, ["+experiment=quickstart"])
    assert read_parent(tmp_path, ROOT).changes == []


def test_without_an_experiment_the_parent_is_what_every_run_is_made_of(tmp_path):
    write_notes(tmp_path, ["trainer.ema=0.5"])
    parent = read_parent(tmp_path, ROOT)
    assert parent.name == "configs/train.yaml"
    assert [one.key for one in parent.changes] == ["trainer.ema"]


def test_a_tool_that_hydra_started_can_ask_for_it(tmp_path):
    write_notes(tmp_path, ["+experiment=quickstart"])
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        assert read_parent(tmp_path, ROOT).changes == []
        assert compose("train", ["d2.SEED=4"]).d2.SEED == 4


@pytest.mark.parametrize("is_gone", ["experiment", "notes", "configs"])
def test_what_is_gone_is_no_parent(tmp_path, is_gone):
    write_notes(tmp_path, ["+experiment=quickstart"])
    notes = tmp_path / ".hydra" / "hydra.yaml"
    if is_gone == "experiment":
        notes.write_text(notes.read_text().replace("experiment: quickstart", "experiment: gone"))
    elif is_gone == "notes":
        (tmp_path / ".hydra" / "config.yaml").unlink()
    assert read_parent(tmp_path, tmp_path if is_gone == "configs" else ROOT) is None
