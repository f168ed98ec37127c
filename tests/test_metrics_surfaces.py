"""Surfaces and boundaries by brute force, and against the program of Nikolov et al. 2021."""

from __future__ import annotations

import math
import warnings
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from skimage.segmentation import find_boundaries

from overtile import metrics
from overtile.errors import DataError, SettingsError
from overtile.io import open as open_image

SPACINGS = st.sampled_from([0.5, 1.0, 1.25, 3.0])


@st.composite
def cases(draw: st.DrawFn) -> tuple[NDArray, NDArray, tuple[float, ...]]:
    """Two masks of one shape with two or three axes, and a spacing."""
    axes = draw(st.integers(2, 3))
    shape = draw(st.tuples(*[st.integers(1, 6)] * axes))
    masks = [draw(hnp.arrays(np.bool_, shape)) for _ in range(2)]
    return masks[0], masks[1], draw(st.tuples(*[SPACINGS] * axes))


def published(truth: NDArray, prediction: NDArray, spacing: Any) -> dict[str, NDArray]:
    """The distances by the program that came with the paper."""
    import surface_distance

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it calls SciPy by old names
        return dict(surface_distance.compute_surface_distances(truth, prediction, spacing))


def ball(shape: tuple[int, ...], centre: tuple[float, ...], radius: float) -> NDArray[np.bool_]:
    offsets = np.indices(shape).T - centre
    return (np.linalg.norm(offsets, axis=-1) <= radius).T


@given(cases(), st.sampled_from([0.0, 0.7, 1.0, 2.5, 3.0]))
@settings(max_examples=40, deadline=None)
def test_figures_are_those_of_the_published_program(case: Any, tolerance: float) -> None:
    import surface_distance

    truth, prediction, _ = case
    assume(truth.any() and prediction.any())  # it fails without
    theirs, ours = published(*case), metrics.surface_distances(*case)
    for own, other, their_areas, own_areas in (
        ("to_prediction", "distances_gt_to_pred", "surfel_areas_gt", "truth_areas"),
        ("to_truth", "distances_pred_to_gt", "surfel_areas_pred", "prediction_areas"),
    ):
        pairs = np.column_stack([getattr(ours, own), getattr(ours, own_areas)])
        order = np.lexsort(np.round(pairs, 9).T[::-1])
        expected = np.column_stack([theirs[other], theirs[their_areas]])
        expected = expected[np.lexsort(np.round(expected, 9).T[::-1])]
        assert pairs[order] == pytest.approx(expected)
    overlap = metrics.surface_overlap(ours, tolerance)
    assert metrics.surface_dice(overlap) == pytest.approx(
        surface_distance.compute_surface_dice_at_tolerance(theirs, tolerance * (1 + 1e-9))
    )
    for percent in (50, 95, 100):
        # Where the share is met exactly, rounding decides which of two elements it takes.
        low, high = (
            surface_distance.compute_robust_hausdorff(theirs, percent + change)
            for change in (-1e-6, 1e-6)
        )
        assert low <= metrics.hausdorff(ours, percent) <= high
    one, other = surface_distance.compute_average_surface_distance(theirs)
    a, b = theirs["surfel_areas_gt"].sum(), theirs["surfel_areas_pred"].sum()
    assert metrics.mean_surface_distance(ours) == pytest.approx((one * a + other * b) / (a + b))


def elements(mask: NDArray, known: NDArray) -> list[tuple[int, ...]]:
    """The corners of the grid around which mask and labels make an element, one by one."""
    found = []
    for corner in product(*(range(size + 1) for size in mask.shape)):
        values, labelled = [], []
        for offset in product((-1, 0), repeat=mask.ndim):
            pixel = tuple(c + o for c, o in zip(corner, offset, strict=True))
            inside = all(0 <= p < n for p, n in zip(pixel, mask.shape, strict=True))
            values.append(bool(inside and mask[pixel]))
            labelled.append(not inside or bool(known[pixel]))
        if any(values) and not all(values) and all(labelled):
            found.append(corner)
    return found


