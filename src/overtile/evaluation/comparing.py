"""Two models on the same images: their scores, the differences, and how sure these are.

Both see the same images, so that what is hard in an image is hard for both: differences are taken
image by image, and their mean has its own interval and test.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overtile.errors import DataError
from overtile.evaluation import bootstrap
from overtile.evaluation.bootstrap import Interval
from overtile.evaluation.evaluating import Evaluation
from overtile.evaluation.measure import Name
from overtile.text import shown

LEVEL = 0.05
"""Below this probability a difference is commonly called significant."""

MOST_EXACT = 50
"""Of so many images all ways to give signs to the differences are counted, as SciPy does too."""

SAME = 1e-12
"""Differences up to this are ties: sums of the same numbers in another order."""


@dataclass(frozen=True)
class Difference:
    """A score of two models over the images where both have it.

    Attributes
    ----------
    name
        Of the score.
    images
        How many there are; where it is 0, the numbers below are NaN.
    first, second
        Means over them.
    difference
        The mean of second - first.
    interval
        95 %, of the mean difference, by the bootstrap over images; None for fewer than three.
    ties
        Images without a difference.
    p
        Of Wilcoxon's signed-rank test (Wilcoxon 1945, doi:10.2307/3001968), two-sided, ties left
        out: the probability of differences so one-sided if neither model were better. Exact up to
        50 images, also where differences are equal; of more by the normal approximation. NaN where
        all are ties.
    """

    name: Name
    images: int
    first: float
    second: float
    difference: float
    interval: Interval | None
    ties: int
    p: float


@dataclass(frozen=True)
class Comparison:
    """Two evaluations of the same images side by side.

    Attributes
    ----------
    first, second
        Of the models.
    differences
        Of every score, in the order of tables.
    """

    first: Evaluation
    second: Evaluation
    differences: tuple[Difference, ...]

    @property
    def notes(self) -> list[str]:
        """What a reader of the test has to know."""
        images = len(self.first.rows)
        least = smallest_p(images)
        said = (
            f"p: Wilcoxon signed-rank test over {images} images, one test for every score; of "
            f"twenty scores that do not differ one has p < {LEVEL:g} by chance."
        )
        few = (
            f"With {images} image{'s' * (images != 1)} no difference can be significant: the "
            f"smallest p that there can be is {least:.2g}. At least six images are needed for "
            f"p < {LEVEL:g}."
        )
        return [few] if least >= LEVEL else [said]


def smallest_p(images: int) -> float:
    """The smallest p of so many images: all differences of one sign, one of 2^n ways, two-sided."""
    return min(1.0, 2.0 ** (1 - images))


def compare_evaluations(first: Evaluation, second: Evaluation) -> Comparison:
    """Two evaluations side by side.

    Raises
    ------
    DataError
        They are of other images, or of other classes.
    """
    of_first, of_second = ([row.name for row in each.rows] for each in (first, second))
    if of_first != of_second:
        raise DataError(
            f"The evaluations are of {shown(of_first)} and of {shown(of_second)}: expected the "
            "same images in the same order, whose differences can be taken."
        )
    check_classes(first.meaning.names, second.meaning.names)
    return Comparison(
        first,
        second,
        tuple(_difference(first, second, name) for name in first.names if name in second.names),
    )


def check_classes(first: Sequence[str], second: Sequence[str]) -> None:
    """Refuse to compare models of different classes.

    Raises
    ------
    DataError
        The names of the classes differ, or their order.
    """
    if tuple(first) != tuple(second):
        raise DataError(
            f"The classes of the first model are {shown(first)}, those of the second "
            f"{shown(second)}: expected the same in the same order. Evaluate each by itself."
        )


def _difference(first: Evaluation, second: Evaluation, name: str) -> Difference:
    pairs = np.array(
        [
            (one.scores[name], other.scores[name])
            for one, other in zip(first.rows, second.rows, strict=True)
        ]
    )
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    if not len(pairs):
        return Difference(first.names[name], 0, math.nan, math.nan, math.nan, None, 0, math.nan)
    apart = pairs[:, 1] - pairs[:, 0]
    apart[np.abs(apart) <= SAME] = 0
    first_mean, second_mean = pairs.mean(axis=0).tolist()
    return Difference(
        first.names[name],
        len(pairs),
        first_mean,
        second_mean,
        difference=float(apart.mean()),
        interval=bootstrap.of_mean(apart.tolist()),
        ties=int((apart == 0).sum()),
        p=signed_rank(apart),
    )


def signed_rank(differences: NDArray[np.float64]) -> float:
    """The two-sided p of Wilcoxon's signed-rank test without ties; NaN where all are ties."""
    apart = np.round(differences[differences != 0], 12)  # equal ones are to have equal ranks
    if apart.size == 0:
        return math.nan
    if apart.size > MOST_EXACT:
        from scipy.stats import wilcoxon  # takes long to load, and evaluations do without

        return float(wilcoxon(apart).pvalue)
    # Mean ranks are halves: doubled they are whole, and sums of some of them can be counted.
    _, place, counts = np.unique(np.abs(apart), return_inverse=True, return_counts=True)
    ranks = (2 * counts.cumsum() - counts + 1)[place]
    ways = np.zeros(ranks.sum() + 1)
    ways[0] = 1
    for rank in ranks:  # each difference is positive in one half of all cases
        ways[rank:] = (ways[rank:] + ways[: len(ways) - rank]) / 2
        ways[:rank] /= 2
    positive = int(ranks[apart > 0].sum())
    return min(1.0, 2 * float(min(ways[: positive + 1].sum(), ways[positive:].sum())))
