"""Losses, one idea a file, and their weighted sum.

`entropy` holds the sums over pixels, cross-entropy and focal; `overlap` those over classes, Dice
and Tversky; `boundary` the distance to the truth's border.
"""

from __future__ import annotations

from torch import Tensor

from overtile.labels import IGNORE
from overtile.losses.boundary import boundary_loss
from overtile.losses.classes import one_hot, probabilities
from overtile.losses.entropy import cross_entropy, focal_loss
from overtile.losses.overlap import dice_loss, tversky_loss
from overtile.losses.shared import Total, own
from overtile.settings import LossSettings

__all__ = [
    "Total",
    "boundary_loss",
    "cross_entropy",
    "dice_loss",
    "focal_loss",
    "loss",
    "one_hot",
    "own",
    "probabilities",
    "tversky_loss",
]


def loss(
    logits: Tensor, target: Tensor, weight: Tensor, settings: LossSettings, total: Total = own
) -> Tensor:
    """The weighted sum of the losses that are set.

    Parameters
    ----------
    logits
        (b k *space), of any float type; computed in float32 at least.
    target
        Class ids (b *space), integer, -1 where unlabelled; with sigmoid also (b k *space) of any
        type, 0 or 1 per class. There, a pixel with a -1 in any class is unlabelled.
    weight
        Pixel weight (b *space), not negative; 0 also leaves a pixel out. Dice alone knows of it
        only which pixels count at all.
    settings
        Which terms, with which weight, under which activation.
    total
        Where a batch is shared by several processes: sums over all of them, with their gradient.
        Every term is a function of such sums, so that the loss is that of the whole batch.

    Returns
    -------
    Tensor
        A scalar, not negative; of each term, no other prediction has less than the truth. Without
        a labelled pixel it is 0, with gradients of 0.
    """
    if logits.itemsize < 4:  # of half precision
        logits = logits.float()
    weight = weight.to(logits.dtype)
    labelled = weight > 0
    if target.ndim < logits.ndim:
        labelled = labelled & (target != IGNORE)
        target = one_hot(target, logits.shape[1])
    else:
        labelled = labelled & (target >= 0).all(dim=1)
    target = target.to(logits.dtype)
    summed = logits.new_zeros(())
    if settings.cross_entropy:
        energy = cross_entropy(logits, target, weight, labelled, settings.activation, total)
        summed = summed + settings.cross_entropy * energy
    if settings.focal:
        focal = focal_loss(logits, target, weight, labelled, settings, total)
        summed = summed + settings.focal * focal
    if not (settings.dice or settings.tversky or settings.boundary):
        return summed
    likely = probabilities(logits, settings.activation)
    if settings.dice:
        summed = summed + settings.dice * dice_loss(likely, target, labelled, total)
    if settings.tversky:
        tversky = tversky_loss(likely, target, weight, labelled, settings, total)
        summed = summed + settings.tversky * tversky
    if settings.boundary:
        reach = settings.boundary_reach_px
        boundary = boundary_loss(likely, target, weight, labelled, reach, total)
        summed = summed + settings.boundary * boundary
    return summed
