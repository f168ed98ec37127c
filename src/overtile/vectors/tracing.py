"""Outlines of regions along the edges of their pixels; drawn again they cover the same pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label

from overtile.vectors.raster import Points

STEPS = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])
"""Along x and y, of the four directions of an edge: right, down, left, up."""

LEAVING = np.array([0, 2, 3, 1])
"""Where a region touches itself at a corner, two of its edges arrive there and two leave. This
order of those that leave pairs them with those that arrive, in the order of the directions, so that
the region is joined and its surroundings are parted there: then a region that is connected by faces
has rings that never meet themselves, as polygons must be."""


@dataclass(frozen=True, eq=False)
class Region:
    """A face-connected region of one value.

    Attributes
    ----------
    value
        Of its pixels.
    area_px
        How many they are.
    rings
        Its border and then its holes, each closed (the first corner is also the last): x and y of
        corners of pixels. The border has a positive area by the shoelace formula, holes a negative
        one.
    """

    value: int
    area_px: int
    rings: tuple[Points, ...]


def trace(values: NDArray[np.integer[Any]]) -> list[Region]:
    """The regions of each value but 0, in the order of their first pixels.

    Parameters
    ----------
    values
        Whole numbers (y x).
    """
    regions = label(values, background=0, connectivity=1)
    count = int(regions.max(initial=0))
    areas = np.bincount(regions.ravel(), minlength=count + 1)
    of_region = np.zeros(count + 1, values.dtype)
    of_region[regions.ravel()] = values.ravel()
    rings: list[list[Points]] = [[] for _ in range(count)]
    for region, corners in _rings(regions):
        rings[region - 1].append(corners)
    return [
        Region(int(value), int(areas[number]), tuple(sorted(of, key=_area, reverse=True)))
        for number, (value, of) in enumerate(zip(of_region[1:], rings, strict=True), start=1)
    ]


def _area(ring: Points) -> float:
    x, y = ring.T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)


def _rings(regions: NDArray[np.integer[Any]]) -> list[tuple[int, Points]]:
    """The closed lines around each region, with the number of the region."""
    owner, start, direction = _edges(regions)
    if not len(owner):
        return []
    width = regions.shape[1] + 1
    corners = (regions.shape[0] + 1) * width
    place = owner * corners + start[:, 1] * width + start[:, 0]
    end = start + STEPS[direction]
    arrival = owner * corners + end[:, 1] * width + end[:, 0]
    following = np.empty(len(owner), np.int64)
    following[np.argsort(arrival * 4 + direction)] = np.argsort(place * 4 + LEAVING[direction])
    turns = np.zeros(len(owner), bool)
    turns[following] = direction[following] != direction
    return [(int(owner[ring[0]]), start[ring].astype(float)) for ring in _cycles(following, turns)]


def _edges(
    regions: NDArray[np.integer[Any]],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Region, starting corner (x, y) and direction of each edge, the region lying to its right."""
    padded = np.pad(regions, 1)
    found = []
    y, x = np.nonzero(padded[1:-1, :-1] != padded[1:-1, 1:])  # edges between columns x - 1 and x
    found += [(padded[y + 1, x], x, y, 1), (padded[y + 1, x + 1], x, y + 1, 3)]
    y, x = np.nonzero(padded[:-1, 1:-1] != padded[1:, 1:-1])  # edges between rows y - 1 and y
    found += [(padded[y + 1, x + 1], x, y, 0), (padded[y, x + 1], x + 1, y, 2)]
    owner = np.concatenate([owner for owner, *_ in found]).astype(np.int64)
    start = np.concatenate([np.column_stack([x, y]) for _, x, y, _ in found])
    direction = np.concatenate([np.full(len(x), number) for _, x, _, number in found])
    owned = owner > 0
    return owner[owned], start[owned], direction[owned]


def _cycles(following: NDArray[np.int64], turns: NDArray[np.bool_]) -> list[list[int]]:
    """The edges of each ring that begin at a corner of it, the first one once more at the end."""
    after, is_turn = following.tolist(), turns.tolist()
    seen = bytearray(len(after))
    cycles = []
    for first in np.flatnonzero(turns).tolist():
        if seen[first]:
            continue
        cycle, edge = [], first
        while not seen[edge]:
            seen[edge] = 1
            if is_turn[edge]:
                cycle.append(edge)
            edge = after[edge]
        cycles.append([*cycle, first])
    return cycles
