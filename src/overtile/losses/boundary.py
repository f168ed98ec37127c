"""The boundary loss: what is wrong counts by its distance to the truth's border."""

from __future__ import annotations

import torch
from torch import Tensor

from overtile.losses.shared import Total, mean_of_labelled, own


def boundary_loss(
    likely: Tensor,
    target: Tensor,
    weight: Tensor,
    labelled: Tensor,
    reach_px: int,
    total: Total = own,
) -> Tensor:
    """The sum of w phi (p - t) over pixels and classes, over the number of both.

    Kervadec et al. 2021 (doi:10.1016/j.media.2020.101851), equation 5: phi is the signed distance
    to the border of the truth, negative inside, p the probability. Their sum leaves out the part
    that no prediction changes, of phi t; here it stands, so that the truth has a loss of 0: every
    term is |phi| |p - t|. See `signed_distance` for what differs in phi.

    Parameters
    ----------
    likely, target
        Probabilities and truth (b k *space).
    weight, labelled
        (b *space).
    reach_px
        Of the distance.
    total
        As for `overtile.losses.loss`.
    """
    distance = signed_distance(target, labelled, reach_px).to(likely.dtype)
    error = (distance * (likely - target)).mean(dim=1)
    return mean_of_labelled(error * weight, labelled, total)


@torch.no_grad()
def signed_distance(target: Tensor, labelled: Tensor, reach_px: int) -> Tensor:
    """How far each pixel is from the border of each class, in units of the reach, below 0 inside.

    The border runs between pixels: the distance to the nearest pixel on its other side, less 1/2.
    It is Euclidean and exact up to the reach, and no more beyond it. So it is a function of a
    pixel's neighbourhood alone, and not of where the window was cut; and a class that is not in
    the window is as far away as can be. Pixels that are not labelled lie on neither side.

    Parameters
    ----------
    target
        (b k *space), 0 or 1 per class.
    labelled
        (b *space), bool.
    reach_px
        At least 1.

    Returns
    -------
    Tensor
        (b k *space) float32, between -1 and 1; not meant for pixels that are not labelled.
    """
    inside, known = target > 0, labelled.unsqueeze(1)
    outwards = _distance_to(known & ~inside, reach_px)
    inwards = _distance_to(known & inside, reach_px)
    return (torch.where(inside, -outwards, inwards) - 0.5 * torch.where(inside, -1, 1)) / reach_px


def _distance_to(mask: Tensor, reach_px: int) -> Tensor:
    """Distance of each pixel to the nearest of a mask (b k *space), in pixels, at most the reach.

    The square of a distance is a sum over axes, so the nearest is found axis by axis, as the least
    of f(x + s) + s^2 over all steps s within the reach (Felzenszwalb and Huttenlocher 2012,
    doi:10.4086/toc.2012.v008a019, equation 4). That takes 3 operations per pixel, axis and step,
    all elementwise, on whatever device the mask is.
    """
    far = reach_px**2
    square = torch.where(mask, 0.0, float(far))
    for axis in range(2, mask.ndim):
        before = square
        square = before.clone()
        side = mask.shape[axis]
        for step in range(1, min(reach_px, side - 1) + 1):
            moved = before + step**2
            low, high = (square.narrow(axis, start, side - step) for start in (0, step))
            torch.minimum(low, moved.narrow(axis, step, side - step), out=low)
            torch.minimum(high, moved.narrow(axis, 0, side - step), out=high)
    return square.clamp(max=far).sqrt()
