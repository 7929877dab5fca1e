"""Classification losses in which a background proposal may be an object of some classes."""

import torch
from torch.nn import functional as F


def marginalise(scores: torch.Tensor, classes: torch.Tensor, is_open: torch.Tensor) -> torch.Tensor:
    """Return scores whose softmax cross-entropy asks for "background, or one of the open classes".

    For a background proposal, open classes go into the background's score, as the logarithm of the
    sum of their exponentials (partial-label learning as in Cour et al. 2011). Its loss is then
    -log(p(background) + p(open classes)): the gradient moves probability from the other classes to
    these, in the proportions that they have. Rows without an open class keep their bits.

    Args:
        scores: (N, K + 1), the background last.
        classes: (N,) labels, K for background.
        is_open: (N, K) bool; ignored for proposals that are objects.
    """
    is_open = is_open & (classes == scores.shape[1] - 1)[:, None]
    objects, background = scores[:, :-1], scores[:, -1]
    alternatives = objects.masked_fill(~is_open, -torch.inf)
    together = torch.cat([alternatives, background[:, None]], dim=1).logsumexp(dim=1)
    background = torch.where(is_open.any(dim=1), together, background)
    return torch.cat([objects.masked_fill(is_open, -torch.inf), background[:, None]], dim=1)


def sigmoid_loss(
    scores: torch.Tensor, classes: torch.Tensor, is_open: torch.Tensor
) -> torch.Tensor:
    """Return the cross-entropy of each class against the background, summed, a proposal.

    The probability of a class is the sigmoid of its score above the background's. Where one class
    stands out that is its softmax probability, so that a stock model's weights mean the same.

    Args:
        scores: (N, K + 1), the background last.
        classes: (N,) labels, K for background.
        is_open: (N, K) bool: classes left out for background proposals.
    """
    num_classes = scores.shape[1] - 1
    above = scores[:, :-1] - scores[:, -1:]
    wanted = F.one_hot(classes, num_classes + 1)[:, :-1].to(above.dtype)
    terms = F.binary_cross_entropy_with_logits(above, wanted, reduction="none")
    left_out = is_open & (classes == num_classes)[:, None]
    return terms.masked_fill(left_out, 0.0).sum() / max(len(scores), 1)
