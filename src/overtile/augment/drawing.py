"""What is drawn for a window, as a function of its seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from torch import Tensor

from overtile.augment.leastsquares import bend, control_points, lattice
from overtile.augment.limits import TRUNCATED_STD
from overtile.settings import AugmentSettings

TILT_DEG = 10
"""The most that a plane is turned whose axes have unlike ends: about how askew a photograph is."""


@dataclass(frozen=True)
class Drawn:
    """What was drawn for the windows of a batch.

    Attributes
    ----------
    linear
        (b n n), n the number of axes, from window to slab coordinates, x before y before z.
    displacement
        (b n *grid) in pixels of the window, x before y before z along n, or None. The grid is that
        of the control points, or of the nodes between which moving least squares are linear.
    recoloured
        Whether gray values and colours change, (b) bool.
    grayed, inverted
        Whether channels become their mean, and gray values are turned round, (b) bool.
    gain, offset, gamma, noise
        (b) each.
    """

    linear: Tensor
    displacement: Tensor | None
    recoloured: Tensor
    grayed: Tensor
    inverted: Tensor
    gain: Tensor
    offset: Tensor
    gamma: Tensor
    noise: Tensor


def draw(
    settings: AugmentSettings,
    sides_px: Sequence[int],
    stds_px: Sequence[float],
    seeds: Sequence[int],
) -> Drawn:
    """The changes of a batch of windows of these sides, one seed for each.

    The standard deviations are those of `limits.elastic_std`, along each axis.
    """
    parts = [_draw_one(settings, sides_px, stds_px, seed) for seed in seeds]
    linear, displacement, colours = (
        torch.from_numpy(np.stack(part).astype(np.float32)) for part in zip(*parts, strict=True)
    )
    whether, how = colours.T[:3] > 0, colours.T[3:]
    return Drawn(linear, displacement if any(stds_px) else None, *whether, *how)


def _draw_one(
    set_: AugmentSettings, sides_px: Sequence[int], stds_px: Sequence[float], seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Linear map, displacement and gray values of a window."""
    random, axes = np.random.default_rng(seed), len(sides_px)
    deform = random.random() < set_.deform
    quarters = random.uniform(0, 4) * set_.rotate
    # A quarter turn of an oblong window would leave its slab: half turns do not.
    square = sides_px[-1] == sides_px[-2]
    whole = math.floor(quarters) if square else 2 * math.floor(quarters / 2)
    if set_.is_upright:
        quarters, whole = (quarters - 2) / 2 * TILT_DEG / 90 * set_.rotate, 0
    turn = _rotation(quarters if deform else whole, axes)
    zoom = math.exp(random.uniform(-set_.scale, set_.scale) * deform)
    alike = [axis not in set_.directed for axis in "xyz"[:axes]]
    flip = np.where((random.random(axes) < 0.5) & set_.flip & alike, -1.0, 1.0)
    # By the inverse of the distribution, which needs one draw per value.
    share = random.uniform(
        ndtr(-TRUNCATED_STD),
        ndtr(TRUNCATED_STD),
        size=(axes, *[set_.elastic_grid] * axes),
    )
    stds = np.array(stds_px[::-1]).reshape(-1, *[1] * axes)
    moves = ndtri(share) * stds * deform
    gray = [
        math.exp(random.uniform(-set_.gain, set_.gain)),
        random.uniform(-set_.offset, set_.offset),
        math.exp(random.uniform(-set_.gamma, set_.gamma)),
        random.uniform(0, set_.noise),
    ]
    recoloured = random.random() < set_.recolour
    if set_.least_squares:
        points = control_points(set_, sides_px, random)
        if moves.any():
            moves = bend(set_, sides_px, points, moves.reshape(axes, -1).T)
        else:
            moves = np.zeros((axes, *[lattice(set_, axes)] * axes))
    others = random.random(2) < (set_.grayscale, set_.invert)
    return zoom * turn * flip, moves, np.array([recoloured, *others, *gray])


def _rotation(quarters: float, dimensions: int) -> NDArray[np.float64]:
    """The matrix of a turn in the plane of x and y by right angles, exact for whole ones."""
    angle, turn = quarters * math.pi / 2, np.eye(dimensions)
    turn[:2, :2] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    return turn.round() if quarters == int(quarters) else turn
