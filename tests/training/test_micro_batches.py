import numpy as np
import pytest
import torch
from raising import refused
from torch.nn.modules.batchnorm import _BatchNorm

from oiv5_d2.problems import Kind
from oiv5_d2.training.micro_batches import MicroBatches

from detectron2.utils.events import EventStorage  # isort: skip

# Images of several sizes, with other numbers of foreground proposals each.
WORDS = (
    "d2.SOLVER.IMS_PER_BATCH=6",
    "d2.INPUT.MIN_SIZE_TRAIN=[40,64,90]",
)


def freeze(model):
    """Let batch norm use one batch's statistics for good: its own would differ by micro batch."""
    for layer in norms(model):
        layer.eval()


def norms(model):
    return [one for one in model.modules() if isinstance(one, _BatchNorm)]


def norm(tensors):
    return float(torch.cat([one.flatten() for one in tensors]).norm())


def gradients(trainer, batch):
    """Make a step on a batch, with the draws of the same seed; return losses and gradients."""
    torch.manual_seed(0)
    trainer._trainer._data_loader_iter = iter([batch])
    with EventStorage() as storage:
        trainer._trainer.run_step()
    losses = {k: v for k, (v, _) in storage.latest().items() if "loss" in k}
    return losses, {k: p.grad.clone() for k, p in trainer.model.named_parameters()}


@pytest.fixture
def step(build_trainer):
    """Make the first step of the tiny model in some micro batches, from the same weights."""

    def make(*words, change=list, **features):
        trainer = build_trainer(*WORDS, *words, **features)
        batch = change(next(trainer.data_loader))
        for layer in norms(trainer.model):
            layer.momentum = 1.0
        with EventStorage(), torch.no_grad():
            trainer.model(batch)
        freeze(trainer.model)
        return gradients(trainer, batch)

    return make


@pytest.mark.parametrize("accumulate", [2, 3, 4, 6])
def test_a_step_in_micro_batches_has_the_gradients_of_the_whole_batch(step, accumulate):
    assert_same_step(step(accumulate=accumulate), step())


def assert_same_step(found, whole):
    (found_losses, gradients), (losses, wanted) = found, whole
    assert found_losses == pytest.approx(losses, rel=1e-5)
    assert gradients.keys() == wanted.keys()
    error = norm([gradients[name] - gradient for name, gradient in wanted.items()])
    assert error < 1e-5 * norm(wanted.values())


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_so_it_has_where_annotation_is_missing(step, loss):
    words = ("annotation=partial", "annotation.rpn_background=0.5", f"annotation.loss={loss}")
    whole = step(*words, change=forget)
    assert_same_step(step(*words, change=forget, accumulate=4), whole)
    complete, _ = step(*words)
    assert all(complete[name] != loss for name, loss in whole[0].items())


def forget(batch):
    """Take masks, objects and classes away from what is known of the images."""
    for number, sample in enumerate(batch):
        objects = sample["instances"]
        objects.gt_has_mask[: number % 3] = False
        sample["instances"], sample["regions"] = objects[:3], objects[3:]
        sample["verified"][number % 4] = False
    return batch


def test_the_mean_of_micro_batches_would_be_another_step(step, build_trainer):
    trainer = build_trainer(*WORDS)
    batch = next(trainer.data_loader)
    sizes = {sample["image"].shape for sample in batch}
    assert len(sizes) > 1
    torch.manual_seed(0)
    with MicroBatches(trainer.model, batch, 3, torch.enable_grad) as parts:
        shares = [part.shares for part in parts]
    images, proposals, foreground = np.array(shares).T
    assert images == pytest.approx([1 / 3] * 3)
    for found in (images, proposals, foreground):
        assert found.sum() == pytest.approx(1)
    assert np.ptp(foreground) > 0.001


def test_looking_ahead_leaves_no_trace_in_the_model(build_trainer):
    trainer = build_trainer(*WORDS)
    model, batch = trainer.model, next(trainer.data_loader)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    attributes = set(vars(model)), set(vars(model.roi_heads))
    with MicroBatches(model, batch, 2, torch.enable_grad):
        pass
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert (set(vars(model)), set(vars(model.roi_heads))) == attributes
    assert all(layer.track_running_stats for layer in norms(model))


def test_a_run_in_micro_batches_names_the_step_that_diverged(build_trainer):
    trainer = build_trainer(*WORDS, accumulate=3)
    next(trainer.model.backbone.parameters()).data.fill_(float("nan"))
    with refused(Kind.DIVERGED, about="step 0"):
        trainer.train()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_micro_batches_have_gradients_in_mixed_precision_too(step, precision):
    # Weights that autocast rounded while looking ahead would have none.
    _, whole = step(precision=precision)
    _, found = step(precision=precision, accumulate=3)
    assert norm(found.values()) == pytest.approx(norm(whole.values()), rel=0.2)
    assert all(gradient.any() for name, gradient in found.items() if whole[name].any())
