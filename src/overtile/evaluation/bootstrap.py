"""How sure a figure is: intervals by drawing the images anew (Efron 1979).

The percentile bootstrap: so many images as there are are drawn with replacement, the figure is
computed anew, and of 2,000 such figures the middle 95 % are the interval (Efron and Tibshirani
1993, chapter 13). It says how the figure would vary with other images like these, and nothing of
another training run. With fewer than three images it would say more than is known: there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
SHARE = 0.95
FEWEST = 3
SEED = 0
"""One for all, so that an evaluation that is run again gives the same intervals."""

CHUNK = 100
"""Resamples whose tallies are added up at once: of 150 classes these are 18 MB."""

Interval = tuple[float, float]


@lru_cache(maxsize=2)  # the scores of an evaluation are mostly of equally many images
def draws(images: int) -> NDArray[np.float64]:
    """How often each image is drawn: (resamples, images), each row with the sum `images`."""
    shares = np.full(images, 1 / images)
    drawn = np.random.default_rng(SEED).multinomial(images, shares, size=RESAMPLES)
    return drawn.astype(np.float64)


def interval(figures: Sequence[float] | NDArray[np.float64]) -> Interval | None:
    """The middle 95 % of figures, linear between two; those not defined are left out."""
    known = np.asarray(figures, np.float64)
    known = known[np.isfinite(known)]
    if known.size == 0:
        return None
    tail = 100 * (1 - SHARE) / 2
    low, high = np.percentile(known, (tail, 100 - tail))
    return float(low), float(high)


def of_mean(values: Sequence[float]) -> Interval | None:
    """The interval of the mean over those images where a score is defined, if these are enough."""
    known = np.array([value for value in values if np.isfinite(value)])
    if known.size < FEWEST:
        return None
    return interval(draws(known.size) @ known / known.size)


def of_pooled(
    tallies: Sequence[NDArray[np.generic]], score: Callable[[NDArray[np.float64]], list[float]]
) -> list[Interval | None]:
    """The intervals of all scores of the sum of tallies."""
    if len(tallies) < FEWEST:
        return [None for _ in score(np.sum(tallies, axis=0))]
    figures = np.array([score(total) for total in _sums(tallies)])
    return [interval(column) for column in figures.T]


def _sums(tallies: Sequence[NDArray[np.generic]]) -> Iterator[NDArray[np.float64]]:
    """The sum of the tallies of every resample."""
    stacked = np.stack(tallies).astype(np.float64)
    drawn = draws(len(tallies))
    for start in range(0, RESAMPLES, CHUNK):
        yield from np.tensordot(drawn[start : start + CHUNK], stacked, 1)
