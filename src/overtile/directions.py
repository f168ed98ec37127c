"""Axes with two unlike ends, told by where classes lie: up and down in a street, front and back.

Images that are mirrored along such an axis, or turned, are like none that will be predicted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

FEWEST = 4
"""Images with a class, from which it can tell."""

UNEVEN = 0.25
"""How far the share of a class in the first half of the images must be from a half, in the mean.
It is 0.5 for sky and road in CamVid, and 0.29 to 0.50 along the three axes of hippocampi in their
place; 0.13 and less in aerial photographs of Dubai, and 0.05 and less in ISBI 2012, DIC-HeLa and
DSB 2018."""

SURE = 1e-4
"""Probability (t test) of so uneven shares by chance, below which they are believed. In CamVid that
of bicyclists along x is 0.22 with a probability of 0.006, and means nothing."""


class Halves:
    """Collects how the classes of each image are spread along its axes.

    Parameters
    ----------
    dimensions
        Of space.
    classes
        How many there are.
    """

    def __init__(self, dimensions: int, classes: int) -> None:
        self.classes = classes
        self._shares: list[list[NDArray[np.float64]]] = [[] for _ in range(dimensions)]

    def add(self, target: NDArray[np.integer]) -> None:
        """One image more: class ids (*space), -1 where unlabelled; or (k *space), 0 or 1."""
        for axis, shares in enumerate(self._shares):
            along = axis + target.ndim - len(self._shares)
            half = target.shape[along] // 2
            first, last = (
                self._dense(target.take(range(start, start + half), axis=along))
                for start in (0, target.shape[along] - half)
            )
            with np.errstate(invalid="ignore"):  # NaN of a class that is not there
                shares.append(first / (first + last))

    def _dense(self, part: NDArray[np.integer]) -> NDArray[np.float64]:
        """The share of each class in the labelled pixels of a half; NaN where none is labelled."""
        if part.ndim > len(self._shares):
            counts = (part > 0).sum(axis=tuple(range(1, part.ndim)))
            labelled = int(np.count_nonzero(part.min(axis=0) >= 0))
        else:
            known = part[part >= 0]
            counts, labelled = np.bincount(known, minlength=self.classes), known.size
        return np.asarray(counts / (labelled or np.nan))

    def directed(self, names: Sequence[str]) -> tuple[tuple[str, str], ...]:
        """Axes with unlike ends, and the name of the class that shows it best; see `UNEVEN`."""
        found = []
        for axis, shares in zip("zyx"[-len(self._shares) :], self._shares, strict=True):
            best = max(
                (self._unevenness(each), name)
                for each, name in zip(np.array(shares).T, names, strict=True)
            )
            if best[0] > 0:
                found.append((axis, best[1]))
        return tuple(found)

    def _unevenness(self, shares: NDArray[np.float64]) -> float:
        """How far a class is from even; 0 where that says nothing."""
        off = shares[~np.isnan(shares)] - 0.5
        if len(off) < FEWEST or abs(off.mean()) < UNEVEN:
            return 0.0
        error = off.std(ddof=1) / np.sqrt(len(off))
        chance = 2 * stats.t.sf(abs(off.mean()) / max(error, 1e-9), len(off) - 1)
        return float(abs(off.mean())) if chance < SURE else 0.0
