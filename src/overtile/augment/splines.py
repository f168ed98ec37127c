"""Deformation by displacements on an even grid, a cubic spline through them in between."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

FINE = np.linspace(0, 1, 201)
"""Where splines are looked at for their extremes."""


def spline(knots: int, at: NDArray[np.float64], derivative: int = 0) -> NDArray[np.float64]:
    """Matrix (at, knots) from values on even knots over 0..1 to those of their cubic spline."""
    through = CubicSpline(np.linspace(0, 1, knots), np.eye(knots), bc_type="natural")
    return np.asarray(through(at, derivative))


def overshoot(knots: int) -> float:
    """The largest value of a spline through values of at most 1, along one axis."""
    return float(np.abs(spline(knots, FINE)).sum(axis=1).max())


def steepest(knots: int, dimensions: int) -> float:
    """The largest possible sum of |du/dx_j| of a field with |values| <= 1 on knots, times size."""
    slopes = np.abs(spline(knots, FINE, derivative=1)).sum(axis=1)
    return float(dimensions * slopes.max() * overshoot(knots) ** (dimensions - 1))
