"""Deformation by moving least squares (Schaefer, McPhail and Warren 2006).

Control points p are moved to q. Every other place v is moved by the map of a kind, affine,
similarity or rigid, that moves the control points best when they count by 1 / |p - v|^2 (alpha = 1;
doi:10.1145/1179352.1141920, equation 1). Near a control point that map is its own move; a rigid one
neither stretches nor shears what it can merely shift and turn.

The maps are solved on a coarse lattice of nodes, and what lies between is linear. That makes it
cheap, and lets it be proved that a deformation folds nowhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from overtile.augment.limits import STEEPEST
from overtile.settings import AugmentSettings, Deformation

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

NODES = 64
"""Steps along each axis of a plane. What is linear between nodes bends most at control points; with
32 steps from one to the next it misplaces pixels by 0.4 % of the largest move, 0.1 px at the
default 10 px; 2 % where control points are random (the test states the bound)."""

NODES_OF_VOLUMES = 24
"""Fewer, because they count three times over: 6 % of the largest move, 18 % where control points
are random, of moves that are then made smaller, because volumes fold sooner."""

NEAREST = 1e-12
"""Added to squared distances in sides, so that a control point's own weight is finite."""

RIDGE = 1e-12
"""Added to the diagonal, in parts of the trace: an axis of one pixel has no spread to divide by."""


def displacement(
    places: Array, points: Array, moves: Array, kind: Deformation, sides: Array
) -> Array:
    """Where moving least squares take each place, less where it was.

    Parameters
    ----------
    places
        v, (v n) in pixels.
    points, moves
        p and q - p, (c n) in pixels.
    kind
        ``mls-affine`` in any dimension, ``mls-similarity`` or ``mls-rigid`` in two.
    sides
        (n) in pixels, in which the distances are measured that weigh control points: so a flat
        volume bends as much within its plane as a cube does.

    Returns
    -------
    array
        (v n) in pixels. Linear in the moves, other than the rigid one; 0 where all moves are 0; the
        move of a control point at its place.
    """
    away = (((places[:, None] - points) / sides) ** 2).sum(axis=2)
    weights = 1 / (away + NEAREST)
    weights /= weights.sum(axis=1, keepdims=True)
    middle, move = weights @ points, weights @ moves
    around, rest = points - middle[:, None], moves - move[:, None]
    return np.asarray(move + MAPS[kind](places - middle, weights, around, rest))


def _affine(arms: Array, weights: Array, around: Array, rest: Array) -> Array:
    """Of v - p*: equation 5, less the identity: q of it is p plus its move."""
    weighted = (weights[..., None] * around).swapaxes(1, 2)
    spread, moved = weighted @ around, weighted @ rest
    size = np.trace(spread, axis1=1, axis2=2)[:, None, None] + 1
    linear = np.linalg.solve(spread + RIDGE * size * np.eye(arms.shape[1]), moved)
    return np.asarray((arms[:, None] @ linear)[:, 0])


def _similarity(arms: Array, weights: Array, around: Array, rest: Array) -> Array:
    """Equations 6 and 7, in which a turn with a scale is a complex factor, less the identity."""

    def factor(p: Complex, u: Complex) -> Complex:
        return _inner(weights, p, u) / (_inner(weights, p, p) + NEAREST)

    return _planar(arms, factor, around, rest)


def _rigid(arms: Array, weights: Array, around: Array, rest: Array) -> Array:
    """Equation 8: the factor of the similarity, of size 1."""

    def turn(p: Complex, u: Complex) -> Complex:
        factor = _inner(weights, p, p + u)
        return factor / np.maximum(np.abs(factor), NEAREST) - 1

    return _planar(arms, turn, around, rest)


def _planar(
    arms: Array, factor: Callable[[Complex, Complex], Complex], around: Array, rest: Array
) -> Array:
    """Of v - p*, times a complex factor for each place."""
    arm, p, u = (part[..., 0] + 1j * part[..., 1] for part in (arms, around, rest))
    moved = arm * factor(p, u)
    return np.stack([moved.real, moved.imag], axis=1)


