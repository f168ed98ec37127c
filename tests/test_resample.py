"""Resampling against SciPy, by window as whole, and the place of pixels in the world."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from overtile.errors import DataError
from overtile.image import Georeference, Image, Orientation
from overtile.resample import PixelSize, Resampled, factors, rescaled, size_of_pixels, to_pixel_size

RANDOM = np.random.default_rng(0)


def by_scipy(array: NDArray[Any], shape: tuple[int, ...], order: int) -> NDArray[Any]:
    """The same extent in other pixels, by SciPy: centres at (i + 1/2) step - 1/2."""
    steps = [old / new for old, new in zip(array.shape, shape, strict=True)]
    if order == 1:
        sigma = [max(0.0, (step - 1) / 2) for step in steps]
        radius = [int(np.ceil(4 * s)) for s in sigma]
        array = ndimage.gaussian_filter(array, sigma, mode="nearest", radius=radius)
    centres = np.meshgrid(
        *[(np.arange(n) + 0.5) * step - 0.5 for n, step in zip(shape, steps, strict=True)],
        indexing="ij",
    )
    return ndimage.map_coordinates(array, centres, order=order, mode="nearest")


SIZES = st.tuples(*[st.integers(1, 14)] * 3)


@settings(max_examples=60, deadline=None)
@given(SIZES, SIZES, st.data())
def test_it_is_linear_interpolation_whole_and_by_window(
    old: tuple[int, ...], new: tuple[int, ...], data: st.DataObject
) -> None:
    array = RANDOM.normal(size=old)
    made = Resampled(array, new, nearest=False)
    whole = made[()]
    assert whole.shape == new == made.shape
    np.testing.assert_allclose(whole, by_scipy(array, new, 1), atol=1e-6)
    window = tuple(
        slice(start, data.draw(st.integers(start + 1, size)))
        for size in new
        for start in [data.draw(st.integers(0, size - 1))]
    )
    assert np.array_equal(made[window], whole[window])


@settings(max_examples=60, deadline=None)
@given(SIZES, SIZES)
def test_ids_are_those_of_the_nearest_pixel(old: tuple[int, ...], new: tuple[int, ...]) -> None:
    """By brute force: no other pixel's centre is nearer."""
    array = RANDOM.integers(0, 2**30, old)
    found = Resampled(array, new, nearest=True)[()]
    assert found.dtype == array.dtype
    for place in np.ndindex(*new):
        at = [(i + 0.5) * n / m - 0.5 for i, n, m in zip(place, old, new, strict=True)]
        far = np.array([np.abs(np.arange(n) - a).min() for n, a in zip(old, at, strict=True)])
        where = np.argwhere(array == found[place])
        assert (np.abs(where - at) <= far + 1e-9).all(axis=1).any()


@settings(max_examples=60, deadline=None)
@given(SIZES, SIZES)
def test_missing_pixels_stay_where_they_are_and_spoil_no_others(
    old: tuple[int, ...], new: tuple[int, ...]
) -> None:
    """Of a constant image everything is the constant, but what is nearest to a missing pixel."""
    missing = RANDOM.random(old) < 0.2
    array = np.where(missing, np.nan, 7.0)
    found = Resampled(array, new, nearest=False)[()]
    where = Resampled(missing.astype(np.uint8), new, nearest=True)[()] == 1
    assert np.array_equal(np.isnan(found), where)
    np.testing.assert_allclose(found[~where], 7)


def test_integers_and_single_indices() -> None:
    array = RANDOM.integers(0, 60000, (3, 8, 9)).astype(np.uint16)
    made = Resampled(array, (3, 16, 18), nearest=False)
    assert made.dtype == np.float32
    assert Resampled(array.astype(np.int32), (3, 8, 9), nearest=False).dtype == np.float64
    assert np.array_equal(made[1, 2:5, 7], made[()][1, 2:5, 7])
    assert np.array_equal(Resampled(array, array.shape, nearest=False)[()], array)


def test_a_ramp_stays_a_ramp() -> None:
    """Linear functions of the place in the world are kept, away from the edge."""
    image = Image(np.arange(40.0)[None].repeat(6, 0), "yx", (1.0, 0.5), "micrometer")
    made = to_pixel_size(image, PixelSize((1000.0, 250.0), "nanometer"))
    assert made.data.shape == (6, 80)
    assert made.spacing == (1.0, 0.25)
    middles = (np.arange(80) + 0.5) / 2 - 0.5
    np.testing.assert_allclose(made.data[3][1:-1], middles[1:-1])


def test_sizes_that_nearly_agree_are_left_alone() -> None:
    image = Image(np.zeros((6, 7)), "yx", (1.004, 0.5), "micrometer")
    assert factors(image, PixelSize((1.0, 0.25), "micrometer")) == (1.0, 2.0)
    assert to_pixel_size(image, PixelSize((1.0, 0.5), "micrometer")) is image
    assert str(size_of_pixels(image, 2)) == "1.004 x 0.5 micrometer"
    assert size_of_pixels(image, 3) is None


def test_what_cannot_be_converted_is_refused() -> None:
    wanted = PixelSize((1.0, 1.0), "micrometer")
    with pytest.raises(DataError, match=r"states no size of its pixels.*1 x 1 micrometer"):
        factors(Image(np.zeros((6, 7)), "yx"), wanted)
    with pytest.raises(DataError, match=r"a\.tif states its pixel size in 'furlong', which cannot"):
        factors(Image(np.zeros((6, 7)), "yx", (1.0, 1.0), "furlong"), wanted, "a.tif")


def test_the_place_in_the_world_is_kept() -> None:
    """Corners of the map, and the centre of the volume, stay where they were."""
    place = Georeference("EPSG:32633", (2.0, 0.5, 100.0, 0.25, -2.0, 900.0))
    image = Image(np.zeros((3, 10, 20)), "cyx", (2.0, 2.0), "meter", frame=place)
    moved = rescaled(image, (2.0, 0.5)).frame
    assert isinstance(moved, Georeference)
    for u, v in ((0, 0), (1, 0), (0, 1), (1, 1)):
        a, b, c, d, e, f = place.transform
        x, y = a * 20 * u + b * 10 * v + c, d * 20 * u + e * 10 * v + f
        a, b, c, d, e, f = moved.transform
        assert np.allclose((a * 10 * u + b * 20 * v + c, d * 10 * u + e * 20 * v + f), (x, y))

    affine = ((0.0, 2.0, 0.1, 5.0), (-1.0, 0.0, 0.2, 6.0), (0.3, 0.0, 4.0, 7.0))
    volume = Image(
        np.zeros((4, 6, 8)), "zyx", (4.0, 2.0, 1.0), "millimeter", frame=Orientation(affine)
    )
    new = rescaled(volume, (2.0, 1.0, 0.5))
    assert isinstance(new.frame, Orientation)
    middle = np.array(affine) @ [3.5, 2.5, 1.5, 1]
    assert np.allclose(np.array(new.frame.affine) @ [1.5, 2.5, 3.5, 1], middle)
