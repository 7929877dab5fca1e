import cv2
import numpy as np
import pytest
import torch

from oiv5_d2.modeling.box_masks import (
    box_mask_loss,
    crop_colours,
    pairwise_loss,
    projection_loss,
)

S = 28
WINDOW = np.s_[:, 4:24, 7:21]


@pytest.fixture
def inside():
    found = torch.zeros(1, S, S, dtype=torch.bool)
    found[WINDOW] = True
    return found


def logits_of(mask: torch.Tensor) -> torch.Tensor:
    return torch.where(mask, 12.0, -12.0)


def test_a_mask_that_reaches_all_sides_of_its_box_has_no_projection_loss(inside):
    assert projection_loss(logits_of(inside), inside).item() < 1e-4
    cross = torch.zeros_like(inside)
    cross[:, 4:24, 13] = cross[:, 12, 7:21] = True
    assert projection_loss(logits_of(cross), inside).item() < 1e-4
    for wrong in (torch.ones_like(inside), torch.zeros_like(inside), cross.roll(5, dims=1)):
        assert projection_loss(logits_of(wrong), inside).item() > 0.1


def test_an_edge_in_the_colours_may_be_an_edge_of_the_mask(inside):
    lab = torch.zeros(1, 3, S, S)
    lab[:, 0, :, 14:] = 60.0
    at_edge, elsewhere = torch.zeros_like(inside), torch.zeros_like(inside)
    at_edge[..., 14:] = elsewhere[..., 10:] = True
    assert pairwise_loss(logits_of(at_edge), lab, inside).item() < 1e-4
    assert pairwise_loss(logits_of(elsewhere), lab, inside).item() > 0.5


def test_colours_are_cielab():
    rgb = torch.randint(0, 256, (1, 3, 8, 8), generator=torch.Generator().manual_seed(0)).float()
    found = crop_colours(rgb, [torch.tensor([[0.0, 0.0, 8.0, 8.0]])], 8)[0]
    pixels = (rgb[0].permute(1, 2, 0).numpy() / 255).astype(np.float32)
    wanted = cv2.cvtColor(pixels, cv2.COLOR_RGB2Lab)
    np.testing.assert_allclose(found.permute(1, 2, 0).numpy(), wanted, atol=0.6)


def test_gradients_pull_the_mask_into_its_box_and_are_finite(inside):
    logits = torch.zeros(1, S, S, requires_grad=True)
    proposals = torch.tensor([[0.0, 0.0, 28.0, 28.0]])
    boxes = torch.tensor([[7.0, 4.0, 21.0, 24.0]])
    lab = torch.rand(1, 3, S, S, generator=torch.Generator().manual_seed(1)) * 50
    optimizer = torch.optim.SGD([logits], lr=20.0)
    losses = []
    for _ in range(60):
        loss = box_mask_loss(logits, lab, proposals, boxes)
        optimizer.zero_grad()
        loss.backward()
        assert logits.grad.isfinite().all()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    mask = logits.detach() > 0
    assert (mask & inside).sum() > 0.8 * mask.sum() > 0
