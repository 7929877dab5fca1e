"""A training with everything off or complete is Detectron2's, and sampling waits for no GPU."""

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from oiv5_d2.training import compat  # noqa: F401  first: it makes Detectron2 importable

from detectron2.solver import build_optimizer  # isort: skip
from detectron2.structures import Boxes  # isort: skip
from detectron2.utils.events import EventStorage  # isort: skip
from oiv5_d2.modeling.known import KnowingInstances, Known  # isort: skip

OFF = (
    "annotation=partial",
    "annotation.boxes=false",
    "annotation.regions=background",
    "annotation.rpn_regions=false",
    "annotation.unverified=false",
)
WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "equal", "_to_copy")


def losses_of_steps(model, cfg, sample, num_steps):
    optimizer = build_optimizer(cfg, model)
    torch.manual_seed(5)
    found = []
    with EventStorage():
        for _ in range(num_steps):
            losses = model([sample])
            found.append({name: loss.item() for name, loss in losses.items()})
            optimizer.zero_grad()
            sum(losses.values()).backward()
            optimizer.step()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("words", [OFF, ("annotation=partial",)], ids=["off", "complete"])
def test_thirty_losses_are_stock_s_to_the_bit(model_of, cfg_of, sample, words):
    sample["instances"] = sample["instances"][:1]
    ours, stock = (
        losses_of_steps(model_of(*overrides), cfg_of(*overrides), sample, 30)
        for overrides in (words, ())
    )
    # Without an object that has a box alone, the loss for those is there, and 0.
    assert all(one.pop("loss_box_mask", 0.0) == 0.0 for one in ours)
    assert ours == stock
    assert ours[0] != ours[-1]


class Waits(TorchDispatchMode):
    """Counts operations for whose result, or its size, the CPU waits."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.__name__.split(".")[0]
        is_waiting = name in WAITING
        if name == "index" and any(i is not None and i.dtype == torch.bool for i in args[1]):
            is_waiting = True
        self.counts[name] += is_waiting
        return func(*args, **(kwargs or {}))


def waits_in_sampling(model, image):
    rpn, heads = model.proposal_generator, model.roi_heads
    anchors = rpn.anchor_generator(
        [torch.zeros(1, 8, 64 // s, 96 // s) for s in (4, 8, 16, 32, 64)]
    )
    torch.manual_seed(2)
    proposals = rpn.predict_proposals(
        anchors,
        [torch.rand(1, len(level)) for level in anchors],
        [torch.zeros(1, len(level), 4) for level in anchors],
        [image.image_size],
    )
    with EventStorage(), Waits() as waits:
        rpn.label_and_sample_anchors(anchors, [image])
        heads.label_and_sample_proposals(proposals, [image])
    return +waits.counts


def test_sampling_does_not_wait_for_a_gpu_more_often_than_stock(model_of, sample):
    regions = Boxes(torch.tensor([[0.0, 0.0, 50.0, 64.0]])), torch.tensor([1])
    verified = torch.tensor([True, False, True, True])
    image = KnowingInstances(sample["instances"], Known(*regions, verified))
    words = ("annotation=partial", "annotation.rpn_background=0.5")
    ours, stock = waits_in_sampling(model_of(*words), image), waits_in_sampling(model_of(), image)
    assert stock["nonzero"] > 0
    assert ours == stock
