"""What a measure is: an image is counted, counts of images are added, and a count is scored.

So that a score of one image and that of all images together are one formula on two counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from overtile import metrics
from overtile.labels import LabelMeaning

Tally = NDArray[Any]
"""What is counted of one image: an array, of the same shape for every image."""


class Name(NamedTuple):
    """What a score is called.

    Attributes
    ----------
    score
        As in `definitions.DEFINITIONS`.
    of
        The class that it is of; empty where it is of all.
    """

    score: str
    of: str = ""

    def __str__(self) -> str:
        """As tables have it: "IoU road"."""
        return f"{self.score} {self.of}".rstrip()


Masks = tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_] | None]
"""Of a class: the pixels of truth and prediction, and those that are labelled, None for all."""

Scores = dict[Name, float]
"""NaN where a score is not defined."""


@dataclass(frozen=True, eq=False)
class Case:
    """A prediction and the label of one image.

    Attributes
    ----------
    meaning
        Of the labels, behind its classes those that training never saw.
    truth
        Class ids (*space), -1 where unlabelled; of classes that overlap 0 and 1 (k *space).
    objects, found
        Ids of the true and of the predicted objects (*space), 0 where there is none.
    likely
        Probabilities (k *space), NaN where the image is missing.
    spacing
        The size of a pixel along each axis of space.
    """

    meaning: LabelMeaning
    truth: NDArray[np.int16]
    objects: NDArray[np.int32]
    found: NDArray[np.int32]
    likely: NDArray[np.float32]
    spacing: tuple[float, ...]

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """Class ids (*space), of equal probabilities the first; of classes that overlap 0 and 1."""
        if self.truth.ndim == self.likely.ndim:
            return (self.likely > 0.5).astype(np.int64)
        return np.asarray(self.likely.argmax(axis=0))

    @cached_property
    def overlaps(self) -> metrics.Overlaps:
        """Of true and predicted objects."""
        return metrics.overlaps(self.objects, self.found)

    def masks(self) -> Iterator[Masks]:
        """Truth, prediction and labelled pixels of every class that has an outline."""
        if self.truth.ndim == self.likely.ndim:
            known = _unless_all(self.truth[0] >= 0)
            for true, found in zip(self.truth, self.predicted, strict=True):
                yield true == 1, found == 1, known
        else:
            known = _unless_all(self.truth >= 0)
            for number in outlined(self.meaning):
                yield self.truth == number, self.predicted == number, known

    @cached_property
    def surfaces(self) -> list[metrics.SurfaceDistances]:
        """Of every class that has an outline, in the unit of the spacing."""
        return [
            metrics.surface_distances(true, found, self.spacing, known)
            for true, found, known in self.masks()
        ]


def _unless_all(known: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """None where every pixel is labelled, which is faster to work with."""
    return None if known.all() else known


def outlined(meaning: LabelMeaning) -> list[int]:
    """The class ids that have an outline: all but the background's."""
    overlap = meaning.kind == "multilabel"
    return [n for n in range(len(meaning.names)) if overlap or n != meaning.background]


@dataclass(frozen=True)
class Measure:
    """One way to score images.

    Attributes
    ----------
    count
        From an image to its tally.
    scores
        Of a tally.
    pooled
        Whether the sum of the tallies of several images is that of all of them together.
    choose
        From the tallies of all images, the place along their first axis that is scored: one for
        all images, such as the best of several thresholds.
    """

    count: Callable[[Case], Tally]
    scores: Callable[[Tally], Scores]
    pooled: bool = True
    choose: Callable[[Sequence[Tally]], int] | None = None


def mean(values: Sequence[float]) -> float:
    """The mean of those values that are defined; NaN where none is."""
    defined = [value for value in values if not np.isnan(value)]
    return float(sum(defined) / len(defined)) if defined else np.nan


def each(score: str, names: Sequence[str], values: Sequence[float]) -> Scores:
    """A score of every class."""
    return {Name(score, name): float(value) for name, value in zip(names, values, strict=True)}