@given(cases(), st.data())
@settings(max_examples=40, deadline=None)
def test_distances_are_those_between_all_elements(case: Any, data: st.DataObject) -> None:
    truth, prediction, spacing = case
    known = data.draw(hnp.arrays(np.bool_, truth.shape, elements=st.booleans()) | st.none())
    ours = metrics.surface_distances(truth, prediction, spacing, known)
    labelled = np.ones(truth.shape, bool) if known is None else known
    a, b = (np.array(elements(mask, labelled), float) for mask in (truth, prediction))
    assert (len(ours.to_prediction), len(ours.to_truth)) == (len(a), len(b))
    if len(a) and len(b):
        between = cdist(a * spacing, b * spacing)
        assert np.sort(ours.to_prediction) == pytest.approx(np.sort(between.min(axis=1)))
        assert np.sort(ours.to_truth) == pytest.approx(np.sort(between.min(axis=0)))
        assert metrics.hausdorff(ours, 100) == pytest.approx(
            max(between.min(axis=1).max(), between.min(axis=0).max())
        )
    else:
        assert np.isinf(ours.to_prediction).all()
        assert np.isinf(ours.to_truth).all()


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("radius", [6, 9])
def test_the_length_and_area_of_round_things(axes: int, radius: int) -> None:
    """Marching cubes on a mask overestimate both by up to 10 % (their steps are 45 degrees)."""
    mask = ball((24,) * axes, (11.6,) * axes, radius)
    distances = metrics.surface_distances(mask, mask, (1.0,) * axes)
    true = 2 * math.pi * radius if axes == 2 else 4 * math.pi * radius**2
    assert true * 0.97 < distances.truth_areas.sum() < true * 1.12


def test_a_box_that_grows_by_a_pixel() -> None:
    """Its elements are a pixel from the other, at corners the diagonal of a pixel."""
    truth, larger = np.zeros((2, 20, 30), bool)
    truth[8:12, 10:20] = larger[7:13, 9:21] = True
    distances = metrics.surface_distances(truth, larger, (2.0, 1.0))
    assert set(distances.to_prediction) == {1.0, 2.0}
    assert distances.to_truth.max() == pytest.approx(math.sqrt(5))
    assert metrics.surface_dice(metrics.surface_overlap(distances, 0.9)) == 0
    assert metrics.surface_dice(metrics.surface_overlap(distances, 2.3)) == 1


def test_absent_from_both_one_and_none() -> None:
    nothing, something = np.zeros((2, 9, 9), bool)
    something[2:5, 3:6] = True
    both = metrics.surface_distances(nothing, nothing, (1, 1))
    assert math.isnan(metrics.hausdorff(both))
    assert math.isnan(metrics.mean_surface_distance(both))
    assert math.isnan(metrics.surface_dice(metrics.surface_overlap(both, 1)))
    assert math.isnan(metrics.boundary_f1(metrics.match_boundaries(nothing, nothing)))
    for pair in ((nothing, something), (something, nothing)):
        one = metrics.surface_distances(*pair, (1, 1))
        assert metrics.hausdorff(one) == metrics.mean_surface_distance(one) == math.inf
        assert metrics.surface_dice(metrics.surface_overlap(one, 100)) == 0
        assert metrics.boundary_f1(metrics.match_boundaries(*pair)) == 0
    same = metrics.surface_distances(something, something, (1, 1))
    assert metrics.hausdorff(same) == metrics.mean_surface_distance(same) == 0
    assert metrics.surface_dice(metrics.surface_overlap(same, 0)) == 1
    assert metrics.boundary_f1(metrics.match_boundaries(something, something, 0)) == 1


def test_images_without_a_pixel() -> None:
    none = np.zeros((0, 7), bool)
    assert math.isnan(metrics.hausdorff(metrics.surface_distances(none, none, (1, 1))))
    assert metrics.match_boundaries(none, none) == metrics.BoundaryMatches()


@given(cases(), cases(), st.sampled_from([0.7, 1.1]))
@settings(max_examples=20, deadline=None)
def test_counts_of_images_add_up(one: Any, other: Any, tolerance: float) -> None:
    """Two images side by side, too far apart to meet, give the sum of each by itself."""
    (a, b, spacing), (c, d, _) = one, other
    assume(a.ndim == c.ndim)
    far = [np.pad(mask, 8) for mask in (a, b, c, d)]
    size = np.max([mask.shape for mask in far], axis=0)
    grown = [
        np.pad(mask, [(0, n - m) for n, m in zip(size, mask.shape, strict=True)]) for mask in far
    ]
    truth, prediction = (np.concatenate(pair) for pair in (grown[::2], grown[1::2]))
    parts = [
        metrics.surface_overlap(metrics.surface_distances(*pair, spacing), tolerance)
        for pair in (grown[:2], grown[2:], (truth, prediction))
    ]
    total = parts[0] + parts[1]
    assert (total.near, total.total) == pytest.approx((parts[2].near, parts[2].total))
    matches = [
        metrics.match_boundaries(*pair, tolerance)
        for pair in (grown[:2], grown[2:], (truth, prediction))
    ]
    assert matches[0] + matches[1] == matches[2]


