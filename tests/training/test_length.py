import json

import pytest
import torch

from oiv5_d2.runs.prepared import locate
from oiv5_d2.training import length
from oiv5_d2.training.catalog import register
from oiv5_d2.training.config import to_cfg
from oiv5_d2.training.data.loader import build_train_loader
from oiv5_d2.training.length import count_images, with_length


@pytest.fixture
def cfg(composed, tiny_words, tmp_path):
    return to_cfg(composed(*tiny_words, "d2.SOLVER.STEPS=[200,300]"), str(tmp_path))


@pytest.fixture
def datasets(prepared_dir):
    return locate("blocks", prepared_dir, ["blocks_train", "blocks_test"])


def lengthened(cfg, datasets, reference_batch=0, epochs=0.0, every=0.0, share=1.0):
    return with_length(cfg, datasets, reference_batch, epochs, every, share)


def test_without_a_wish_the_configuration_stays_as_it_is(cfg, datasets, caplog):
    assert lengthened(cfg, datasets) == cfg
    assert not caplog.records


def test_epochs_set_the_steps_and_all_that_depends_on_them(cfg, datasets, caplog):
    with caplog.at_level("INFO"):
        found = lengthened(cfg, datasets, epochs=100)
    assert found.is_frozen()
    # 4 images, 2 in a step; before, there were 400 steps.
    assert (found.SOLVER.MAX_ITER, found.SOLVER.STEPS) == (200, (100, 150))
    assert found.SOLVER.BASE_LR == cfg.SOLVER.BASE_LR
    (line,) = caplog.messages
    assert "trainer.epochs=100" in line and "SOLVER.MAX_ITER 400 -> 200" in line


def test_rate_and_length_follow_the_batch(cfg, datasets):
    found = lengthened(cfg, datasets, reference_batch=8)
    assert (found.SOLVER.MAX_ITER, found.SOLVER.STEPS) == (1600, (800, 1200))
    assert found.SOLVER.BASE_LR == cfg.SOLVER.BASE_LR / 4
    assert found.SOLVER.CHECKPOINT_PERIOD == 4 * cfg.SOLVER.CHECKPOINT_PERIOD
    # The rate follows the batch, and the length is what was asked for.
    both = lengthened(cfg, datasets, reference_batch=8, epochs=100)
    assert (both.SOLVER.MAX_ITER, both.SOLVER.BASE_LR) == (200, found.SOLVER.BASE_LR)


def test_evaluations_and_checkpoints_come_after_so_many_passes(cfg, datasets, caplog):
    with caplog.at_level("INFO"):
        found = lengthened(cfg, datasets, epochs=100, every=1)
    # 4 images, 2 in a step.
    assert (found.TEST.EVAL_PERIOD, found.SOLVER.CHECKPOINT_PERIOD) == (2, 2)
    assert found.SOLVER.MAX_ITER == 200
    assert "trainer.evaluate_every=1" in caplog.text and "TEST.EVAL_PERIOD" in caplog.text
    # The length in steps, or another reference batch, does not change what a pass is.
    other = lengthened(cfg, datasets, reference_batch=8, every=2.5)
    assert (other.TEST.EVAL_PERIOD, other.SOLVER.CHECKPOINT_PERIOD) == (5, 5)
    assert lengthened(cfg, datasets, every=1, share=0.5).TEST.EVAL_PERIOD == 1


@pytest.mark.parametrize("share", [1.0, 0.5, 0.01])
def test_the_images_of_an_epoch_are_those_that_the_loader_trains_on(
    cfg, datasets, share, clean_catalog
):
    register(datasets, ("Person", "Traffic light", "Car", "Traffic sign"))
    loader = build_train_loader(cfg, {}, share)
    assert count_images(cfg, datasets, share) == len(loader._samples.records)


def record_of(run_dir):
    return json.loads((run_dir / "run.json").read_text())


@pytest.mark.slow
def test_a_time_budget_is_a_number_of_steps_that_stays(start, weights, tmp_path, monkeypatch):
    monkeypatch.setattr(length, "TIMED", 3)
    words = ("d2.DATASETS.TEST=[]", "d2.SOLVER.CHECKPOINT_PERIOD=2")
    start(*words, "trainer.hours=0.0005")
    run_dir = tmp_path / "run"
    steps = record_of(run_dir)["iterations"]
    assert 1 < steps < 400
    assert f"MAX_ITER: {steps}\n" in (run_dir / "config.yaml").read_text()
    # The same steps without a budget.
    start(*words, f"d2.SOLVER.MAX_ITER={steps}", name="plain")
    final = [weights(tmp_path / name / "model_final.pth") for name in ("run", "plain")]
    assert all(torch.equal(final[0][name], final[1][name]) for name in final[1])
    # Nothing is measured again, on a slower machine either.
    for name in ("model_final.pth", f"model_{steps - 1:07d}.pth"):
        (run_dir / name).unlink()
    monkeypatch.setattr(length.Rehearsal, "rehearse", None)
    start(*words, "trainer.hours=0.0005", resume=True)
    assert record_of(run_dir)["iterations"] == steps
    again = weights(run_dir / "model_final.pth")
    assert all(torch.equal(again[name], final[1][name]) for name in again)
    # Half as much again has half as many steps more.
    start(*words, "trainer.hours=0.00075", resume=True)
    assert record_of(run_dir)["iterations"] == round(1.5 * steps)
