"""Objects that were cut: into pieces of one id, or along straight lines, as at seams of tiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from overtile.doctor.findings import Finding

SEAM_PX = 5
"""A straight contact of two objects shorter than this may be by chance."""

SEAM_PAIRS = 3
"""Pairs of objects that meet along one straight line: one or two may be by chance."""

STRAIGHT = 0.9
"""Share of a pair's contact that lies on the line."""


def pieces_of(ids: NDArray[np.integer]) -> NDArray[np.bool_]:
    """The pixels of objects that are in several pieces, without the largest piece of each.

    Parameters
    ----------
    ids
        Object ids (*space), 0 for background. Pieces that touch by a corner are one.
    """
    found = np.zeros(ids.shape, bool)
    touching = np.ones((3,) * ids.ndim, bool)
    boxes: Sequence[tuple[slice, ...] | None] = ndimage.find_objects(ids)
    for number, box in enumerate(boxes, start=1):
        if box is None:
            continue
        regions, count = ndimage.label(ids[box] == number, touching)
        if count > 1:
            sizes = np.bincount(regions.ravel())
            sizes[0] = 0
            found[box] |= (regions > 0) & (regions != sizes.argmax())
    return found


@dataclass(frozen=True)
class Seam:
    """A line along which several objects were cut in two.

    Attributes
    ----------
    axis, place
        The line runs between the pixels `place` - 1 and `place` of this axis.
    pairs
        How many pairs of objects meet along it.
    """

    axis: int
    place: int
    pairs: int


def seams_of(ids: NDArray[np.integer]) -> list[Seam]:
    """The lines along which at least three pairs of objects meet straight, as tiles leave them.

    A pair counts where at least 5 px of it meet on the line, and nine tenths of all places where
    the two meet.
    """
    contacts = [_contacts(ids, axis) for axis in range(ids.ndim)]
    pairs = np.concatenate([pair for pair, _ in contacts])
    if not len(pairs):
        return []
    _, place = np.unique(pairs, axis=0, return_inverse=True)
    total = np.bincount(place.ravel())
    found, start = [], 0
    for axis, (pair, lines) in enumerate(contacts):
        own = place.ravel()[start : start + len(pair)]
        start += len(pair)
        if not len(pair):
            continue
        code, counts = np.unique(own * ids.shape[axis] + lines, return_counts=True)
        of_pair, line = np.divmod(code, ids.shape[axis])
        straight = (counts >= SEAM_PX) & (counts >= STRAIGHT * total[of_pair])
        where, how_many = np.unique(line[straight], return_counts=True)
        found += [
            Seam(axis, int(one), int(count))
            for one, count in zip(where, how_many, strict=True)
            if count >= SEAM_PAIRS
        ]
    return found


def _contacts(ids: NDArray[np.integer], axis: int) -> tuple[NDArray[np.integer], NDArray[np.intp]]:
    """Every face between two objects across an axis: the pair (lower id first), and the place."""
    before = np.take(ids, range(ids.shape[axis] - 1), axis)
    behind = np.take(ids, range(1, ids.shape[axis]), axis)
    meet = (before > 0) & (behind > 0) & (before != behind)
    pairs = np.sort(np.stack([before[meet], behind[meet]], axis=1), axis=1)
    return pairs, np.nonzero(meet)[axis] + 1


def on_seams(ids: NDArray[np.integer]) -> NDArray[np.bool_]:
    """The pixels on both sides of the seams where objects lie on both."""
    found = np.zeros(ids.shape, bool)
    for seam in seams_of(ids):
        lines = [np.take(ids, seam.place - 1, seam.axis), np.take(ids, seam.place, seam.axis)]
        cut = (lines[0] > 0) & (lines[1] > 0) & (lines[0] != lines[1])
        inside = np.moveaxis(found, seam.axis, 0)
        inside[seam.place - 1] |= cut
        inside[seam.place] |= cut
    return found


def check_cuts(name: str, ids: NDArray[np.integer]) -> Iterator[Finding]:
    """Objects in pieces, and objects cut along a line."""
    pieces = pieces_of(ids)
    if pieces.any():
        count = len(np.unique(ids[pieces]))
        yield Finding(
            "warning",
            name,
            f"{count} object{'s are' if count > 1 else ' is'} in several pieces that do not touch, "
            f"with {np.count_nonzero(pieces)} pixels apart from the largest piece.",
            "Give each object an id of its own, and erase what was left behind when a neighbour "
            "was drawn over it.",
            pieces_of,
            "objects",
        )
    for seam in seams_of(ids):
        line = f"{'zyx'[-ids.ndim :][seam.axis]} = {seam.place}"
        yield Finding(
            "warning",
            name,
            f"{seam.pairs} pairs of objects meet along the straight line {line}: they look like "
            "objects that were cut in two where tiles were labelled apart.",
            "Give the two parts of each object one id.",
            on_seams,
            "objects",
        )
