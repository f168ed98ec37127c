"""Two partitions of a slice into segments, compared (Arganda-Carreras et al. 2015).

Segments of the truth and of the prediction are compared by the pixels that they share, over the
foreground of the truth (doi:10.3389/fnana.2015.00142). With p_ij the share of pixels in segment
i of the prediction and j of the truth, s_i and t_j their sums over the other, and alpha 1/2::

    V_rand split = sum p_ij^2 / sum t_j^2        V_info split = I(S; T) / H(S)
    V_rand merge = sum p_ij^2 / sum s_i^2        V_info merge = I(S; T) / H(T)

and V the harmonic mean of the two: a split lowers the first, a merger the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import skeletonize

from overtile.errors import DataError, SettingsError

FARTHEST_PX = 64
"""No boundary is continued farther: a wide background would make the image several times larger."""

# Those of the ISBI 2012 challenge.
THRESHOLDS = tuple(step / 10 for step in range(11))
# The product of two ids, which names a pair, must fit into 63 bits.
LARGEST_ID = 2**31 - 1


@dataclass(frozen=True)
class PartitionScores:
    """How well the segments of a prediction are those of the truth; 1 is best.

    Attributes
    ----------
    v_rand, v_rand_split, v_rand_merge
        The Rand F-score and its parts.
    v_info, v_info_split, v_info_merge
        The information-theoretic F-score and its parts.
    rand_error
        1 - F-score of pixel pairs, the ISBI 2012 challenge's first measure (dismissed by the paper
        above for V_rand): of the pairs together in the prediction those together in the truth
        (precision), and the reverse (recall), over the foreground of the truth. Pairs are of two
        different pixels (Rand 1971, doi:10.1080/01621459.1971.10482356); V_rand also counts each
        pixel with itself. Of the thinned segments, where the challenge took those before thinning.
        0 is best.
    """

    v_rand: float
    v_rand_split: float
    v_rand_merge: float
    v_info: float
    v_info_split: float
    v_info_merge: float
    rand_error: float


def shared_pixels(
    truth: NDArray[np.integer], prediction: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Which ids of truth and prediction share pixels, and how many: the contingency table, sparse.

    Returns
    -------
    truth_ids, prediction_ids, counts
        One entry for each pair of ids with a pixel in common, id 0 included.

    Raises
    ------
    DataError
        Different shapes, or an id below 0 or above 2^31 - 1.
    """
    if truth.shape != prediction.shape:
        raise DataError(
            f"Segments of {truth.shape} pixels in the truth and of {prediction.shape} in the "
            "prediction cannot be compared: expected the same shape."
        )
    for ids in (truth, prediction):
        if ids.min(initial=0) < 0 or ids.max(initial=0) > LARGEST_ID:
            raise DataError(
                f"Expected ids from 0 to {LARGEST_ID}, but they reach from {ids.min()} to "
                f"{ids.max()}: number the objects anew, with 0 where there is none."
            )
    width = int(prediction.max(initial=0)) + 1
    both = truth.astype(np.int64).ravel() * width + prediction.ravel()
    pairs, counts = np.unique(both, return_counts=True)
    return pairs // width, pairs % width, counts.astype(np.int64)


