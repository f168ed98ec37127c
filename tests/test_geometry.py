"""Sizes in closed form against real networks, and the mirror against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from overtile.errors import SizeError
from overtile.geometry import Field, mirror_indices, unet_fields
from overtile.networks import UNet
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


@given(networks(), st.integers(1, 260))
@settings(max_examples=60, deadline=None)
def test_closed_form_is_what_the_layers_do(chosen: UNetSettings, size: int) -> None:
    """A size is valid exactly where every pooling halves evenly and something is left."""
    field = unet_fields(chosen)[0]
    with torch.device("meta"):
        network = UNet(chosen).eval()
    network._check = lambda _: None  # the layers themselves are asked, not the closed form
    image = torch.zeros(1, 1, size, field.smallest, device="meta")
    shapes: list[tuple[int, ...]] = []
    network.pool.register_forward_hook(lambda _, given, __: shapes.append(given[0].shape))
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
    field = unet_fields(chosen)[0]
    good = field.good_size(size)
    assert field.is_valid(good)
    assert not any(field.is_valid(other) for other in range(size, good))
    enough = field.size_for(size)
    assert field.out(enough) >= size
    assert enough == field.smallest or field.out(enough - field.grid) < size


def test_the_papers_sizes() -> None:
    field = unet_fields(UNetSettings())[0]
    assert field.out(572) == 388
    assert (field.margin, field.grid) == (92, 16)


def test_a_wrong_size_names_the_nearest() -> None:
    with pytest.raises(SizeError, match=r"570 px.*556 and 572"):
        unet_fields(UNetSettings())[0].out(570)
    with pytest.raises(SizeError, match=r"5 px.*188"):
        unet_fields(UNetSettings())[0].out(5)


CASES = [
    *[("valid", depth, kernel) for depth in (1, 2, 3) for kernel in (2, 3, 4)],
    *[("same", depth, kernel) for depth in (1, 2, 3) for kernel in (3, 5)],
]


@pytest.mark.parametrize(("padding", "depth", "kernel"), CASES)
def test_the_margin_is_as_far_as_nan_spreads(padding: str, depth: int, kernel: int) -> None:
    """Regions with both ends on the grid see the margin beyond them, no more and no less.

    Ahead of them a valid network sees the margin rounded up to the grid (see `unet_fields`).
    """
    chosen = UNetSettings(padding=padding, depth=depth, base_channels=1, kernel_size=kernel)
    field, network = unet_fields(chosen)[0], UNet(chosen).double().eval()
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
