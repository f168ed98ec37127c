"""The sliding-window network: patch by patch, and all at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import overtile
from overtile import io
from overtile.engines.tracing import trace
from overtile.errors import SettingsError, SizeError
from overtile.geometry import Field
from overtile.networks import PatchNet, build
from overtile.networks.patchnet import KERNELS, PATCH_PX
from overtile.settings import PatchNetSettings, Settings, WindowSettings
from overtile.tileable import inspect


def small(channels: int = 1, classes: int = 2, seed: int = 0) -> PatchNet:
    chosen = PatchNetSettings(base_channels=4, fc_channels=6, channels=channels, classes=classes)
    made = build(chosen, seed)
    assert isinstance(made, PatchNet)
    for value in made.parameters():
        if value.ndim == 1:
            nn.init.normal_(value, std=0.1)
    return made.eval()


def plain(network: PatchNet) -> nn.Module:
    """The classifier of one patch as one would write it, with the network's parameters."""
    layers: list[nn.Module] = []
    for conv in network.convs:
        out, into, kernel, _ = conv.weight.shape
        layers += [nn.Conv2d(into, out, kernel), nn.ReLU(), nn.MaxPool2d(2)]
    units, features = network.fc.weight.shape[:2]
    classes = network.head.weight.shape[0]
    layers += [nn.Flatten(), nn.Linear(features, units), nn.ReLU(), nn.Linear(units, classes)]
    made = nn.Sequential(*layers).to(network.head.weight.dtype)
    with torch.no_grad():
        pairs = zip(made.parameters(), network.parameters(), strict=True)
        for mine, its in pairs:
            mine.copy_(its.reshape(mine.shape))
    return made


def test_poolings_divide_evenly() -> None:
    size, sizes = PATCH_PX, []
    for kernel in KERNELS:
        size -= kernel - 1
        sizes.append(size)
        assert size % 2 == 0
        size //= 2
        sizes.append(size)
    assert sizes == [62, 31, 28, 14, 10, 5, 2, 1]
    assert sorted(KERNELS) == sorted([4, 5, 4, 4])  # those of the paper's table 1


@settings(deadline=None, max_examples=8)
@given(
    space=st.tuples(st.integers(65, 76), st.integers(65, 76)),
    channels=st.integers(1, 2),
    double=st.booleans(),
    seed=st.integers(0, 9),
)
def test_dense_is_the_sliding_window(
    space: tuple[int, int], channels: int, double: bool, seed: int
) -> None:
    dtype, tolerance = (torch.float64, 1e-10) if double else (torch.float32, 1e-5)
    network = small(channels, seed=seed).to(dtype)
    image = torch.randn(2, channels, *space, dtype=dtype)
    with torch.no_grad():
        dense, naive = network(image), network.sliding_window(image)
    assert dense.shape == naive.shape == (2, 2, space[0] - 64, space[1] - 64)
    assert (dense - naive).abs().max() < tolerance
    assert dense.std() > 1e-3


def test_a_pixel_is_the_plain_classifier_of_its_patch() -> None:
    network = small(classes=3).double()
    image = torch.randn(1, 1, 80, 72, dtype=torch.float64)
    classify = plain(network)
    with torch.no_grad():
        dense = network(image)
        for y, x in [(0, 0), (15, 7), (6, 3), (1, 4)]:
            patch = image[..., y : y + 65, x : x + 65]
            assert torch.allclose(dense[..., y, x], classify(patch), rtol=0, atol=1e-12)
            assert torch.allclose(
                network.forward_patches(patch), classify(patch), rtol=0, atol=1e-12
            )


def test_a_window_trains_on_all_its_patches() -> None:
    network, image = small().double(), torch.randn(1, 1, 70, 68, dtype=torch.float64)
    target = torch.randint(2, (1, 6, 4))
    gradients = []
    for logits in (network(image), network.sliding_window(image)):
        loss = nn.functional.cross_entropy(logits, target)
        gradients.append(torch.autograd.grad(loss, list(network.parameters())))
    for dense, naive in zip(*gradients, strict=True):
        assert torch.allclose(dense, naive, rtol=0, atol=1e-12)
        assert dense.any()


def test_operations_of_both() -> None:
    """By arithmetic, and 270 times as many for each pixel, as the documentation says."""
    with torch.device("meta"):
        network = PatchNet()
        patch = torch.empty(1, 1, 65, 65)
    counts = []
    for act in (network.forward_patches, network):
        with FlopCounterMode(display=False) as counter:
            act(patch)
        counts.append(counter.get_total_flops())
    size, maps, patchwise = 65, 1, 0
    for kernel in KERNELS:
        size -= kernel - 1
        patchwise += 2 * kernel**2 * maps * 48 * size**2
        size, maps = size // 2, 48
    assert counts[0] == patchwise + 2 * (48 * 200 + 200 * 2)
    weights = sum(value.numel() for value in network.parameters() if value.ndim > 1)
    assert 260 < counts[0] / (2 * weights) < 275  # inside an image each weight acts once a pixel


def test_field_and_tiles() -> None:
    """Dilated kernels leave holes in what a pixel sees, but not at its ends."""
    found = inspect(small(), 1)
    assert found.fields == (Field("valid", grid=1, margin=32),) * 2
    assert found.exact
    network = small(channels=2)
    image = np.random.default_rng(0).normal(size=(2, 50, 61)).astype(np.float32)
    mirrored = np.pad(image, ((0, 0), (32, 32), (32, 32)), mode="reflect")
    with torch.no_grad():
        whole = network(torch.from_numpy(mirrored[None]))[0].numpy()
    assert np.abs(overtile.tiled(network, image, tile_px=(13, 40)) - whole).max() < 1e-5


def test_refused() -> None:
    network = small()
    with pytest.raises(SizeError, match=r"Patches have 65 x 65 px, not 66 x 65: .*forward"):
        network.forward_patches(torch.zeros(3, 1, 66, 65))
    with pytest.raises(SizeError, match="A side of 64 px"):
        network.sliding_window(torch.zeros(1, 1, 80, 64))
    with pytest.raises(SettingsError, match=r"padding: Input should be 'valid', not 'same'"):
        PatchNet(padding="same")


def test_traced_for_any_size() -> None:
    network, image = small(), torch.randn(1, 1, 90, 71)
    with torch.no_grad():
        assert torch.allclose(trace(network).module()(image), network(image), atol=1e-5)


def test_main_job_on_membranes(shared_data: Path) -> None:
    """Trained and predicted like any network; tiles are the whole."""
    isbi = shared_data / "isbi2012"
    corner = (0, slice(0, 96), slice(0, 112))
    image = np.asarray(io.open(isbi / "train-volume.tif").data[corner])
    label = np.asarray(io.open(isbi / "train-labels.tif", as_label=True).data[corner])
    chosen = Settings(
        network=PatchNetSettings(base_channels=4, fc_channels=8),
        window=WindowSettings(size_px=96, batch_size=1),
        precision="float32",
        layout="contiguous",
    )
    trained = overtile.train(image, label, steps=10, settings=chosen)
    whole = trained.probabilities(image)
    assert whole.shape == (2, *label.shape)
    assert np.abs(trained.probabilities(image, tile_px=40) - whole).max() < 1e-5