def totals(
    ids: NDArray[np.int64], counts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pixels of each different id, and for each entry of `ids` its place among these."""
    _, places = np.unique(ids, return_inverse=True)
    return np.bincount(places, counts).astype(np.int64), places


def thinned_segments(foreground: NDArray[np.floating], threshold: float = 0.5) -> NDArray[np.int32]:
    """The segments that a predicted boundary leaves, once it is thinned to its skeleton.

    Parameters
    ----------
    foreground
        Probability (y x) of the inside of segments.
    threshold
        The boundary is where the probability is not above it.

    Returns
    -------
    array of int32
        Face-connected segments from 1; 0 on the skeleton, which counts as one segment.

    Notes
    -----
    Thinning draws the ends of a band back by half its width. At the image's edge this would open a
    gap beside every boundary that leaves the image, and merge its two sides: the truth of ISBI 2012
    would score 0.65 against itself. So the boundary is first continued beyond the edge, by half its
    width or more and at most `FARTHEST_PX`: a band of more than about twice that may still open
    there. This is our choice; published scores may come from programs that do not continue it.
    """
    boundary = ~(foreground > threshold)  # NaN is not above it
    reach = 0
    if not boundary.all():
        # Steps are faster to count than Euclidean distances, which are at most sqrt(2) as long.
        steps = ndimage.distance_transform_cdt(boundary, "chessboard").max()
        reach = min(int(1.5 * steps) + 2, FARTHEST_PX)
    skeleton = skeletonize(np.pad(boundary, reach, mode="edge"))
    inside = tuple(slice(reach, reach + size) for size in boundary.shape)
    return ndimage.label(~skeleton[inside])[0].astype(np.int32)


def partition_scores(truth: NDArray[np.integer], segments: NDArray[np.integer]) -> PartitionScores:
    """Scores of segments against those of the truth.

    Parameters
    ----------
    truth
        Segment ids (y x); 0, as anything below it, is no segment and left out.
    segments
        Predicted ids, same shape; all pixels of 0 together are one segment.

    Returns
    -------
    PartitionScores
        Without any foreground in the truth, all NaN.

    Raises
    ------
    DataError
        Different shapes, or a predicted id below 0.
    """
    truth_ids, segment_ids, counts = shared_pixels(np.maximum(truth, 0), segments)
    inside = truth_ids > 0
    truth_ids, segment_ids, counts = truth_ids[inside], segment_ids[inside], counts[inside]
    total = int(counts.sum())
    if total == 0:
        return PartitionScores(*[np.nan] * 7)
    of_truth, of_segment = totals(truth_ids, counts)[0], totals(segment_ids, counts)[0]
    together, in_truth, in_segments = (_sum_of_squares(c) for c in (counts, of_truth, of_segment))
    split, merge = together / in_truth, together / in_segments
    # The same without the pairs of a pixel with itself, of which there are `total`.
    pairs, pairs_truth, pairs_segments = (s - total for s in (together, in_truth, in_segments))
    rand = 2 * pairs / (pairs_truth + pairs_segments) if pairs_truth + pairs_segments else 1.0
    h_truth, h_segments, h_both = (_entropy(c / total) for c in (of_truth, of_segment, counts))
    information = max(h_truth + h_segments - h_both, 0.0)
    # Without anything to be split (or merged), 0 / 0, nothing was.
    info_split = information / h_segments if h_segments else 1.0
    info_merge = information / h_truth if h_truth else 1.0
    info = 2 * information / (h_truth + h_segments) if h_truth + h_segments else 1.0
    return PartitionScores(
        v_rand=2 * together / (in_truth + in_segments),
        v_rand_split=split,
        v_rand_merge=merge,
        v_info=info,
        v_info_split=info_split,
        v_info_merge=info_merge,
        rand_error=1 - rand,
    )


def best_threshold(
    truths: Sequence[NDArray[np.integer]],
    foregrounds: Sequence[NDArray[np.floating]],
    thresholds: Sequence[float] = THRESHOLDS,
) -> tuple[float, list[PartitionScores]]:
    """The one threshold with the best mean V_rand over all slices, and the scores at it.

    Parameters
    ----------
    truths
        Segment ids (y x) of each slice.
    foregrounds
        Predicted probabilities (y x) of the inside of segments.
    thresholds
        To choose from; the first of equals is taken.

    Returns
    -------
    threshold, scores
        The mean is over the slices with any foreground in the truth; the scores of the others are
        NaN. Without any such slice, the first threshold.

    Raises
    ------
    SettingsError
        No thresholds.
    DataError
        A slice whose prediction has another shape.
    """
    if not thresholds:
        raise SettingsError(
            "Expected thresholds of the foreground's probability to choose from, but got none: "
            "leave them out for 0, 0.1, ..., 1."
        )
    scored = [
        scores_by_threshold(truth, foreground, thresholds)
        for truth, foreground in zip(truths, foregrounds, strict=True)
    ]
    best = max(range(len(thresholds)), key=lambda place: _mean_v_rand([s[place] for s in scored]))
    return thresholds[best], [each[best] for each in scored]


def scores_by_threshold(
    truth: NDArray[np.integer],
    foreground: NDArray[np.floating],
    thresholds: Sequence[float] = THRESHOLDS,
) -> list[PartitionScores]:
    """The scores of the thinned segments of a slice at every threshold."""
    return [
        partition_scores(truth, thinned_segments(foreground, threshold)) for threshold in thresholds
    ]


def _mean_v_rand(scores: Sequence[PartitionScores]) -> float:
    defined = [score.v_rand for score in scores if not np.isnan(score.v_rand)]
    return float(np.mean(defined)) if defined else 0.0


def _sum_of_squares(counts: NDArray[np.generic]) -> float:
    return float((counts.astype(np.float64) ** 2).sum())


def _entropy(shares: NDArray[np.floating]) -> float:
    present = shares[shares > 0]
    return float(-(present * np.log(present)).sum())
