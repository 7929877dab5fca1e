import logging

import numpy as np
import pytest
import torch
from raising import refused

from oiv5_d2.problems import Kind
from oiv5_d2.runs.prepared import locate
from oiv5_d2.training.catalog import register
from oiv5_d2.training.config import to_cfg
from oiv5_d2.training.data.loader import build_train_loader
from oiv5_d2.training.data.mapper import seeded
from oiv5_d2.training.features import Features
from oiv5_d2.training.hooks.seeding import SeedSteps
from oiv5_d2.training.trainer import Trainer

from detectron2.data import DatasetMapper  # isort: skip
from detectron2.engine import DefaultTrainer  # isort: skip
from detectron2.engine.hooks import PeriodicWriter  # isort: skip
from detectron2.utils.events import EventWriter, get_event_storage  # isort: skip

STEPS = 30


class Losses(EventWriter):
    """Keeps each step's total loss."""

    def __init__(self):
        self.values = []

    def write(self):
        self.values.append(get_event_storage().latest()["total_loss"][0])


class Stock(DefaultTrainer):
    """Detectron2's own trainer, fed with our batches as Detectron2's mapper loads them."""

    @classmethod
    def build_train_loader(cls, cfg):
        loader, mapper = build_train_loader(cfg, {}), DatasetMapper(cfg, is_train=True)

        def load(record, seed):
            with seeded(seed):
                return mapper(record)

        loader._samples._mapper = load
        return loader


@pytest.fixture
def cfg(composed, tiny_words, prepared_dir, tmp_path, clean_catalog):
    run = composed(*tiny_words, f"d2.SOLVER.MAX_ITER={STEPS}", "d2.DATASETS.TEST=[]")
    cfg = to_cfg(run, str(tmp_path))
    register(locate("blocks", prepared_dir, cfg.DATASETS.TRAIN), run.data.classes)
    return cfg


def ours(cfg, **features):
    return Trainer(cfg, None, list, Features("segm/AP", **features), {})


def close(trainer):
    """Close the files of a trainer that does not train."""
    for hook in trainer._hooks:
        for writer in getattr(hook, "_writers", []):
            writer.close()


def record_losses(trainer):
    losses = Losses()
    close(trainer)
    (writer,) = [h for h in trainer._hooks if isinstance(h, PeriodicWriter)]
    writer._writers, writer._period = [losses], 1
    trainer.train()
    return losses.values


@pytest.mark.slow
def test_with_all_features_off_the_losses_are_those_of_stock_detectron2(cfg):
    torch.manual_seed(1)
    stock = Stock(cfg)
    stock._hooks = [h for h in stock._hooks if type(h).__name__ != "EvalHook"]
    # Which proposals a loss is computed on is drawn at random: the same draws for both.
    stock.register_hooks([SeedSteps(cfg.SEED)])
    expected = record_losses(stock)
    torch.manual_seed(1)
    found = record_losses(ours(cfg))
    assert len(set(found)) >= STEPS
    np.testing.assert_allclose(found[:STEPS], expected[:STEPS], rtol=1e-6)


def test_a_checkpoint_is_loaded_by_stock_detectron2(cfg, tmp_path):
    trainer = ours(cfg)
    trainer.iter = 3
    trainer.save()
    close(trainer)
    stock = Stock(cfg)
    close(stock)
    stock.resume_or_load(resume=True)
    assert stock.start_iter == 4
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(value, stock.model.state_dict()[name])


def test_the_optimizer_goes_on_with_its_momentum_and_the_configured_rate(cfg, tmp_path):
    trainer = ours(cfg)
    trainer.train()
    resumed = ours(cfg)
    close(resumed)
    resumed.resume(tmp_path / "model_final.pth")
    for one, other in zip(
        trainer.optimizer.state.values(), resumed.optimizer.state.values(), strict=True
    ):
        assert torch.equal(one["momentum_buffer"], other["momentum_buffer"])
    assert resumed.optimizer.param_groups[0]["lr"] == trainer.optimizer.param_groups[0]["lr"]
    resumed.lower_rate(0.5)
    resumed.lower_rate(0.5)
    assert resumed.scheduler.base_lrs[0] == cfg.SOLVER.BASE_LR / 4 and resumed.rate_factor == 0.25


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_loss_that_is_no_number_names_step_images_and_loss(cfg, tmp_path, value, caplog):
    trainer = ours(cfg)
    next(trainer.model.roi_heads.mask_head.parameters()).data.fill_(float(value))
    before = {k: v.clone() for k, v in trainer.model.roi_heads.box_head.state_dict().items()}
    with caplog.at_level(logging.ERROR), refused(Kind.DIVERGED, about="loss_mask"):
        trainer.train()
    assert "Traceback" not in caplog.text
    kept = (tmp_path / "diverged_0000000.json").read_text()
    assert kept.count(".png") == 2
    for name, tensor in trainer.model.roi_heads.box_head.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_proposals_that_are_no_numbers_are_named_too(cfg):
    trainer = ours(cfg)
    next(trainer.model.backbone.parameters()).data.fill_(float("nan"))
    with refused(Kind.DIVERGED, about="step 0"):
        trainer.train()
