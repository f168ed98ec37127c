"""Every setting of the U-Net: exact in tiles, able to learn, or refused with what would work."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from overtile.errors import SettingsError, SizeError
from overtile.geometry import Field
from overtile.networks import NETWORKS, UNet, UNet3D, build
from overtile.networks.blocks import initialise
from overtile.networks.summary import summarise
from overtile.networks.upsampling import shuffle, unshuffle
from overtile.settings import UNet3DSettings, UNetSettings
from overtile.tileable import breakers, tiling_error

SMALL = {"depth": 2, "base_channels": 2}
VARIANTS: list[dict[str, Any]] = [
    *[
        {"up": up, "padding": padding}
        for up in ("transposed", "nearest", "bilinear", "shuffle", "unpool")
        for padding in ("valid", "same")
        if (up, padding) != ("unpool", "valid")
    ],
    {"block": "residual"},
    {"block": "residual", "padding": "same", "norm": "batch"},
    {"widening": "before-pooling", "skip": "add"},
    {"widening": "before-pooling", "up": "unpool", "padding": "same"},
    {"skip": "add", "padding": "same", "meet": "pad"},
    {"skip": "none", "up": "unpool", "padding": "same"},  # SegNet's way
    {"strides": ((1, 2), (3, 2)), "padding": "same", "up": "bilinear"},
    {"strides": ((1, 2), (3, 2)), "up": "shuffle"},
    {"strides": ((1, 2), (2, 2)), "up": "transposed", "kernel_size": 2},
    {"dimensions": 3, "strides": ((1, 2, 2), (2, 2, 2)), "padding": "same", "up": "bilinear"},
    {"dimensions": 3, "strides": ((1, 2, 2),), "depth": 1, "up": "nearest"},
    {"dimensions": 3, "depth": 1, "padding": "same", "up": "unpool"},
    {"dimensions": 3, "depth": 1, "padding": "same", "up": "shuffle"},
    {"stem": 2, "norm": "batch"},
    {"stem": (2, 2), "padding": "same", "up": "bilinear"},
    {"stem": (1, 3), "padding": "same", "block": "residual", "depth": 1},
    {"dimensions": 3, "depth": 1, "padding": "same", "stem": (1, 2, 2)},
    *[{"activation": name} for name in ("leaky-relu", "elu", "silu", "gelu")],
]


@pytest.mark.parametrize("chosen", VARIANTS, ids=str)
def test_every_variant_is_exact_in_tiles_and_learns(chosen: dict[str, Any]) -> None:
    network = build(UNetSettings(**(SMALL | chosen)), seed=1)
    dimensions = network.settings.dimensions
    space = [field.good_size(8) for field in network.fields]
    out = network(torch.randn(2, 1, *space))
    expected = [field.out(size) for field, size in zip(network.fields, space, strict=True)]
    assert list(out.shape) == [2, 2, *expected]
    out.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert tiling_error(network.eval(), 1, network.fields, dimensions) < 1e-12


@pytest.mark.parametrize("norm", ["instance", "group"])
def test_norms_that_look_at_the_window_are_named(norm: str) -> None:
    network = build(UNetSettings(**SMALL, norm=norm, padding="same"))
    assert not network.settings.is_exact
    assert {breaker.kind for breaker in breakers(network, 1)} == {f"{norm} norm"}
    assert network.fields == build(UNetSettings(**SMALL, padding="same")).fields


class TestThreeDimensions:
    def test_the_papers_network(self) -> None:
        """Çiçek et al. 2016: sizes and parameters as published, batch norm's not counted."""
        with torch.device("meta"):
            network = UNet3D(channels=3, classes=3)
        layers = summarise(network, (116, 132, 132))
        assert layers[-1].shape == (3, 28, 44, 44)
        counted = [p.numel() for name, p in network.named_parameters() if "norm" not in name]
        assert sum(counted) == 19_069_955
        channels = [row.shape[0] for row in layers if row.kind.startswith("conv 3")]
        assert channels == [32, 64, 64, 128, 128, 256, 256, 512, 256, 256, 128, 128, 64, 64]

    def test_what_it_sees(self) -> None:
        fields = UNet3D(base_channels=1).fields
        assert fields == (Field("valid", 8, 44),) * 3

    def test_planes_that_lie_far_apart_are_pooled_less(self) -> None:
        network = UNet3D(base_channels=1, depth=2, strides=((1, 2, 2), (2, 2, 2)), padding="same")
        assert [field.grid for field in network.fields] == [2, 4, 4]
        assert network.fields[0].margin < network.fields[1].margin


