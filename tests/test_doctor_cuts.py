"""Objects in pieces and along seams, and masks turned inside out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from skimage.measure import label as connected_regions

from overtile.contrast import Contrast, contrast_of
from overtile.doctor.cut import check_cuts, on_seams, pieces_of, seams_of
from overtile.doctor.inverted import check_background, find_inverted
from overtile.sample import draw_sample

IDS = hnp.arrays(
    np.int32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 4)
)


@settings(max_examples=80, deadline=None)
@given(IDS)
def test_without_the_pieces_every_object_is_whole(ids: NDArray[np.int32]) -> None:
    """By another library: one region is left of each, the largest."""
    apart = pieces_of(ids)
    for number in np.unique(ids[ids > 0]):
        regions = connected_regions(ids == number, connectivity=2)
        left = np.unique(regions[(ids == number) & ~apart])
        assert len(left) == 1
        sizes = np.bincount(regions.ravel())[1:]
        assert sizes[left[0] - 1] == sizes.max()


def cut_cells(place: int) -> NDArray[np.int32]:
    """Cells of the sample, those across a row with another id below it."""
    _, cells = draw_sample(0, 0, (256, 256))
    ids = cells.astype(np.int32)
    ids[place:][ids[place:] > 0] += ids.max()
    return ids


def test_a_seam_is_found_and_natural_contacts_are_not() -> None:
    _, cells = draw_sample(0, 0, (256, 256))
    assert seams_of(cells) == []
    ids = cut_cells(128)
    (seam,) = seams_of(ids)
    assert (seam.axis, seam.place) == (0, 128)
    turned = seams_of(np.ascontiguousarray(ids.T))
    assert [(one.axis, one.place) for one in turned] == [(1, 128)]
    marked = on_seams(ids)
    assert marked.any()
    assert not np.delete(marked, [127, 128], axis=0).any()
    assert seams_of(np.zeros((5, 5), np.int32)) == []


def test_sentences() -> None:
    ids = cut_cells(128)
    *_, cut = check_cuts("a", ids)
    assert "pairs of objects meet along the straight line y = 128" in cut.found
    assert cut.mark is not None
    assert np.array_equal(cut.mark(ids), on_seams(ids))
    two = np.zeros((9, 9), np.int32)
    two[0, :3] = two[5, :2] = 1
    (pieces,) = check_cuts("a", two)
    assert pieces.found.startswith("1 object is in several pieces that do not touch, with 2 pixels")


def test_an_inverted_mask_is_told_by_the_others() -> None:
    pictures, contrasts = np.random.default_rng(0), {}
    for number in range(5):
        image = pictures.normal(size=(1, 40, 40))
        mask = np.zeros((40, 40), bool)
        mask[5:20, 5:20] = True
        image[0, mask] += 2
        contrasts[f"{number}"] = contrast_of(image, ~mask if number == 3 else mask)
    (found,) = find_inverted(contrasts)
    assert found.name == "3"
    assert "looks inverted: its foreground covers 86% of the image and is darker" in found.found
    assert found.mark is not None
    assert found.mark(np.array([0, 1])).tolist() == [False, True]
    assert not list(find_inverted(dict(list(contrasts.items())[2:4])))  # of two, nobody knows
    mixed = {str(n): Contrast((-1) ** n, 0.2) for n in range(6)}
    assert not list(find_inverted(mixed))


def test_an_object_that_is_the_background() -> None:
    ids = np.ones((20, 20), np.int32)
    ids[2:5, 2:5], ids[9:12, 9:12] = 2, 0
    (found,) = check_background("a", ids)
    assert "The object 1 covers 96% of the image, and 0, the background, 2%" in found.found
    assert found.mark is not None
    assert np.array_equal(found.mark(ids), ids == 1)
    _, cells = draw_sample(0, 0, (128, 128))
    assert not list(check_background("a", cells))


@pytest.mark.parametrize("set_", ["ctc"])
def test_real_labels_pass(set_: str, shared_data: object) -> None:
    from pathlib import Path

    from overtile import io

    folder = Path(str(shared_data)) / set_ / "DIC-C2DH-HeLa" / "01_ST" / "SEG"
    for path in sorted(folder.glob("*.tif"))[:5]:
        ids = np.asarray(io.open(path, as_label=True).data[()])
        assert seams_of(ids) == []
        assert not list(check_background("a", ids))
