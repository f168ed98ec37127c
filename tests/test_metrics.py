"""Metrics against their definitions by brute force, and against scikit-image where it has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage
from skimage.metrics import adapted_rand_error, variation_of_information

from overtile import metrics
from overtile.errors import DataError, SettingsError
from overtile.io import open as open_image

IDS = hnp.arrays(np.int32, (5, 6), elements=st.integers(0, 4))


def pairs_together(truth: NDArray, prediction: NDArray) -> tuple[int, int, int]:
    """Ordered pairs of pixels that lie together in both, in truth, in prediction: one by one."""
    inside = truth.ravel() > 0
    t, p = truth.ravel()[inside], prediction.ravel()[inside]
    in_truth = t[:, None] == t
    in_prediction = p[:, None] == p
    return int((in_truth & in_prediction).sum()), int(in_truth.sum()), int(in_prediction.sum())


@given(IDS, IDS)
@settings(max_examples=100, deadline=None)
def test_v_rand_is_its_definition(truth: NDArray, prediction: NDArray) -> None:
    if not (truth > 0).any():
        assert np.isnan(metrics.partition_scores(truth, prediction).v_rand)
        return
    both, in_truth, in_prediction = pairs_together(truth, prediction)
    scores = metrics.partition_scores(truth, prediction)
    assert scores.v_rand == pytest.approx(both / (0.5 * in_truth + 0.5 * in_prediction))
    assert scores.v_rand_split == pytest.approx(both / in_truth)
    assert scores.v_rand_merge == pytest.approx(both / in_prediction)
    # The older error leaves out the pairs of a pixel with itself.
    alone = int((truth > 0).sum())
    rest = in_truth + in_prediction - 2 * alone
    expected = 1 - 2 * (both - alone) / rest if rest else 0
    assert scores.rand_error == pytest.approx(expected, abs=1e-12)


@given(IDS, IDS)
@settings(max_examples=60, deadline=None)
def test_rand_error_is_that_of_scikit_image(truth: NDArray, prediction: NDArray) -> None:
    """What it calls precision is a share of the truth's pairs: that is recall, our split part."""
    both, in_truth, in_prediction = pairs_together(truth, prediction)
    alone = int((truth > 0).sum())
    if in_truth == alone or in_prediction == alone or both == alone:
        return  # without a pair of different pixels its ratios divide 0 by 0
    prediction = prediction + 1  # its own segment 0 is left out where the truth is 0, as ours
    error, precision, recall = adapted_rand_error(truth, prediction, ignore_labels=(0,))
    scores = metrics.partition_scores(truth, prediction)
    assert scores.rand_error == pytest.approx(error, abs=1e-9)
    assert precision == pytest.approx((both - alone) / (in_truth - alone), abs=1e-9)
    assert recall == pytest.approx((both - alone) / (in_prediction - alone), abs=1e-9)
    # Its two numbers are our parts, once the pairs of a pixel with itself are counted again.
    split = (precision * (in_truth - alone) + alone) / in_truth
    merge = (recall * (in_prediction - alone) + alone) / in_prediction
    assert scores.v_rand_split == pytest.approx(split, abs=1e-9)
    assert scores.v_rand_merge == pytest.approx(merge, abs=1e-9)


@given(IDS, IDS)
@settings(max_examples=60, deadline=None)
def test_v_info_is_that_of_scikit_image(truth: NDArray, prediction: NDArray) -> None:
    """From its conditional entropies, by I = H - H(.|.); it has no foreground, so all is inside."""
    truth, prediction = truth + 1, prediction + 1
    merged, split = variation_of_information(truth, prediction)  # H(S|T), H(T|S), in bits

    def entropy(ids: NDArray) -> float:
        share = np.unique(ids, return_counts=True)[1] / ids.size
        return float(-(share * np.log2(share)).sum())

    h_truth, h_prediction = entropy(truth), entropy(prediction)
    scores = metrics.partition_scores(truth, prediction)
    shared = (h_truth + h_prediction - (merged + split)) / 2
    if h_truth + h_prediction:
        assert scores.v_info == pytest.approx(2 * shared / (h_truth + h_prediction), abs=1e-9)
    if h_prediction:
        assert scores.v_info_split == pytest.approx(shared / h_prediction, abs=1e-9)
    if h_truth:
        assert scores.v_info_merge == pytest.approx(shared / h_truth, abs=1e-9)


@given(IDS, IDS)
@settings(max_examples=40, deadline=None)
def test_v_info_is_over_the_foreground_of_the_truth(truth: NDArray, prediction: NDArray) -> None:
    """As scikit-image has it of the pixels there, in a row."""
    inside = truth > 0
    assume(inside.any())
    row, found = truth[inside], prediction[inside]
    split, merged = variation_of_information(row, found)  # H(S|T), H(T|S), in bits
    shares = [np.unique(ids, return_counts=True)[1] / len(row) for ids in (row, found)]
    h_truth, h_found = (float(-(share * np.log2(share)).sum()) for share in shares)
    scores = metrics.partition_scores(truth, prediction)
    if h_found:
        assert scores.v_info_split == pytest.approx((h_found - split) / h_found, abs=1e-9)
    if h_truth:
        assert scores.v_info_merge == pytest.approx((h_truth - merged) / h_truth, abs=1e-9)


