import pytest
import torch
from torch.nn import functional as F

from oiv5_d2.modeling.losses import marginalise, sigmoid_loss

K = 4
CLASSES = torch.tensor([0, K, K, K, 2])  # objects of classes 0 and 2, and background
IS_OPEN = torch.zeros(5, K, dtype=torch.bool)
IS_OPEN[2, 1] = IS_OPEN[0, 1] = True  # an object's class is known, whatever is open
IS_OPEN[3] = True


@pytest.fixture
def scores():
    drawn = torch.randn(5, K + 1, generator=torch.Generator().manual_seed(1))
    return drawn.requires_grad_()


def gradient(loss, scores):
    (found,) = torch.autograd.grad(loss, scores)
    return found


def test_without_open_classes_scores_and_gradients_keep_their_bits(scores):
    merged = marginalise(scores, CLASSES, torch.zeros_like(IS_OPEN))
    assert torch.equal(merged, scores)
    ours, stock = (F.cross_entropy(one, CLASSES) for one in (merged, scores))
    assert torch.equal(gradient(ours, scores), gradient(stock, scores))


def test_a_background_proposal_may_be_of_an_open_class(scores):
    merged = marginalise(scores, CLASSES, IS_OPEN)
    losses = F.cross_entropy(merged, CLASSES, reduction="none")
    p = scores.softmax(dim=1)
    assert losses[2].item() == pytest.approx(-(p[2, K] + p[2, 1]).log().item(), rel=1e-5)
    assert losses[3].item() == 0
    stock = F.cross_entropy(scores, CLASSES, reduction="none")
    assert torch.equal(losses[[0, 1, 4]], stock[[0, 1, 4]])


def test_only_open_classes_and_the_background_get_another_gradient(scores):
    ours = gradient(F.cross_entropy(marginalise(scores, CLASSES, IS_OPEN), CLASSES), scores)
    stock = gradient(F.cross_entropy(scores, CLASSES), scores)
    assert torch.equal(ours[3], torch.zeros(K + 1))  # anything is possible there: left out
    torch.testing.assert_close(ours[[0, 1, 4]], stock[[0, 1, 4]])
    torch.testing.assert_close(ours[2, [0, 2, 3]], stock[2, [0, 2, 3]])
    assert stock[2, 1] > 0 >= ours[2, 1]  # it is not taught that it is absent
    torch.testing.assert_close(ours[2, [1, K]].sum(), stock[2, [1, K]].sum())


def test_sigmoid_leaves_out_exactly_the_open_terms(scores):
    ours = gradient(sigmoid_loss(scores, CLASSES, IS_OPEN), scores)
    complete = gradient(sigmoid_loss(scores, CLASSES, torch.zeros_like(IS_OPEN)), scores)
    assert torch.equal(ours[3], torch.zeros(K + 1))
    assert ours[2, 1] == 0 < complete[2, 1]
    assert torch.equal(ours[2, [0, 2, 3]], complete[2, [0, 2, 3]])
    assert torch.equal(ours[[0, 1, 4]], complete[[0, 1, 4]])


def test_sigmoid_means_what_softmax_does_where_one_class_stands_out():
    scores = torch.tensor([[6.0, -30.0, -30.0, -30.0, 4.0]])
    softmax = F.cross_entropy(scores, torch.tensor([0]))
    sigmoid = sigmoid_loss(scores, torch.tensor([0]), torch.zeros(1, K, dtype=torch.bool))
    torch.testing.assert_close(sigmoid, softmax)


def test_no_proposals_make_no_loss():
    nothing = torch.zeros(0, K + 1), torch.zeros(0, dtype=torch.int64)
    is_open = torch.zeros(0, K, dtype=torch.bool)
    assert sigmoid_loss(*nothing, is_open) == 0
    assert marginalise(*nothing, is_open).shape == (0, K + 1)
