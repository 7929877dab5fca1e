import pytest
import torch

from oiv5_d2.runs.prepared import locate
from oiv5_d2.training.catalog import register
from oiv5_d2.training.config import to_cfg
from oiv5_d2.training.trainer import Features, Trainer

from detectron2.utils.events import EventStorage  # isort: skip

LOSSES = ("loss_cls", "loss_box_reg", "loss_mask", "loss_rpn_cls", "loss_rpn_loc")


@pytest.fixture
def build(composed, tiny_words, prepared_dir, tmp_path, clean_catalog):
    """Make the tiny model's trainer, always with the same random weights, in `name`."""

    def build_trainer(*words, name="run", **features):
        run = composed(*tiny_words, "d2.DATASETS.TEST=[]", *words)
        cfg = to_cfg(run, str(tmp_path / name))
        register(locate("blocks", prepared_dir, cfg.DATASETS.TRAIN), run.data.classes)
        torch.manual_seed(1)
        return Trainer(cfg, None, list, Features("segm/AP", **features), {})

    return build_trainer


def close(trainer):
    """Close the files of a trainer that does not train."""
    for hook in trainer._hooks:
        for writer in getattr(hook, "_writers", []):
            writer.close()


def first_losses(trainer):
    """Make a step without any hook, with the draws of the same seed; return its losses."""
    close(trainer)
    torch.manual_seed(0)
    with EventStorage() as storage:
        trainer._trainer.run_step()
    return torch.tensor([storage.latest()[name][0] for name in LOSSES])


def weights_of(trainer):
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def test_bf16_computes_nearly_the_same_losses_and_keeps_the_weights_in_32_bits(build):
    exact, rounded = build(), build(precision="bf16")
    expected, found = first_losses(exact), first_losses(rounded)
    assert not torch.equal(found, expected)
    # Proposals are rounded too, so that others are drawn for the losses of boxes.
    assert float(found.sum()) == pytest.approx(float(expected.sum()), rel=0.1)
    assert {p.dtype for p in rounded.model.parameters()} == {torch.float32}
    assert {p.grad.dtype for p in rounded.model.parameters()} == {torch.float32}


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_run_in_mixed_precision_is_resumed_to_the_bit(build, tmp_path, precision):
    words = ("d2.SOLVER.MAX_ITER=6", "d2.SOLVER.CHECKPOINT_PERIOD=3")
    whole = build(*words, precision=precision)
    whole.train()
    resumed = build(*words, precision=precision, name="again")
    resumed.resume(tmp_path / "run" / "model_0000002.pth")
    resumed.train()
    assert_same(weights_of(whole), weights_of(resumed))
    assert whole._trainer.state_dict().keys() == resumed._trainer.state_dict().keys()
    assert whole._trainer._scaler.state_dict() == resumed._trainer._scaler.state_dict()
