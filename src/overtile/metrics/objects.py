"""Objects of truth and prediction: their overlaps counted once, then scored at any threshold.

Most scores rest on the intersection over union (IoU) of a true and a predicted object. Where a
prediction has no object and the truth none either, an image says nothing of objects: its scores
are NaN, and means leave it out. (StarDist's tables give such an image 0, which punishes silence
where silence is right.)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from overtile.errors import DataError
from overtile.metrics.partitions import shared_pixels, totals

AP_THRESHOLDS = tuple(percent / 100 for percent in range(50, 95, 5))
"""Of the IoU: 0.50, 0.55, ..., 0.90, as in StarDist's tables (Schmidt et al. 2018,
doi:10.1007/978-3-030-00934-2_30)."""

ABOVE_HALF = float(np.nextafter(0.5, 1))
"""To match at least this IoU is to match more than one half."""


@dataclass(frozen=True)
class Overlaps:
    """Which objects share pixels, and how many: all that scores of objects need of an image.

    Attributes
    ----------
    truth_px, predicted_px
        Pixels of every true object (n) and of every predicted one (m).
    i, j, shared_px
        One entry for each pair that has pixels in common: the places of the true and of the
        predicted object in the arrays above, and the number of these pixels.
    """

    truth_px: NDArray[np.int64]
    predicted_px: NDArray[np.int64]
    i: NDArray[np.int64]
    j: NDArray[np.int64]
    shared_px: NDArray[np.int64]

    @cached_property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union of every pair."""
        union = self.truth_px[self.i] + self.predicted_px[self.j] - self.shared_px
        return np.asarray(self.shared_px / union)

    @property
    def count_error(self) -> int:
        """Predicted minus true number of objects."""
        return len(self.predicted_px) - len(self.truth_px)


@dataclass(frozen=True)
class Matches:
    """How many objects were found; the sum of those of several images is that of all together.

    Attributes
    ----------
    found, invented, missed
        True positives, false positives, false negatives.
    overlap
        Sum of the IoU of the found objects.
    """

    found: int = 0
    invented: int = 0
    missed: int = 0
    overlap: float = 0.0

    def __add__(self, other: Matches) -> Matches:
        return Matches(
            self.found + other.found,
            self.invented + other.invented,
            self.missed + other.missed,
            self.overlap + other.overlap,
        )


def overlaps(truth: NDArray[np.integer], prediction: NDArray[np.integer]) -> Overlaps:
    """The pixels that objects of truth and prediction share.

    Parameters
    ----------
    truth, prediction
        Object ids (*space), 0 for background; they need not be consecutive.

    Raises
    ------
    DataError
        Different shapes, or an id below 0 or above 2^31 - 1.
    """
    truth_ids, predicted_ids, counts = shared_pixels(truth, prediction)
    truth_px, i = _objects(truth_ids, counts)
    predicted_px, j = _objects(predicted_ids, counts)
    both = (i >= 0) & (j >= 0)
    return Overlaps(truth_px, predicted_px, i[both], j[both], counts[both])


