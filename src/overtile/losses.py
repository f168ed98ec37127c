"""Losses: pixel-weighted cross-entropy, soft Dice, and their weighted sums."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from overtile.labels import IGNORE
from overtile.settings import Activation, LossSettings


def loss(logits: Tensor, target: Tensor, weight: Tensor, settings: LossSettings) -> Tensor:
    """The weighted sum of the losses that are set.

    Parameters
    ----------
    logits
        (b k *space), of any float type; computed in float32 at least.
    target
        Class ids (b *space), integer, -1 where unlabelled; with sigmoid also (b k *space) of any
        type, 0 or 1 per class. There, a pixel with a -1 in any class is unlabelled.
    weight
        Pixel weight (b *space), not negative; 0 also leaves a pixel out.
    settings
        Which terms, with which weight, under which activation.

    Returns
    -------
    Tensor
        A scalar. Without a labelled pixel it is 0, with gradients of 0.
    """
    if logits.dtype in (torch.bfloat16, torch.float16):
        logits = logits.float()
    labelled = weight > 0
    if target.ndim < logits.ndim:
        labelled = labelled & (target != IGNORE)
        target = one_hot(target, logits.shape[1])
    else:
        labelled = labelled & (target >= 0).all(dim=1)
    target = target.to(logits.dtype)
    total = logits.new_zeros(())
    if settings.cross_entropy:
        energy = cross_entropy(logits, target, weight, labelled, settings.activation)
        total = total + settings.cross_entropy * energy
    if settings.dice:
        likely = probabilities(logits, settings.activation)
        total = total + settings.dice * dice_loss(likely, target, labelled)
    return total


def one_hot(target: Tensor, classes: int) -> Tensor:
    """Class ids (b *space) as one plane per class (b k *space), all 0 where ignored."""
    return torch.stack([target == number for number in range(classes)], dim=1)


def cross_entropy(
    logits: Tensor, target: Tensor, weight: Tensor, labelled: Tensor, activation: Activation
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
    """
    if activation == "softmax":
        energy = -(target * F.log_softmax(logits, dim=1)).sum(dim=1)
    else:
        energy = F.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(dim=1)
    energy = torch.where(labelled, energy * weight, 0)
    return energy.sum() / labelled.sum().clamp(min=1)


def dice_loss(likely: Tensor, target: Tensor, labelled: Tensor) -> Tensor:
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
    """
    seen = labelled.unsqueeze(1)
    axes = [0, *range(2, target.ndim)]
    likely, target = torch.where(seen, likely, 0), torch.where(seen, target, 0)
    of_class = target.sum(axes)
    dice = 2 * (likely * target).sum(axes) / (likely.sum(axes) + of_class).clamp(min=1e-6)
    present = of_class > 0
    return torch.where(present, 1 - dice, 0).sum() / present.sum().clamp(min=1)


def probabilities(logits: Tensor, activation: Activation) -> Tensor:
    """Softmax over the classes (axis 1), or a sigmoid for each."""
    return logits.softmax(dim=1) if activation == "softmax" else logits.sigmoid()
