"""Normalisation against numpy over all pixels at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overtile.errors import DataError
from overtile.normalise import measure_normalisation


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=5), st.data())
@settings(max_examples=50, deadline=None)
def test_statistics_are_those_of_all_pixels(
    shapes: list[tuple[int, int]], data: st.DataObject
) -> None:
    dtype = data.draw(st.sampled_from(["uint8", "uint16", "float32", "int32"]))
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    images = [random.integers(0, 250, (2, *shape)).astype(dtype) for shape in shapes]
    images.append(np.array([[[0, 7]], [[3, 9]]], dtype))
    flat = np.concatenate([image.reshape(2, -1) for image in images], axis=1).astype(float)
    measured = measure_normalisation(iter(images))
    assert measured.mean == pytest.approx(flat.mean(axis=1))
    assert measured.std == pytest.approx(flat.std(axis=1))
    normal = np.concatenate([measured(image).reshape(2, -1) for image in images], axis=1)
    assert normal.dtype == np.float32
    assert normal.mean(axis=1) == pytest.approx(0, abs=1e-4)
    assert normal.std(axis=1) == pytest.approx(1, abs=1e-4)


def test_large_offsets_do_not_cancel() -> None:
    image = np.array([[[1e9, 1e9 + 1, 1e9 + 2]]])
    assert measure_normalisation([image]).std == pytest.approx([np.sqrt(2 / 3)])


def test_a_constant_channel_is_refused() -> None:
    image = np.stack([np.arange(9.0).reshape(3, 3), np.full((3, 3), 4.0)])
    with pytest.raises(DataError, match="Channel 1 has the value 4 at every pixel"):
        measure_normalisation([image, image])