def _objects(
    ids: NDArray[np.int64], counts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels of each object, and for each entry of `ids` its place among them, -1 for id 0."""
    areas, places = totals(ids, counts)
    background = int(ids.min(initial=1) == 0)
    return areas[background:], places - background


def match(overlaps: Overlaps, threshold: float = 0.5) -> Matches:
    """Objects matched one to one, where their IoU is a threshold or more.

    Parameters
    ----------
    overlaps
        Of an image.
    threshold
        Above 0, to 1. An IoU of exactly this is a match (>=), as in StarDist. Above 0.5 no object
        can have two partners. From 0.5 down it can, at 0.5 only where it is cut into two equal
        halves: then those pairs are chosen that match most objects, and among such choices one
        with the largest sum of IoU.

    Raises
    ------
    DataError
        A threshold that is not above 0, or above 1.

    Examples
    --------
    >>> halves = overlaps(np.array([[1, 1]]), np.array([[1, 2]]))
    >>> match(halves)
    Matches(found=1, invented=1, missed=0, overlap=0.5)
    """
    if not 0 < threshold <= 1:
        raise DataError(
            f"Objects cannot be matched at an IoU of {threshold:g}: expected a threshold above 0, "
            "to 1, such as 0.5."
        )
    good = overlaps.iou >= threshold
    matched = overlaps.iou[good]
    if threshold <= 0.5:
        matched = _one_to_one(overlaps.i[good], overlaps.j[good], matched)
    found = len(matched)
    return Matches(
        found,
        len(overlaps.predicted_px) - found,
        len(overlaps.truth_px) - found,
        float(matched.sum()),
    )


def match_objects(
    truth: NDArray[np.integer], prediction: NDArray[np.integer], threshold: float = 0.5
) -> Matches:
    """`match` of the `overlaps` of two arrays of object ids."""
    return match(overlaps(truth, prediction), threshold)


def _one_to_one(
    i: NDArray[np.int64], j: NDArray[np.int64], overlap: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The overlaps of those pairs (i, j) that remain when no i and no j has two partners."""
    rows, columns = (np.unique(ids, return_inverse=True)[1] for ids in (i, j))
    sizes = (rows.max(initial=-1) + 1, columns.max(initial=-1) + 1)
    if sizes == (len(overlap), len(overlap)):
        return overlap
    table = np.zeros(sizes)
    # A match counts more than any sum of overlaps, so that their number is maximised first.
    bonus = len(overlap) + 1
    table[rows, columns] = overlap + bonus
    chosen = table[linear_sum_assignment(table, maximize=True)]
    kept: NDArray[np.float64] = chosen[chosen > 0] - bonus
    return kept


def average_precision(matches: Matches) -> float:
    """TP / (TP + FP + FN), as in the Data Science Bowl 2018 and in StarDist's tables.

    The bowl (Caicedo et al. 2019, doi:10.1038/s41592-019-0612-7) then averages over thresholds of
    the IoU from 0.5 to 0.95, StarDist's tables give those of `AP_THRESHOLDS`. NaN where there is
    no object in truth and prediction.
    """
    total = matches.found + matches.invented + matches.missed
    return matches.found / total if total else np.nan


def panoptic_quality(matches: Matches) -> float:
    """Sum of the IoU of found objects / (TP + FP / 2 + FN / 2), which is 1 at best.

    Of matches above an IoU of one half (`ABOVE_HALF`), summed over all images (Kirillov et al.
    2019, doi:10.1109/CVPR.2019.00963, equation 1). NaN where there is no object at all.
    """
    total = matches.found + (matches.invented + matches.missed) / 2
    return matches.overlap / total if total else np.nan


def aggregated_jaccard(overlaps: Overlaps) -> tuple[int, int]:
    """Intersection and union of the aggregated Jaccard index, which is the one over the other.

    Each true object takes the predicted one with which its IoU is largest; several may take the
    same. Their intersections and unions are added up, and to the union all pixels of predicted
    objects that none took, and of true ones that touch none (Kumar et al. 2017,
    doi:10.1109/TMI.2017.2677499, algorithm 1). The sums over images give the index of all pooled.
    Of equal IoU the larger intersection is taken, then the first object. The union is 0 where
    there is no object at all.
    """
    order = np.lexsort((overlaps.j, -overlaps.shared_px, -overlaps.iou, overlaps.i))
    first = np.unique(overlaps.i[order], return_index=True)[1]
    best = order[first]
    intersection = int(overlaps.shared_px[best].sum())
    taken = overlaps.j[best]
    union = overlaps.truth_px.sum() + overlaps.predicted_px[taken].sum() - intersection
    free = np.delete(overlaps.predicted_px, np.unique(taken))
    return intersection, int(union + free.sum())
