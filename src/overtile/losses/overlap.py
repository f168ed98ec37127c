"""Losses by the overlap of prediction and truth, a value for each class: Dice and Tversky."""

from __future__ import annotations

import torch
from torch import Tensor

from overtile.losses.shared import Total, own
from overtile.settings import LossSettings

SMALLEST = 1e-6
"""Least that is divided by; and least of 1 - index, because a root has no slope at 0."""


def dice_loss(likely: Tensor, target: Tensor, labelled: Tensor, total: Total = own) -> Tensor:
    """One minus the soft Dice coefficient, 2 sum(p t) / (sum(p) + sum(t)), mean over classes.

    Sums run over the labelled pixels of the whole batch (Milletari et al. 2016,
    doi:10.1109/3DV.2016.79, without their squares). A class that no labelled pixel of the batch
    has is left out of the mean: it would say nothing but how small p is.

    Parameters
    ----------
    likely, target
        Probabilities and truth (b k *space).
    labelled
        (b *space), bool.
    total
        As for `overtile.losses.loss`.
    """
    seen = labelled.unsqueeze(1)
    axes = [0, *range(2, target.ndim)]
    likely, target = torch.where(seen, likely, 0), torch.where(seen, target, 0)
    sums = [(likely * target).sum(axes), likely.sum(axes), target.sum(axes)]
    both, of_likely, of_class = total(torch.stack(sums)).unbind()
    dice = 2 * both / (of_likely + of_class).clamp(min=SMALLEST)
    return _mean_of_present(1 - dice, of_class)


def tversky_loss(
    likely: Tensor,
    target: Tensor,
    weight: Tensor,
    labelled: Tensor,
    settings: LossSettings,
    total: Total = own,
) -> Tensor:
    """(1 - T)^(1 / gamma), mean over classes, with T = TP / (TP + alpha FP + beta FN).

    T is the index of Salehi et al. 2017 (arXiv:1706.05721, equation 2), the exponent that of
    Abraham and Khan 2019 (arXiv:1810.07842, equation 4). TP, FP and FN are sums of w p t,
    w p (1 - t) and w (1 - p) t over the labelled pixels of the whole batch, w the pixel weight.
    With alpha = beta = 1/2, gamma = 1 and weights of 1 it is the Dice loss. A class that no
    labelled pixel of the batch has is left out of the mean.

    Parameters
    ----------
    likely, target
        Probabilities and truth (b k *space).
    weight, labelled
        (b *space).
    settings
        ``tversky_alpha``, ``tversky_beta``, ``tversky_gamma``.
    total
        As for `overtile.losses.loss`.
    """
    counted = torch.where(labelled, weight, 0).unsqueeze(1)
    axes = [0, *range(2, target.ndim)]
    parts = (likely * target, likely * (1 - target), (1 - likely) * target, target)
    sums = [(counted * part).sum(axes) for part in parts]
    hit, false, missed, of_class = total(torch.stack(sums)).unbind()
    errors = settings.tversky_alpha * false + settings.tversky_beta * missed
    # 1 - T, without the cancellation.
    short = errors / (hit + errors).clamp(min=SMALLEST)
    if settings.tversky_gamma != 1:
        short = short.clamp(min=SMALLEST) ** (1 / settings.tversky_gamma)
    return _mean_of_present(short, of_class)


def _mean_of_present(of_each: Tensor, of_class: Tensor) -> Tensor:
    """The mean over the classes that are there; 0 without any."""
    present = of_class > 0
    return torch.where(present, of_each, 0).sum() / present.sum().clamp(min=1)
