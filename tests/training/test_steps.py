import pytest
import torch

from oiv5_d2.training import compat  # noqa: F401

from detectron2.utils.events import EventStorage  # isort: skip

LOSSES = ("loss_cls", "loss_box_reg", "loss_mask", "loss_rpn_cls", "loss_rpn_loc")


def first_losses(trainer):
    """Make a step without any hook, with the draws of the same seed; return its losses."""
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


def test_bf16_computes_nearly_the_same_losses_and_keeps_the_weights_in_32_bits(build_trainer):
    exact, rounded = build_trainer(), build_trainer(precision="bf16")
    expected, found = first_losses(exact), first_losses(rounded)
    assert not torch.equal(found, expected)
    # Proposals are rounded too, so that others are drawn for the losses of boxes.
    assert float(found.sum()) == pytest.approx(float(expected.sum()), rel=0.1)
    assert {p.dtype for p in rounded.model.parameters()} == {torch.float32}
    assert {p.grad.dtype for p in rounded.model.parameters()} == {torch.float32}


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_run_in_mixed_precision_is_resumed_to_the_bit(build_trainer, tmp_path, precision):
    words = ("d2.SOLVER.MAX_ITER=6", "d2.SOLVER.CHECKPOINT_PERIOD=3")
    whole = build_trainer(*words, precision=precision)
    whole.train()
    resumed = build_trainer(*words, precision=precision, name="again")
    resumed.resume(tmp_path / "run" / "model_0000002.pth")
    resumed.train()
    assert_same(weights_of(whole), weights_of(resumed))
    assert whole._trainer.state_dict().keys() == resumed._trainer.state_dict().keys()
    assert whole._trainer._scaler.state_dict() == resumed._trainer._scaler.state_dict()
