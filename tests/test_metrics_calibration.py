"""Calibration pixel by pixel, and against scikit-learn; pixel scores against scikit-learn too."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from sklearn import metrics as sklearn_metrics
from sklearn.calibration import calibration_curve

from overtile import metrics
from overtile.errors import DataError, SettingsError


@st.composite
def cases(draw: st.DrawFn) -> tuple[NDArray, NDArray, int]:
    """A truth, probabilities of one to four classes, some of them round, and a number of bins."""
    classes = draw(st.integers(1, 4))
    shape = draw(st.tuples(st.integers(0, 4), st.integers(1, 5)))
    raw = draw(
        hnp.arrays(np.float64, (classes, *shape), elements=st.sampled_from([0.5, 1, 2, 3.3]))
    )
    probabilities = (raw / raw.sum(axis=0)).astype(draw(st.sampled_from([np.float32, np.float64])))
    truth = draw(hnp.arrays(np.int16, shape, elements=st.integers(-1, classes - 1)))
    return truth, probabilities, draw(st.integers(1, 12))


@given(cases())
@settings(max_examples=80, deadline=None)
def test_confidence_is_counted_one_by_one(case: tuple[NDArray, NDArray, int]) -> None:
    truth, probabilities, bins = case
    chosen: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    for pixel in np.ndindex(truth.shape):
        values = [float(layer[pixel]) for layer in probabilities]
        if truth[pixel] >= 0:
            number = next(
                m for m in range(bins) if max(values) <= np.linspace(0, 1, bins + 1)[m + 1]
            )
            chosen[number].append((max(values), values.index(max(values)) == truth[pixel]))
    counts = metrics.confidences(*case)
    total = sum(map(len, chosen))
    expected = 0.0
    for inside, row in zip(chosen, metrics.reliability(counts), strict=True):
        assert row.pixels == len(inside)
        if inside:
            confidence, accuracy = np.mean(inside, axis=0)
            assert (row.confidence, row.accuracy) == pytest.approx((confidence, accuracy))
            assert row.above < row.confidence * (1 + 1e-9)
            assert row.confidence <= row.upto * (1 + 1e-9)
            expected += len(inside) / total * abs(confidence - accuracy)
        else:
            assert math.isnan(row.confidence)
            assert math.isnan(row.accuracy)
    error = metrics.calibration_error(counts)
    assert error == pytest.approx(expected if total else math.nan, nan_ok=True, abs=1e-12)


@given(cases())
@settings(max_examples=60, deadline=None)
def test_bins_are_those_of_scikit_learn(case: tuple[NDArray, NDArray, int]) -> None:
    truth, probabilities, bins = case
    rows = [row for row in metrics.reliability(metrics.confidences(*case)) if row.pixels]
    labelled = truth >= 0
    if not labelled.any():
        assert not rows
        return
    confidence = probabilities.max(axis=0)[labelled].astype(np.float64)
    right = (probabilities.argmax(axis=0) == truth)[labelled]
    accuracy, mean = calibration_curve(right, np.minimum(confidence, 1), n_bins=bins, pos_label=1)
    assert [row.accuracy for row in rows] == pytest.approx(accuracy)
    assert [row.confidence for row in rows] == pytest.approx(mean)


def test_known_cases() -> None:
    """Sure and right 0, sure and wrong 1; right as often as it says 0; nothing known NaN."""
    truth = np.zeros((10, 10), np.int16)
    sure = np.stack([np.ones((10, 10)), np.zeros((10, 10))])
    assert metrics.calibration_error(metrics.confidences(truth, sure)) == 0
    assert metrics.calibration_error(metrics.confidences(truth, sure[::-1])) == 1
    truth[:3] = 1
    fair = np.stack([np.full((10, 10), 0.7), np.full((10, 10), 0.3)])
    error = metrics.calibration_error(metrics.confidences(truth, fair))
    assert error == pytest.approx(0, abs=1e-12)
    unknown = metrics.confidences(truth, np.full((2, 10, 10), np.nan))
    assert math.isnan(metrics.calibration_error(unknown))
    assert not metrics.confidences(np.full((10, 10), -1), fair).pixels.any()


@given(cases(), cases())
@settings(max_examples=20, deadline=None)
def test_images_add_up(
    one: tuple[NDArray, NDArray, int], other: tuple[NDArray, NDArray, int]
) -> None:
    """Of several images as of one with all their pixels."""
    pixels = []
    for truth, probabilities, _ in (one, other):
        padded = np.zeros((4, truth.size))
        padded[: len(probabilities)] = probabilities.reshape(len(probabilities), -1)
        pixels.append((truth.ravel(), padded))
    first, second = (metrics.confidences(*image, 7) for image in pixels)
    whole = metrics.confidences(
        np.concatenate([truth for truth, _ in pixels]),
        np.concatenate([likely for _, likely in pixels], axis=1),
        7,
    )
    for name, value in vars(first + second).items():
        assert value == pytest.approx(getattr(whole, name))


def test_what_is_no_probability_is_said() -> None:
    truth = np.zeros((2, 3), int)
    with pytest.raises(DataError, match=r"Probabilities of \(2, 3, 2\) do not fit .* of \(2, 3\)"):
        metrics.confidences(truth, np.zeros((2, 3, 2)))
    with pytest.raises(DataError, match=r"reach from 2 to 8: apply softmax to logits"):
        metrics.confidences(truth[:1, :2], np.array([[[2.0, -3]], [[-1, 8]]]))
    with pytest.raises(SettingsError, match=r"at least one bin of confidence, but got 0: 15 is"):
        metrics.confidences(truth, np.full((1, 2, 3), 0.5), 0)


@given(
    hnp.arrays(np.int16, (4, 5), elements=st.integers(-1, 3)),
    hnp.arrays(np.uint8, (4, 5), elements=st.integers(0, 3)),
)
@settings(max_examples=60, deadline=None)
def test_pixel_scores_are_those_of_scikit_learn(truth: NDArray, prediction: NDArray) -> None:
    table = metrics.confusion(truth, prediction, 4)
    labelled = truth >= 0
    t, p = truth[labelled], prediction[labelled]
    if not labelled.any():
        assert math.isnan(metrics.pixel_accuracy(table))
        return
    assert (table == sklearn_metrics.confusion_matrix(t, p, labels=range(4))).all()
    assert metrics.pixel_accuracy(table) == pytest.approx(sklearn_metrics.accuracy_score(t, p))
    assert metrics.pixel_error(table) == pytest.approx(sklearn_metrics.zero_one_loss(t, p))
    for ours, theirs in (
        (metrics.iou(table), sklearn_metrics.jaccard_score),
        (metrics.dice(table), sklearn_metrics.f1_score),
    ):
        # Of a class that does not occur it has no score; it takes one from the caller.
        expected = theirs(t, p, labels=range(4), average=None, zero_division=0)
        occurs = np.isin(range(4), np.concatenate([t, p]))
        assert ours[occurs] == pytest.approx(expected[occurs])
        assert np.isnan(ours[~occurs]).all()
