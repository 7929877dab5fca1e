import pytest
import torch

from oiv5_d2.training import compat  # noqa: F401  first: it makes Detectron2 importable

# isort: split
from detectron2.config import get_cfg
from detectron2.solver import build_optimizer as build_stock_optimizer

from oiv5_d2.training.clipping import build_optimizer


@pytest.fixture(params=["norm", "value"])
def cfg(request):
    cfg = get_cfg()
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = True
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = request.param
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = 2.0
    cfg.SOLVER.BASE_LR = 0.1
    return cfg


def make_steps(build, cfg):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(40, 30), torch.nn.BatchNorm1d(30))
    model.append(torch.nn.Linear(30, 8))
    model[2].bias.requires_grad_(False)  # has no gradient
    optimizer = build(cfg, model)
    for scale in (0.01, 1.0, 100.0, float("inf")):
        optimizer.zero_grad()
        (model(torch.randn(16, 40)) * scale).square().sum().backward()
        optimizer.step()
        if scale == 100.0:
            finite = [one.detach().clone() for one in model.parameters()]
    return finite, list(model.parameters())


def test_steps_are_detectron2s_to_the_bit(cfg):
    (finite, after), (expected, expected_after) = (
        make_steps(build, cfg) for build in (build_optimizer, build_stock_optimizer)
    )
    assert all(torch.equal(one, other) for one, other in zip(finite, expected, strict=True))
    assert all(
        torch.equal(one.isnan(), other.isnan())
        for one, other in zip(after, expected_after, strict=True)
    )
