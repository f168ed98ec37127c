"""Flips and quarter turns: all that are different, exact, and undone exactly."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overtile.symmetry import turns


def known(dimensions: int, *, flips: bool, rotations: bool, exchange: bool) -> set[bytes]:
    """By numpy's own functions: every image that flips and turns make of one."""
    image = np.arange(4**dimensions).reshape((4,) * dimensions)
    quarter = (range(4) if exchange else (0, 2)) if rotations else (0,)
    axes = range(dimensions) if flips else ()
    subsets = product(*[((), (axis,)) for axis in axes])
    return {
        np.flip(np.rot90(image, times, (-2, -1)), sum(some, ())).tobytes()
        for some in subsets
        for times in quarter
    }


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("flips", [True, False])
@pytest.mark.parametrize("rotations", [True, False])
@pytest.mark.parametrize("exchange", [True, False])
def test_they_are_all_and_different(
    dimensions: int, flips: bool, rotations: bool, exchange: bool
) -> None:
    chosen = {"flips": flips, "rotations": rotations, "exchange": exchange}
    made = turns(dimensions, **chosen)
    image = np.arange(4**dimensions).reshape((4,) * dimensions)
    assert made[0].is_identity
    assert sum(turn.is_identity for turn in made) == 1
    images = [turn(image).tobytes() for turn in made]
    assert len(set(images)) == len(images)
    assert set(images) == known(dimensions, **chosen)


@given(st.integers(2, 3).flatmap(lambda n: st.tuples(*[st.integers(1, 5)] * (n + 2))))
@settings(max_examples=30, deadline=None)
def test_they_are_undone(shape: tuple[int, ...]) -> None:
    """Of any array with axes ahead of space, without a copy."""
    array = np.random.default_rng(0).normal(size=shape)
    for turn in turns(len(shape) - 2):
        turned = turn(array)
        assert np.array_equal(turn.back(turned), array)
        assert np.shares_memory(turned, array)
        assert np.shares_memory(turn.back(turned), array)
        *lead, y, x = shape
        assert turned.shape == ((*lead, x, y) if turn.exchanged else shape)