def boundary(mask: NDArray, known: NDArray) -> NDArray[np.intp]:
    """Pixels of the mask beside a pixel that is not of it, one by one."""
    found = []
    for pixel in map(tuple, np.argwhere(mask & known)):
        beside = []
        for axis, step in product(range(mask.ndim), (-1, 1)):
            other = list(pixel)
            other[axis] += step
            if 0 <= other[axis] < mask.shape[axis]:
                beside.append(tuple(other))
        if any(known[other] and not mask[other] for other in beside):
            found.append(pixel)
    return np.array(found).reshape(-1, mask.ndim)


@given(cases(), st.sampled_from([0, 1, 1.5, 2]), st.data())
@settings(max_examples=40, deadline=None)
def test_boundaries_are_matched_one_by_one(
    case: Any, tolerance_px: float, data: st.DataObject
) -> None:
    truth, prediction, _ = case
    known = data.draw(hnp.arrays(np.bool_, truth.shape) | st.none())
    labelled = np.ones(truth.shape, bool) if known is None else known
    true, predicted = boundary(truth, labelled), boundary(prediction, labelled)
    if known is None:
        for mask, pixels in ((truth, true), (prediction, predicted)):
            inner = find_boundaries(mask, connectivity=1, mode="inner", background=0)
            assert len(pixels) == inner.sum()
    near = cdist(true, predicted) <= tolerance_px + 1e-9
    matches = metrics.match_boundaries(truth, prediction, tolerance_px, known)
    right, found = int(near.any(axis=0).sum()), int(near.any(axis=1).sum())
    assert matches == metrics.BoundaryMatches(right, len(predicted), found, len(true))
    if len(true) and len(predicted) and right:
        p, r = right / len(predicted), found / len(true)
        assert metrics.boundary_f1(matches) == pytest.approx(2 * p * r / (p + r))


def test_a_volume_of_real_data(shared_data: Path) -> None:
    """Both classes of a hippocampus, moved by a voxel, as the published program has them."""
    import surface_distance

    file = sorted((shared_data / "msd").rglob("labelsTr/hippo*.nii*"))[0]
    ids = np.asarray(open_image(file, as_label=True).data[:])
    for number in (1, 2):
        truth = ids == number
        prediction = np.roll(truth, (1, -1), (0, 1))
        spacing = (1.0, 1.5, 2.0)
        ours = metrics.surface_distances(truth, prediction, spacing)
        theirs = published(truth, prediction, spacing)
        assert metrics.hausdorff(ours) == surface_distance.compute_robust_hausdorff(theirs, 95)
        overlap = metrics.surface_overlap(ours, 1.2)
        assert metrics.surface_dice(overlap) == pytest.approx(
            surface_distance.compute_surface_dice_at_tolerance(theirs, 1.2)
        )


def test_what_cannot_be_compared_is_said() -> None:
    flat, deep = np.zeros((4, 5), bool), np.zeros((4, 5, 6), bool)
    with pytest.raises(DataError, match=r"shapes \(4, 5\), \(4, 5, 6\) cannot.*\(y x\) or \(z y x"):
        metrics.surface_distances(flat, deep, (1, 1))
    with pytest.raises(DataError, match=r"shapes \(4\,\), \(4\,\) cannot be compared"):
        metrics.match_boundaries(flat[:, 0], flat[:, 0])
    for spacing in ((1, 1, 1), (1, 0), (1, math.nan), (math.inf, 1)):
        with pytest.raises(DataError, match=r"spacing of 2 positive numbers.*size of a pixel, or"):
            metrics.surface_distances(flat, flat, spacing)
    distances = metrics.surface_distances(flat, flat, (1, 1))
    for tolerance in (-1, math.nan):
        with pytest.raises(SettingsError, match=r"tolerance from 0 up .* but got (-1|nan): give"):
            metrics.surface_overlap(distances, tolerance)
        with pytest.raises(SettingsError, match=r"tolerance from 0 up"):
            metrics.match_boundaries(flat, flat, tolerance)
    for percent in (0, 101, math.nan):
        with pytest.raises(SettingsError, match=r"percentage above 0 and up to 100 .*95 is usual"):
            metrics.hausdorff(distances, percent)
