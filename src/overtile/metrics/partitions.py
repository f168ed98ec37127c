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

THRESHOLDS = tuple(step / 10 for step in range(11))


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
        1 - F-score of pairs of different pixels (the ISBI 2012 challenge's first measure): the
        share of pairs that lie together in both, as precision and recall, without the pairs of a
        pixel with itself, which V_rand counts; 0 is best.
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
    """
    width = int(prediction.max(initial=0)) + 1
    both = truth.astype(np.int64).ravel() * width + prediction.ravel()
    pairs, counts = np.unique(both, return_counts=True)
    return pairs // width, pairs % width, counts.astype(np.int64)


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
    would score 0.61 against itself. So the boundary is first continued beyond the edge, farther
    than any band is wide.
    """
    boundary = foreground <= threshold
    reach = int(ndimage.distance_transform_edt(boundary).max()) + 2 if not boundary.all() else 0
    skeleton = skeletonize(np.pad(boundary, reach, mode="edge"))
    inside = tuple(slice(reach, reach + size) for size in boundary.shape)
    return ndimage.label(~skeleton[inside])[0].astype(np.int32)


def partition_scores(truth: NDArray[np.integer], segments: NDArray[np.integer]) -> PartitionScores:
    """Scores of segments against those of the truth.

    Parameters
    ----------
    truth
        Segment ids (y x); 0 is no segment and left out.
    segments
        Predicted ids, same shape; all pixels of 0 together are one segment.

    Returns
    -------
    PartitionScores
        Without any foreground in the truth, all NaN.
    """
    inside = truth > 0
    total = int(inside.sum())
    if total == 0:
        return PartitionScores(*[np.nan] * 7)
    truth_ids, segment_ids, counts = shared_pixels(truth[inside], segments[inside])
    of_truth = np.bincount(truth_ids, counts)
    of_segment = np.bincount(segment_ids, counts)
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
    """
    scored = {
        threshold: [
            partition_scores(truth, thinned_segments(foreground, threshold))
            for truth, foreground in zip(truths, foregrounds, strict=True)
        ]
        for threshold in thresholds
    }
    best = max(thresholds, key=lambda t: float(np.mean([score.v_rand for score in scored[t]])))
    return best, scored[best]


def _sum_of_squares(counts: NDArray[np.generic]) -> float:
    return float((counts.astype(np.float64) ** 2).sum())


def _entropy(shares: NDArray[np.floating]) -> float:
    present = shares[shares > 0]
    return float(-(present * np.log(present)).sum())
