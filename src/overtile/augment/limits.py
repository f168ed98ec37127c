"""How far a window bends and reaches at most."""

from __future__ import annotations

import math
from collections.abc import Sequence

from overtile.augment.splines import overshoot, steepest
from overtile.settings import AugmentSettings

TRUNCATED_STD = 2.0
"""Displacements of control points are normal, truncated at so many standard deviations."""

STEEPEST = 0.9
"""The sum of the slopes of a displacement that is allowed; at 1 it might fold."""

KERNEL_PX = 2
"""How far the bicubic kernel reaches from where it samples; the trilinear one reaches less."""


def elastic_std(settings: AugmentSettings, sides_px: Sequence[int]) -> tuple[float, ...]:
    """The standard deviation of the displacements along each axis of a window, in pixels.

    It is the one that is set, or less where the window would fold over itself. Measured in sides of
    the window, a deformation x + u(x) folds nowhere if the sum of |du_i/dx_j| over j stays below 1
    in every row i.

    For the spline, a row sums over all axes the slopes of a spline through values of at most 2 std
    on knots ``1 / (grid - 1)`` apart, so the limit is a constant of the grid times the side: a flat
    window bends as much within its plane as a cube does. For moving least squares the limit only
    keeps two neighbours from changing places; whether one drawn deformation folds is seen, and
    mended, once it is drawn (`leastsquares.bend`).
    """
    grid = settings.elastic_grid
    slope = 2 * (grid - 1) if settings.least_squares else steepest(grid, len(sides_px))
    return tuple(
        min(settings.elastic_std_px, STEEPEST * (side - 1) / (TRUNCATED_STD * slope))
        for side in sides_px
    )


def context_size(settings: AugmentSettings, sides_px: Sequence[int]) -> tuple[int, ...]:
    """The sides of a slab that a window of these sides never leaves, whatever is drawn, in pixels.

    The kernel around every place stays inside as well. Slab and window share their centre, so that
    along each axis both sides are even or both are odd. Where nothing is deformed, flips and turns
    by quarters or halves need no context: the sides of the window.
    """
    if not settings.deform:
        return tuple(sides_px)
    halves = [(side - 1) / 2 for side in sides_px]
    if settings.elastic_std_px:
        # No place moves farther by least squares than a control point can; between the knots of a
        # spline it may.
        beyond = 1.0 if settings.least_squares else overshoot(settings.elastic_grid) ** len(halves)
        stds = elastic_std(settings, sides_px)
        halves = [
            half + std * TRUNCATED_STD * beyond for half, std in zip(halves, stds, strict=True)
        ]
    if settings.rotate:
        halves[-2:] = [math.hypot(*halves[-2:])] * 2
    return tuple(
        2 * (math.ceil(half * math.exp(settings.scale) + 0.5) + KERNEL_PX) + side % 2
        for half, side in zip(halves, sides_px, strict=True)
    )