@given(IDS, IDS, st.permutations(range(5)))
@settings(max_examples=40, deadline=None)
def test_names_of_segments_do_not_matter(
    truth: NDArray, prediction: NDArray, names: list[int]
) -> None:
    if not (truth > 0).any():
        return
    renamed = np.array(names)[prediction]
    one, other = (metrics.partition_scores(truth, p) for p in (prediction, renamed))
    assert vars(one) == pytest.approx(vars(other))


def test_perfect_split_and_merged() -> None:
    truth = np.repeat([[1, 1, 2, 2]], 4, axis=0)
    perfect = metrics.partition_scores(truth, truth)
    assert (perfect.v_rand, perfect.v_info, perfect.rand_error) == pytest.approx((1, 1, 0))
    split = metrics.partition_scores(truth, np.repeat([[1, 3, 2, 2]], 4, axis=0))
    assert (split.v_rand_merge, split.v_info_merge) == pytest.approx((1, 1))
    assert split.v_rand_split < 1 > split.v_info_split
    merged = metrics.partition_scores(truth, np.ones_like(truth))
    assert (merged.v_rand_split, merged.v_info_split) == pytest.approx((1, 1))
    assert merged.v_rand_merge < 1 > merged.v_info_merge
    cut = metrics.partition_scores(np.ones_like(truth), truth)
    assert (cut.v_info_split, cut.v_info_merge) == (0, 1)


def cells() -> NDArray[np.bool_]:
    """The inside of four cells whose wide boundaries leave the image."""
    inside = np.ones((60, 60), bool)
    inside[27:34], inside[:, 20:29] = False, False
    return inside


def test_truth_scores_1_against_itself() -> None:
    truth = ndimage.label(cells())[0]
    segments = metrics.thinned_segments(cells().astype(np.float32))
    assert segments.max() == truth.max() == 4
    assert metrics.partition_scores(truth, segments).v_rand == 1


def test_truth_scores_1_against_itself_on_real_slices(shared_data: Path) -> None:
    labels = open_image(shared_data / "isbi2012" / "train-labels.tif", as_label=True)
    for page in range(0, 30, 3):
        inside = np.asarray(labels.data[page]) > 0
        segments = metrics.thinned_segments(inside.astype(np.float32))
        assert metrics.partition_scores(ndimage.label(inside)[0], segments).v_rand == 1


@given(st.integers(0, 2**32 - 1), st.integers(1, 9))
@settings(max_examples=25, deadline=None)
def test_truth_of_any_cells_scores_1_against_itself(seed: int, width_px: int) -> None:
    """Cells grown from random points, with bands between them that meet the edge at any angle."""
    points = np.random.default_rng(seed).random((8, 2)) * (50, 70)
    pixels = np.indices((50, 70)).reshape(2, -1).T
    near = np.sort(np.linalg.norm(pixels[:, None] - points, axis=2), axis=1)
    inside = (near[:, 1] - near[:, 0] > width_px).reshape(50, 70)
    assume(inside.any())
    segments = metrics.thinned_segments(inside.astype(np.float32))
    assert metrics.partition_scores(ndimage.label(inside)[0], segments).v_rand == 1


def test_segments_of_everything_and_nothing() -> None:
    assert (metrics.thinned_segments(np.ones((8, 9))) == 1).all()
    assert metrics.thinned_segments(np.zeros((8, 9))).shape == (8, 9)


def test_one_threshold_serves_all_slices() -> None:
    """Each slice alone would choose another; the mean is best in between."""
    truth = ndimage.label(cells())[0]
    soft = np.where(cells(), 0.75, 0.65).astype(np.float32)
    hard = np.where(cells(), 0.95, 0.05).astype(np.float32)
    threshold, scores = metrics.best_threshold([truth, truth], [soft, hard])
    assert threshold == 0.7
    assert [score.v_rand for score in scores] == [1, 1]
    means = []
    for candidate in (0.1, 0.5, 0.7, 0.8):
        segments = [metrics.thinned_segments(p, candidate) for p in (soft, hard)]
        means.append(np.mean([metrics.partition_scores(truth, s).v_rand for s in segments]))
    assert np.argmax(means) == 2