class TestUpSampling:
    @given(st.integers(2, 3), st.integers(1, 3), st.integers(0, 99))
    @settings(max_examples=20, deadline=None)
    def test_shuffle_is_pixel_shuffle(self, factor: int, channels: int, seed: int) -> None:
        random = torch.Generator().manual_seed(seed)
        features = torch.randn(2, channels * factor**2, 3, 4, generator=random)
        assert torch.equal(shuffle(features, (factor, factor)), F.pixel_shuffle(features, factor))

    @given(st.sampled_from([(2, 2), (1, 3), (3, 1, 2)]), st.integers(1, 3), st.integers(1, 3))
    @settings(max_examples=20, deadline=None)
    def test_unshuffle_undoes_it(self, stride: tuple[int, ...], channels: int, cells: int) -> None:
        features = torch.randn(2, channels, *[cells * side for side in stride])
        assert torch.equal(shuffle(unshuffle(features, stride), stride), features)
        if stride == (2, 2):
            assert torch.equal(unshuffle(features, stride), F.pixel_unshuffle(features, 2))

    def test_a_stem_shifts_the_logits_of_every_pixel(self) -> None:
        network = UNet(depth=1, base_channels=2, padding="same", stem=(2, 1), dropout=0)
        image, shift = torch.randn(1, 1, 8, 8), torch.tensor([0.5, -2.0])
        before = network(image)
        network.shift_logits(shift)
        assert torch.allclose(network(image), before + shift.view(1, 2, 1, 1), atol=1e-6)

    def test_shuffle_in_three_dimensions_by_definition(self) -> None:
        stride = (1, 3, 2)
        features = torch.randn(1, 2 * 6, 4, 5, 6)
        made = shuffle(features, stride)
        assert made.shape == (1, 2, 4, 15, 12)
        for c, z, y, x in [(0, 0, 0, 0), (1, 3, 14, 11), (0, 2, 7, 5), (1, 1, 8, 4)]:
            channel = c * 6 + (y % 3) * 2 + x % 2
            assert made[0, c, z, y, x] == features[0, channel, z, y // 3, x // 2]

    def test_unpooling_puts_maxima_back(self) -> None:
        """With a convolution that does nothing, pooling and unpooling keep the maxima in place."""
        network = UNet(depth=1, base_channels=2, padding="same", up="unpool")
        image = torch.randn(1, 2, 6, 6)
        pooled, places = network.pool[0](image)
        back = network.up[0].unpool(pooled, places)
        kept = back != 0
        assert kept.sum() == 2 * 9
        assert torch.equal(back[kept], image[kept])

    def test_a_constant_stays_one_where_it_is_interpolated(self) -> None:
        up = UNet(depth=1, base_channels=2, up="bilinear", strides=((2, 3),)).up[0]
        up.conv = nn.Identity()
        assert torch.equal(up(torch.ones(1, 4, 5, 5)), torch.ones(1, 4, 8, 13))


class TestMeeting:
    @pytest.mark.parametrize("space", [(21, 34), (4, 7), (16, 16)])
    def test_padding_lets_any_size_pass(self, space: tuple[int, int]) -> None:
        network = UNet(**SMALL, padding="same", meet="pad")
        assert network(torch.zeros(1, 1, *space)).shape[2:] == space

    def test_padding_changes_nothing_where_sizes_fit(self) -> None:
        cropping = build(UNetSettings(**SMALL, padding="same", dropout=0), 3)
        padding = build(UNetSettings(**SMALL, padding="same", dropout=0, meet="pad"), 3)
        image = torch.randn(1, 1, 24, 16)
        assert torch.equal(cropping(image), padding(image))

    def test_too_small_to_be_pooled(self) -> None:
        network = UNet(**SMALL, padding="same", meet="pad")
        with pytest.raises(SizeError, match=r"3 px cannot be pooled 2 times: expected 4 px"):
            network(torch.zeros(1, 1, 3, 8))


class TestInitialisation:
    def test_lecun_uniform(self) -> None:
        network = build(UNetSettings(base_channels=16, init="lecun-uniform"))
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                limit = (3 / (module.in_channels * 9)) ** 0.5
                largest = module.weight.detach().abs().max().item()
                if module.kernel_size == (3, 3):
                    assert 0.9 * limit < largest <= limit
        with pytest.raises(AssertionError):  # the other one is not uniform
            made = initialise(nn.Conv2d(16, 16, 3), 144)
            assert made.weight.abs().max() <= (3 / 144) ** 0.5

    def test_variance_is_one_over_n(self) -> None:
        made = initialise(nn.Conv2d(64, 64, 3), 576, "lecun-uniform")
        assert abs(made.weight.var().item() * 576 - 1) < 0.03


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"padding": "valid", "up": "unpool"}, r"'unpool' .* use padding 'same', or another up"),
        ({"stem": (2, 2, 2)}, r"stem \[2, 2, 2\] does not fit 2 axes: .* such as \[2, 2\]"),
        (
            {"stem": (2, 2), "padding": "same", "meet": "pad"},
            r"a stem takes only sizes that it divides: use meet 'crop', or no stem",
        ),
        ({"padding": "valid", "meet": "pad"}, r"zeros inside the output .* use 'crop', or padding"),
        ({"strides": ((2, 2),)}, r"strides \[\[2, 2\]\] do not fit 4 poolings of 2 axes"),
        ({"depth": 1, "strides": ((2, 2, 2),)}, r"such as \[\[2, 2\]\]"),
        ({"depth": 1, "strides": ((1, 1),)}, "a pooling that pools nothing"),
        ({"padding": "same", "kernel_size": 4}, "use 5, or padding 'valid'"),
        ({"up": "sideways"}, "'transposed', 'nearest', 'bilinear', 'shuffle' or 'unpool'"),
    ],
)
def test_clashes_are_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        UNet(**given)


def test_the_table_lists_what_it_builds() -> None:
    for name, kind in NETWORKS.items():
        assert kind.Settings().name == name
        assert (kind.__doc__ or "").splitlines()[0].endswith(".")
    assert UNet3DSettings().name == "unet3d"
