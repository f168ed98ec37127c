"""The warping error by its definition: what topology-preserving flips can reach, and no more."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage

from overtile import metrics
from overtile.errors import DataError, SettingsError
from overtile.io import open as open_image

BY_CORNERS = np.ones((3, 3))
SMALL = hnp.arrays(np.bool_, st.tuples(st.integers(1, 5), st.integers(1, 6)))


def topology(mask: NDArray) -> tuple[int, int]:
    """The number of objects joined through faces, and of pieces of background through corners."""
    framed = np.pad(mask, 1)
    return ndimage.label(framed)[1], ndimage.label(~framed, BY_CORNERS)[1]


def simple_pixels(mask: NDArray) -> list[tuple[int, int]]:
    """Those whose flip leaves the topology of the whole image as it is."""
    found = []
    for pixel in np.ndindex(mask.shape):
        other = mask.copy()
        other[pixel] ^= True
        if topology(other) == topology(mask):
            found.append(pixel)
    return found


@given(SMALL)
@settings(max_examples=60, deadline=None)
def test_a_pixel_flips_where_the_whole_topology_allows_it(mask: NDArray) -> None:
    """Each pixel alone: the table of neighbours against numbers of objects and holes."""
    allowed = simple_pixels(mask)
    for pixel in np.ndindex(mask.shape):
        wanted = mask.copy()
        wanted[pixel] ^= True
        flips = bool((metrics.warped(mask, wanted) == wanted).all())
        assert flips == (pixel in allowed)


@given(SMALL, st.data())
@settings(max_examples=80, deadline=None)
def test_topology_stays_and_nothing_is_left_to_flip(truth: NDArray, data: st.DataObject) -> None:
    prediction = data.draw(hnp.arrays(np.bool_, truth.shape))
    result = metrics.warped(truth, prediction)
    assert topology(result) == topology(truth)
    differs = result != prediction
    assert not any(differs[pixel] for pixel in simple_pixels(result))
    assert not (differs & (truth == prediction)).any()  # right pixels stay right


@pytest.mark.parametrize("seed", range(12))
def test_flips_one_at_a_time_lead_to_the_result(seed: int) -> None:
    """All masks that flips can reach, one by one; their order may miss the best of them."""
    truth, prediction = np.random.default_rng(seed).random((2, 3, 4)) < 0.5
    reached, waiting = {truth.tobytes()}, [truth]
    while waiting:
        mask = waiting.pop()
        for pixel in simple_pixels(mask):
            other = mask.copy()
            other[pixel] ^= True
            if mask[pixel] != prediction[pixel] and other.tobytes() not in reached:
                reached.add(other.tobytes())
                waiting.append(other)
    assert metrics.warped(truth, prediction).tobytes() in reached


def disk(row: float, column: float, radius: float) -> NDArray[np.bool_]:
    y, x = np.indices((60, 64))
    return np.hypot(y - row, x - column) <= radius


def error(truth: NDArray, prediction: NDArray, farthest_px: float = math.inf) -> float:
    return metrics.warping_error(metrics.warp_and_count(truth, prediction, None, farthest_px))


def test_a_moved_boundary_costs_nothing() -> None:
    truth = disk(30, 25, 14)
    assert error(truth, truth) == 0
    assert error(truth, disk(33, 29, 11)) == 0
    assert error(truth, disk(10, 10, 20)) == 0  # even beyond the image's edge
    ring = truth & ~disk(30, 25, 7)
    assert error(ring, disk(28, 27, 15) & ~disk(29, 25, 5)) == 0


def test_a_merger_costs_the_line_that_is_missing_and_a_hole_its_pixels() -> None:
    whole = np.ones((60, 64), bool)
    cut = whole.copy()
    cut[:, 30:35] = False
    assert error(cut, whole) == pytest.approx(60 / whole.size)
    # A split costs a bridge across: the cut grows in from both edges until one row is left.
    assert error(whole, cut) == pytest.approx(5 / whole.size)
    hole = disk(30, 25, 14) & ~disk(30, 25, 4)
    missing = int(disk(30, 25, 4).sum())
    assert error(disk(30, 25, 14), hole) == pytest.approx(missing / whole.size)
    # In the other direction a hole of the truth shrinks to one pixel.
    assert error(hole, disk(30, 25, 14)) == pytest.approx(1 / whole.size)
    # An object that is missing shrinks to one pixel, one that is too many costs all of its own.
    assert error(disk(30, 25, 14), ~whole) == pytest.approx(1 / whole.size)
    assert error(~whole, disk(30, 25, 4)) == pytest.approx(missing / whole.size)


def test_a_slanting_line_of_one_pixel_parts_cells() -> None:
    """Its pixels meet at corners alone, and so does the way through it."""
    truth = ~np.eye(20, dtype=bool)
    assert error(truth, np.ones_like(truth)) == pytest.approx(20 / 400)
    broken = truth.copy()
    broken[8, 8] = True
    assert error(truth, broken) == pytest.approx(1 / 400)


@pytest.mark.parametrize("farthest_px", [0, 1, 3])
def test_boundaries_move_no_farther_than_they_may(farthest_px: int) -> None:
    """A straight edge that is moved by 5 px, by so many of which it may follow."""
    truth, moved = np.zeros((2, 30, 40), bool)
    truth[:, :20] = moved[:, :25] = True
    assert error(truth, moved, farthest_px) == pytest.approx(30 * (5 - farthest_px) / truth.size)
    assert error(truth, moved, 5) == 0
    # Where there is no boundary nothing moves.
    assert error(np.ones_like(truth), truth, farthest_px) == pytest.approx(600 / truth.size)


def test_unlabelled_pixels_are_not_counted() -> None:
    truth, prediction = disk(30, 25, 14), disk(30, 25, 14) & ~disk(30, 25, 3)
    known = ~disk(30, 25, 5)
    counted = metrics.warp_and_count(truth, prediction, known)
    assert counted == metrics.Warping(0, int(known.sum()))
    nothing = metrics.warp_and_count(truth, prediction, np.zeros_like(known))
    assert math.isnan(metrics.warping_error(nothing))
    assert metrics.warping_error(counted + metrics.Warping(5, 0)) == 5 / known.sum()


def test_real_slices_that_are_drawn_wider_or_shifted(shared_data: Path) -> None:
    """A membrane a pixel wider costs hardly anything, though it is wrong at many pixels."""
    labels = open_image(shared_data / "isbi2012" / "train-labels.tif", as_label=True)
    truth = np.asarray(labels.data[0]) > 0
    wider = ndimage.binary_erosion(truth, border_value=1)
    assert (wider != truth).mean() > 0.05
    assert error(truth, wider) < 0.005
    assert error(truth, truth) == 0


def test_what_cannot_be_warped_is_said() -> None:
    flat = np.zeros((4, 5), bool)
    words = r"truth of \(4, 5\) pixels .* mask of \(5, 4\): expected two slices \(y x\)"
    with pytest.raises(DataError, match=words):
        metrics.warped(flat, flat.T)
    with pytest.raises(DataError, match=words):
        metrics.warp_and_count(flat, flat, flat.T)
    with pytest.raises(DataError, match=r"truth of \(4, 5, 1\) pixels"):
        metrics.warp_and_count(flat[..., None], flat[..., None])
    for bad in (-1, math.nan):
        with pytest.raises(SettingsError, match=r"pixels from 0 up, but got (-1|nan): leave it"):
            metrics.warped(flat, flat, bad)
