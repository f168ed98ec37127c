"""The synthetic sample: what it depends on, that it is whole, and that it is not trivial."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.measure import regionprops

from overtile import io, metrics
from overtile.errors import OutputError
from overtile.sample import REACH_PX, draw_sample, write_sample


def neighbours(cells: NDArray[np.uint16]) -> set[tuple[int, int]]:
    """Pairs of cells that share the side of a pixel."""
    pairs = set()
    for one, other in ((cells[1:], cells[:-1]), (cells[:, 1:], cells[:, :-1])):
        meet = (one > 0) & (other > 0) & (one != other)
        pairs |= {
            (min(a, b), max(a, b))
            for a, b in zip(one[meet].tolist(), other[meet].tolist(), strict=True)
        }
    return pairs


def average_precision(cells: NDArray[np.uint16], found: NDArray[np.integer]) -> float:
    return metrics.average_precision(metrics.match_objects(cells, found))


def test_it_follows_from_seed_and_index() -> None:
    image, cells = draw_sample(3, 1, (100, 120))
    again = draw_sample(3, 1, (100, 120))
    assert np.array_equal(image, again[0])
    assert np.array_equal(cells, again[1])
    for other in (draw_sample(3, 2, (100, 120)), draw_sample(4, 1, (100, 120))):
        assert not np.array_equal(image, other[0])
        assert not np.array_equal(cells, other[1])


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), height=st.integers(32, 150), width=st.integers(32, 150))
def test_cells_are_whole_at_any_size(seed: int, height: int, width: int) -> None:
    """Ids without gaps, each cell one region, none larger than a contour can be."""
    image, cells = draw_sample(seed, 0, (height, width))
    assert image.shape == cells.shape == (height, width)
    assert (image.dtype, cells.dtype) == (np.uint8, np.uint16)
    ids = np.unique(cells[cells > 0])
    assert np.array_equal(ids, np.arange(1, len(ids) + 1))
    for cell in regionprops(cells):
        assert ndimage.label(cell.image)[1] == 1
        top, left, bottom, right = cell.bbox
        assert max(bottom - top, right - left) <= 2 * REACH_PX + 1


def test_cells_crowd_and_vary() -> None:
    for index in range(3):
        cells = draw_sample(0, index)[1]
        shapes = [cell for cell in regionprops(cells) if not touches_edge(cell.bbox)]
        areas = np.array([cell.area for cell in shapes])
        assert areas.std() / areas.mean() > 0.2
        assert max(cell.eccentricity for cell in shapes) > 0.8
        assert min(cell.solidity for cell in shapes) < 0.9
        assert len(neighbours(cells)) > cells.max() / 4


def touches_edge(box: tuple[int, int, int, int]) -> bool:
    return min(box) == 0 or max(box) == 256


def test_cells_are_brighter_than_what_surrounds_them() -> None:
    """Each can be learnt: brighter on average than the background within 10 px of it."""
    image, cells = draw_sample(0, 0)
    brighter = []
    for cell in range(1, int(cells.max()) + 1):
        around = ndimage.binary_dilation(cells == cell, iterations=10) & (cells == 0)
        brighter.append(image[cells == cell].mean() > image[around].mean() + 10)
    assert np.mean(brighter) > 0.95


@pytest.mark.parametrize("index", range(4))
def test_a_threshold_does_not_solve_it(index: int) -> None:
    image, cells = draw_sample(0, index)
    smooth = ndimage.gaussian_filter(image.astype(float), 1)
    found = ndimage.label(smooth > threshold_otsu(smooth))[0]
    assert average_precision(cells, cells) == 1
    assert average_precision(cells, found) < 0.4


class TestFiles:
    def test_they_hold_what_is_drawn(self, tmp_path: Path) -> None:
        write_sample(tmp_path / "s", count=3, size=(64, 72), seed=5)
        for place, part in enumerate(("images", "labels")):
            files = sorted((tmp_path / "s" / part).iterdir())
            assert [path.name for path in files] == ["cell-00.tif", "cell-01.tif", "cell-02.tif"]
            for index, path in enumerate(files):
                stored = np.asarray(io.open(path).data[:])
                drawn = draw_sample(5, index, (64, 72))[place]
                assert np.array_equal(stored, drawn)
                assert stored.dtype == drawn.dtype

    def test_a_folder_in_use_is_kept(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("mine")
        with pytest.raises(OutputError, match="is not empty: choose another folder"):
            write_sample(tmp_path, count=1, size=(64, 64))
        assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
        write_sample(tmp_path, count=1, size=(64, 64), overwrite=True)
        write_sample(tmp_path, count=1, size=(64, 64), seed=1, overwrite=True)
        assert (tmp_path / "notes.txt").read_text() == "mine"
        stored = np.asarray(io.open(tmp_path / "images" / "cell-00.tif").data[:])
        assert np.array_equal(stored, draw_sample(1, 0, (64, 64))[0])

    def test_an_empty_folder_will_do_and_a_file_will_not(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        write_sample(tmp_path / "empty", count=1, size=(64, 64))
        (tmp_path / "file").write_text("mine")
        with pytest.raises(OutputError, match="is a file: expected the name of a folder"):
            write_sample(tmp_path / "file", count=1, overwrite=True)