@given(
    hnp.arrays(np.int16, (4, 5), elements=st.integers(-1, 3)),
    hnp.arrays(np.uint8, (4, 5), elements=st.integers(0, 3)),
)
@settings(max_examples=80, deadline=None)
def test_pixels_are_counted_one_by_one(truth: NDArray, prediction: NDArray) -> None:
    table = metrics.confusion(truth, prediction, 4)
    labelled = truth >= 0
    for row in range(4):
        for column in range(4):
            assert table[row, column] == ((truth == row) & (prediction == column)).sum()
    for number in range(4):
        a, b = (truth == number) & labelled, (prediction == number) & labelled
        union = (a | b).sum()
        expected = (a & b).sum() / union if union else np.nan
        assert metrics.iou(table)[number] == pytest.approx(expected, nan_ok=True)
        both = a.sum() + b.sum()
        expected = 2 * (a & b).sum() / both if both else np.nan
        assert metrics.dice(table)[number] == pytest.approx(expected, nan_ok=True)
    wrong = (truth != prediction)[labelled].mean() if labelled.any() else np.nan
    assert metrics.pixel_error(table) == pytest.approx(wrong, nan_ok=True)


def test_slices_without_foreground_choose_no_threshold() -> None:
    truth = ndimage.label(cells())[0]
    soft = np.where(cells(), 0.75, 0.65).astype(np.float32)
    threshold, scores = metrics.best_threshold([0 * truth, truth], [soft, soft])
    assert threshold == 0.7
    assert np.isnan(scores[0].v_rand)
    assert scores[1].v_rand == 1
    assert metrics.best_threshold([0 * truth], [soft], (0.3, 0.6))[0] == 0.3
    with pytest.raises(SettingsError, match=r"thresholds .* but got none: leave them out for 0"):
        metrics.best_threshold([truth], [soft], ())


def test_classes_that_do_not_fit_are_named() -> None:
    with pytest.raises(DataError, match=r"truth of \(2, 3\).*prediction of \(3, 2\)"):
        metrics.confusion(np.zeros((2, 3), int), np.zeros((3, 2), int), 2)
    with pytest.raises(DataError, match=r"class ids from 0 to 1 .* there is 2"):
        metrics.confusion(np.array([[0, 1]]), np.array([[2, 1]]), 2)
    with pytest.raises(DataError, match=r"class ids from 0 to 1 .* there is -1"):
        metrics.confusion(np.array([[0, 1]]), np.array([[-1, 1]]), 2)


def test_ids_that_do_not_fit_are_named() -> None:
    with pytest.raises(DataError, match=r"Segments of \(2, 3\).*of \(3, 2\)"):
        metrics.match_objects(np.ones((2, 3), int), np.ones((3, 2), int))
    with pytest.raises(DataError, match="ids from 0 to 2147483647, but they reach from -1 to 4"):
        metrics.match_objects(np.array([[1, 1]]), np.array([[-1, 4]]))
    with pytest.raises(DataError, match=r"reach from 1 to 2147483648: number the objects anew"):
        metrics.partition_scores(np.array([[1, 1]]), np.array([[1, 2**31]]))


@given(IDS, IDS, st.sampled_from([0.2, 0.5]))
@settings(max_examples=30, deadline=None)
def test_large_ids_cost_nothing(truth: NDArray, prediction: NDArray, threshold: float) -> None:
    """Ids of any size, as trackers give them, count as small ones do."""
    large = np.array([0, 2**31 - 1, 7, 10**9, 12])
    counted = metrics.match_objects(large[truth], large[prediction], threshold)
    expected = metrics.match_objects(truth, prediction, threshold)
    assert vars(counted) == pytest.approx(vars(expected))
    one = metrics.partition_scores(large[truth], large[prediction])
    other = metrics.partition_scores(truth, prediction)
    assert vars(one) == pytest.approx(vars(other), nan_ok=True)


def test_average_precision_and_its_sum() -> None:
    one, other = metrics.Matches(3, 1, 0, 2.5), metrics.Matches(1, 0, 3, 0.75)
    total = one + other
    assert vars(total) == {"found": 4, "invented": 1, "missed": 3, "overlap": 3.25}
    assert metrics.average_precision(total) == 4 / 8
    assert np.isnan(metrics.average_precision(metrics.Matches()))


def test_overlap_is_summed_over_matches() -> None:
    truth = np.array([[1, 1, 1, 1, 0, 2, 2, 2]])
    found = np.array([[5, 5, 5, 0, 0, 7, 7, 7]])
    assert metrics.match_objects(truth, found).overlap == pytest.approx(0.75 + 1)


@pytest.mark.parametrize(("width", "parts"), [(100, 2), (180, 1)])
def test_how_wide_a_boundary_is_continued(width: int, parts: int) -> None:
    """Within the stated bound a band keeps its sides apart; far beyond it they may merge."""
    inside = np.ones((300, 300), np.float32)
    inside[:, 60 : 60 + width] = 0
    assert metrics.thinned_segments(inside).max() == parts


def test_nan_is_not_foreground() -> None:
    inside = np.where(cells(), 1.0, np.nan)
    assert metrics.thinned_segments(inside).max() == 4
