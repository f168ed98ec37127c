"""Sizes in closed form against real networks, and the mirror against numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from overtile.errors import SizeError
from overtile.geometry import Field, mirror_indices
from overtile.networks import UNet, fields_of
from overtile.settings import UNetSettings


@st.composite
def networks(draw: st.DrawFn) -> UNetSettings:
    padding = draw(st.sampled_from(["valid", "same"]))
    return UNetSettings(
        padding=padding,
        depth=draw(st.integers(1, 4)),
        base_channels=1,
        kernel_size=draw(st.sampled_from([1, 3, 5] if padding == "same" else [1, 2, 3, 4, 5])),
        norm=draw(st.sampled_from(["none", "batch", "batch-renorm"])),
        dropout=0.0,
    )


def closed_form(chosen: UNetSettings) -> Field:
    r"""The field of a plain U-Net with transposed convolutions.

    Let D be the depth, k the kernel size and h = k - 1, so that two convolutions without padding
    take 2h off a size and 2h is always even.

    *Valid.* With b the size that enters the bottom, going up the contracting path (double it, add
    2h) and up the expanding path (take 2h off, double) gives::

        in  = 2^D b + 2h (2^D - 1)
        out = 2^D b - 2h (2^(D+1) - 1) = in - 2 margin      margin = h (3 2^D - 2)

    so both in and margin are -2h modulo 2^D, every pooled size is even, every crop is centred, and
    all sizes between are positive where out is. A region that begins on the grid of the image needs
    the margin rounded up to the grid ahead of it, since the read begins there.

    *Same.* Half of the double convolution's 2h lies on each side. What a region with both ends on
    the grid sees beyond them grows from h along the expanding path as r <- ceil(r / 2) + h, to
    2h - floor(h / 2^D) at the bottom, and along the contracting path as r <- 2r + h::

        margin = h (3 2^D - 2) + (h mod 2^D)

    For the paper's k = 3, D = 4 that is 92 (valid) and 94 (same); 96 once rounded up to the grid.
    """
    grid = 2**chosen.depth
    reach = chosen.kernel_size - 1
    margin = reach * (3 * grid - 2)
    return Field(chosen.padding, grid, margin + (reach % grid if chosen.padding == "same" else 0))


@given(networks(), st.sampled_from([2, 3]))
@settings(max_examples=25, deadline=None)
def test_what_is_measured_is_the_closed_form(chosen: UNetSettings, dimensions: int) -> None:
    if dimensions == 3 and chosen.depth > 2:
        chosen = chosen.model_copy(update={"depth": 2})
    chosen = chosen.model_copy(update={"dimensions": dimensions})
    expected = closed_form(chosen)
    if chosen.kernel_size == 1:  # which loses nothing, with or without padding
        expected = replace(expected, padding="same")
    assert fields_of(chosen) == (expected,) * dimensions


@given(networks(), st.integers(1, 260))
@settings(max_examples=60, deadline=None)
def test_closed_form_is_what_the_layers_do(chosen: UNetSettings, size: int) -> None:
    """A size is valid exactly where every pooling halves evenly and something is left."""
    field = closed_form(chosen)
    with torch.device("meta"):
        network = UNet(chosen).eval()
    network.check = lambda _: None  # the layers themselves are asked, not the closed form
    image = torch.zeros(1, 1, size, field.smallest, device="meta")
    shapes: list[tuple[int, ...]] = []
    for pool in network.pool:
        pool.register_forward_hook(lambda _, given, __: shapes.append(given[0].shape))
    try:
        out = network(image).shape[2]
        fits = all(shape[2] % 2 == 0 for shape in shapes)
    except RuntimeError:
        fits = False
    assert field.is_valid(size) == fits
    if fits:
        assert field.out(size) == out


@given(networks(), st.integers(1, 700))
@settings(max_examples=100, deadline=None)
def test_good_sizes_are_the_next_ones(chosen: UNetSettings, size: int) -> None:
    field = closed_form(chosen)
    good = field.good_size(size)
    assert field.is_valid(good)
    assert not any(field.is_valid(other) for other in range(size, good))
    enough = field.size_for(size)
    assert field.out(enough) >= size
    assert enough == field.smallest or field.out(enough - field.grid) < size


def test_the_papers_sizes() -> None:
    field = closed_form(UNetSettings())
    assert field.out(572) == 388
    assert (field.margin, field.grid) == (92, 16)


def test_a_wrong_size_names_the_nearest() -> None:
    with pytest.raises(SizeError, match=r"570 px.*556 and 572"):
        closed_form(UNetSettings()).out(570)
    with pytest.raises(SizeError, match=r"5 px.*188"):
        closed_form(UNetSettings()).out(5)


CASES = [
    *[("valid", depth, kernel) for depth in (1, 2, 3) for kernel in (2, 3, 4)],
    *[("same", depth, kernel) for depth in (1, 2, 3) for kernel in (3, 5)],
]


@pytest.mark.parametrize(("padding", "depth", "kernel"), CASES)
def test_the_margin_is_as_far_as_nan_spreads(padding: str, depth: int, kernel: int) -> None:
    """Regions with both ends on the grid see the margin beyond them, no more and no less.

    Ahead of them a valid network sees the margin rounded up to the grid (see `closed_form`).
    """
    chosen = UNetSettings(padding=padding, depth=depth, base_channels=1, kernel_size=kernel)
    field, network = closed_form(chosen), UNet(chosen).double().eval()
    grid, lost = field.grid, field.margin if padding == "valid" else 0
    size = field.good_size(4 * field.lead + 6 * grid)
    cell = size // 2 // grid * grid
    ahead = behind = 0
    for pixel in range(cell, cell + grid):
        image = torch.zeros(1, 1, field.smallest, size, dtype=torch.float64)
        image[..., pixel] = torch.nan
        with torch.no_grad():
            reached = network(image).isnan().any(dim=(0, 1, 2)).nonzero().ravel() + lost
        first_stop = -(-(int(reached.min()) + 1) // grid) * grid  # of the first region reached
        last_start = int(reached.max()) // grid * grid  # of the last
        behind = max(behind, pixel + 1 - first_stop)
        ahead = max(ahead, last_start - pixel)
    assert behind == field.margin
    assert ahead == (field.lead if padding == "valid" else field.margin)


@given(st.integers(1, 12), st.integers(0, 40), st.integers(0, 40))
@settings(max_examples=80, deadline=None)
def test_mirror_is_that_of_numpy(size: int, before: int, after: int) -> None:
    axis = np.arange(size)
    expected = np.pad(axis, (before, after), mode="reflect" if size > 1 else "edge")
    assert np.array_equal(axis[mirror_indices(-before, size + after, size)], expected)


def test_a_field_is_plain_data() -> None:
    assert Field("same", 16, 92).size_for(100) == 112
