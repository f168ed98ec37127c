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
from overtile.settings import LossSettings

__all__ = [
    "boundary_loss",
    "cross_entropy",
    "dice_loss",
    "focal_loss",
    "loss",
    "one_hot",
    "probabilities",
    "tversky_loss",
]


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
        Pixel weight (b *space), not negative; 0 also leaves a pixel out. Dice alone knows of it
        only which pixels count at all.
    settings
        Which terms, with which weight, under which activation.

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
    total = logits.new_zeros(())
    if settings.cross_entropy:
        energy = cross_entropy(logits, target, weight, labelled, settings.activation)
        total = total + settings.cross_entropy * energy
    if settings.focal:
        focal = focal_loss(logits, target, weight, labelled, settings)
        total = total + settings.focal * focal
    if not (settings.dice or settings.tversky or settings.boundary):
        return total
    likely = probabilities(logits, settings.activation)
    if settings.dice:
        total = total + settings.dice * dice_loss(likely, target, labelled)
    if settings.tversky:
        tversky = tversky_loss(likely, target, weight, labelled, settings)
        total = total + settings.tversky * tversky
    if settings.boundary:
        reach = settings.boundary_reach_px
        boundary = boundary_loss(likely, target, weight, labelled, reach)
        total = total + settings.boundary * boundary
    return total