def _inner(weights: Array, p: Complex, q: Complex) -> Complex:
    return np.asarray((weights * p.conj() * q).sum(axis=1))


MAPS: dict[str, Callable[[Array, Array, Array, Array], Array]] = {
    "mls-affine": _affine,
    "mls-similarity": _similarity,
    "mls-rigid": _rigid,
}


def lattice(settings: AugmentSettings, dimensions: int) -> int:
    """Nodes along each axis; control points of an even grid are among them."""
    steps, spaces = NODES if dimensions == 2 else NODES_OF_VOLUMES, settings.elastic_grid - 1
    return math.ceil(steps / spaces) * spaces + 1


def even_places(sides_px: Sequence[int], count: int) -> Array:
    """An even grid over a window from its middle, edge to edge: (count ^ n, n), x before y."""
    lines = [np.linspace(-(side - 1) / 2, (side - 1) / 2, count) for side in sides_px]
    axes = np.meshgrid(*lines, indexing="ij")[::-1]
    return np.stack([axis.ravel() for axis in axes], axis=1)


def control_points(
    settings: AugmentSettings, sides_px: Sequence[int], random: np.random.Generator
) -> Array:
    """Control points (grid ^ n, n): even, or each at random in the middle half of its own cell.

    The cells divide the window evenly. In their middle halves, no two points come so near that
    their moves could only be followed by folding.
    """
    count = settings.elastic_grid
    if settings.control_points == "even":
        return even_places(sides_px, count)
    sides = np.array(sides_px[::-1])
    cells = even_places(sides_px, count) * (1 - 1 / count)
    return np.asarray(cells + random.uniform(-0.25, 0.25, cells.shape) * (sides - 1) / count)


def bend(
    settings: AugmentSettings, sides_px: Sequence[int], points: Array, moves: Array
) -> NDArray[np.float64]:
    """The displacement of a window on its lattice of nodes.

    No component is larger than that of the control point that moves most. Measured in sides of the
    window, the sum of its slopes is below 1 in every row, so that x + u(x), linear between nodes,
    folds nowhere: where it is not, all control points move less, by the same factor.

    Parameters
    ----------
    settings
        Which maps, and how many nodes.
    sides_px
        Of the window, (z) y x.
    points, moves
        (c n) in pixels from the middle of the window, x before y before z.

    Returns
    -------
    array
        (n *nodes) in pixels, x before y before z along n.
    """
    count, axes = lattice(settings, len(sides_px)), len(sides_px)
    places = even_places(sides_px, count)
    sides = np.maximum(np.array(sides_px[::-1], float) - 1, 1)

    def solve(moves: Array) -> Array:
        most = np.abs(moves).max(axis=0)
        field = displacement(places, points, moves, settings.deformation, sides)
        return np.clip(field, -most, most).T.reshape(axes, *[count] * axes)

    field = solve(moves)
    # This ends: what is clipped to smaller and smaller moves has smaller and smaller slopes.
    while (slope := _steepest(field / sides.reshape(-1, *[1] * axes))) >= 1:
        less = STEEPEST / slope
        moves = moves * less
        # All but the rigid ones are linear in the moves, and so is the clipping to the largest.
        field = solve(moves) if settings.deformation == "mls-rigid" else field * less
    return field


def _steepest(field: Array) -> float:
    """The largest sum of |du_i/dx_j| over j, of any component in any cell, in sides over sides.

    Within a cell, a slope along an axis is a mean of those of the edges along that axis.
    """
    total, axes = np.zeros(()), range(1, field.ndim)
    for axis in axes:
        slope = np.abs(np.diff(field, axis=axis)) * (field.shape[axis] - 1)
        for other in axes:
            if other != axis:
                slope = np.maximum(
                    slope.take(range(1, field.shape[other]), other),
                    slope.take(range(field.shape[other] - 1), other),
                )
        total = total + slope
    return float(total.max())


def between(nodes: int, side: int) -> NDArray[np.float64]:
    """Matrix (side, nodes) from values on even nodes to pixels, linear in between."""
    at = np.linspace(0, nodes - 1, side)
    return np.asarray(np.maximum(0, 1 - np.abs(at[:, None] - np.arange(nodes))))
