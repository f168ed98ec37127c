"""Losses that are sums over pixels: cross-entropy, and focal, which weighs it by its own error."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from overtile.losses.shared import Total, mean_of_labelled, own
from overtile.settings import Activation, LossSettings

TINY = 1e-12
"""A root of 1 - p has no slope at 0, where p is 1 to rounding; so it is taken of this at least."""


def cross_entropy(
    logits: Tensor,
    target: Tensor,
    weight: Tensor,
    labelled: Tensor,
    activation: Activation,
    total: Total = own,
) -> Tensor:
    """The energy of Ronneberger et al. 2015, equation 1: sum of w(x) log p(x), over pixels.

    The sum is divided by the number of labelled pixels, not by the sum of the weights, so that a
    window full of borders counts more than one with none.

    Parameters
    ----------
    logits, target
        (b k *space).
    weight, labelled
        (b *space).
    activation
        ``sigmoid`` sums the binary cross-entropies of the classes.
    total
        As for `overtile.losses.loss`.
    """
    return _mean(_surprise(logits, target, activation), weight, labelled, total)


def focal_loss(
    logits: Tensor,
    target: Tensor,
    weight: Tensor,
    labelled: Tensor,
    settings: LossSettings,
    total: Total = own,
) -> Tensor:
    """Cross-entropy whose pixels count by (1 - p)^gamma, p the probability of what is true there.

    Lin et al. 2017 (arXiv:1708.02002), equation 5: pixels that are right already hardly count. Its
    alpha, a weight for each class, is part of the pixel weight here. Divided by the number of
    labelled pixels, as `cross_entropy`, which it is for a gamma of 0.

    Parameters
    ----------
    logits, target
        (b k *space).
    weight, labelled
        (b *space).
    settings
        ``activation`` and ``focal_gamma``. With ``sigmoid`` each class has its own p.
    total
        As for `overtile.losses.loss`.
    """
    surprise = _surprise(logits, target, settings.activation)
    wrong = -torch.expm1(-surprise)  # 1 - p, without the cancellation
    focus = wrong.clamp(min=TINY) ** settings.focal_gamma
    return _mean(focus * surprise, weight, labelled, total)


def _surprise(logits: Tensor, target: Tensor, activation: Activation) -> Tensor:
    """-log p of what is true: (b 1 *space) with softmax, (b k *space) with sigmoid."""
    if activation == "softmax":
        return -(target * F.log_softmax(logits, dim=1)).sum(dim=1, keepdim=True)
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none")


def _mean(energy: Tensor, weight: Tensor, labelled: Tensor, total: Total) -> Tensor:
    """Weighted, summed over classes, over the number of labelled pixels."""
    return mean_of_labelled(energy.sum(dim=1) * weight, labelled, total)
