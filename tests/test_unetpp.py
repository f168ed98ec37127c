"""The UNet++ against the paper's equation and table, and the networks that it holds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from overtile.errors import SettingsError, SizeError
from overtile.networks import UNet, UNetPlusPlus, build
from overtile.networks.summary import summarise
from overtile.settings import UNetPlusPlusSettings
from overtile.tileable import tiling_error

SMALL = {"depth": 3, "base_channels": 2, "channels": 2, "classes": 3}
VARIANTS: list[dict[str, Any]] = [
    {},
    {"norm": "batch", "kernel_size": 5, "depth": 2},
    {"activation": "elu", "strides": ((1, 2), (3, 2)), "depth": 2},
    {"dimensions": 3, "strides": ((1, 2, 2), (2, 2, 2)), "depth": 2, "norm": "batch-renorm"},
]


def made(**values: Any) -> UNetPlusPlus:
    """A small network in float64, in evaluation."""
    network = build(UNetPlusPlusSettings(**(SMALL | values)), seed=1).double().eval()
    assert isinstance(network, UNetPlusPlus)
    return network


def image_for(network: UNetPlusPlus, batch: int = 1) -> Tensor:
    space = [field.good_size(17 + 4 * axis) for axis, field in enumerate(network.fields)]
    shape = (batch, network.settings.channels, *space)
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def node(network: UNetPlusPlus, image: Tensor, i: int, j: int) -> Tensor:
    """X^{i,j} by equation 1 of the paper, from scratch."""
    layers = network.level[i + j]
    if j == 0:
        above = image if i == 0 else node(network, image, i - 1, 0)
        return layers.down(above if i == 0 else F.max_pool2d(above, 2))
    before = [node(network, image, i, k) for k in range(j)]
    raised = layers.up[j - 1](node(network, image, i + 1, j - 1))
    return layers.merge[j - 1](torch.cat([*before, raised], dim=1))


@pytest.mark.parametrize("supervision", [True, False])
def test_the_parameters_of_the_papers_table(supervision: bool) -> None:
    """Table 2: U-Net 7.76 M, UNet++ 9.04 M; up-convolutions give the channels of their row."""
    with torch.device("meta"):
        unet = UNet(base_channels=32, classes=1)
        nested = UNetPlusPlus(classes=1, supervision=supervision)
    count = sum(value.numel() for value in nested.parameters())
    assert round(sum(value.numel() for value in unet.parameters()) / 1e6, 2) == 7.76
    assert round(count / 1e6, 2) == 9.04
    width = [32 * 2**i for i in range(5)]

    def unit(before: int, after: int) -> int:
        return 9 * before * after + after + 9 * after * after + after

    expected = sum(map(unit, [1, *width[:-1]], width)) + (4 if supervision else 1) * 33
    for i in range(4):
        for j in range(1, 5 - i):
            expected += 4 * width[i + 1] * width[i] + width[i]
            expected += unit((j + 1) * width[i], width[i])
    assert count == expected


@pytest.mark.parametrize("depth", [1, 3, 4])
def test_every_node_is_connected_as_in_equation_1(depth: int) -> None:
    with torch.device("meta"):
        network = UNetPlusPlus(depth=depth, base_channels=1)
    rows = {row.name: row for row in summarise(network, (32, 32))}

    def end(i: int, j: int) -> str:
        """The last layer of a node."""
        part = f"merge.{j - 1}" if j else "down"
        return f"level.{i + j}.{part}.conv2"

    for i in range(depth):
        assert rows[f"level.{i + 1}.pool"].inputs == (end(i, 0),)
        assert rows[f"level.{i + 1}.down.conv1"].inputs == (f"level.{i + 1}.pool",)
        for j in range(1, depth - i + 1):
            up = f"level.{i + j}.up.{j - 1}"
            assert rows[up].inputs == (end(i + 1, j - 1),)
            (join,) = rows[f"level.{i + j}.merge.{j - 1}.conv1"].inputs
            assert rows[join].inputs == (*[end(i, k) for k in range(j)], up)
            assert rows[end(i, j)].shape == (2**i, 32 >> i, 32 >> i)
    assert rows[f"head.{depth}"].inputs == (end(0, depth),)
    nodes = (depth + 1) * (depth + 2) // 2
    assert sum(name.endswith("conv2") for name in rows) == nodes


@given(depth=st.integers(1, 3), channels=st.integers(1, 3), base=st.integers(1, 3))
@settings(max_examples=8, deadline=None)
def test_heads_are_those_of_the_nodes(depth: int, channels: int, base: int) -> None:
    network = made(depth=depth, channels=channels, base_channels=base)
    image = image_for(network, batch=2)
    with torch.no_grad():
        heads, last = network.heads(image), network(image)
        expected = [network.head[str(j)](node(network, image, 0, j)) for j in range(1, depth + 1)]
    assert len(heads) == depth
    assert torch.equal(last, heads[-1])
    assert all(map(torch.equal, heads, expected))


@pytest.mark.parametrize("chosen", VARIANTS, ids=str)
def test_a_pruned_network_is_the_head_of_its_level(chosen: dict[str, Any]) -> None:
    network = made(**chosen)
    image, depth = image_for(network), network.settings.depth
    state, counts = network.state_dict(), []
    for level, head in enumerate(network.heads(image), start=1):
        smaller = network.prune(level)
        assert torch.equal(smaller(image), head)
        assert not smaller.training
        for name, value in smaller.state_dict().items():
            assert value.data_ptr() == state[name].data_ptr(), name
        # What belongs to a level says so in its name, by which a model is pruned.
        kept = {name for name in state if int(name.split(".")[1]) <= level}
        assert kept == set(smaller.state_dict())
        counts.append(len(kept))
        fresh = build(network.settings.pruned(level), seed=2).double().eval()
        fresh.load_state_dict(smaller.state_dict())
        assert torch.equal(fresh(image), head)
    assert counts == sorted(set(counts))
    assert counts[-1] == len(state)
    nested = network.prune(depth).prune(1)
    assert torch.equal(nested(image), network.heads(image)[0])


@pytest.mark.parametrize("chosen", VARIANTS, ids=str)
def test_every_level_has_the_field_of_the_u_net_of_its_depth(chosen: dict[str, Any]) -> None:
    """The longest way from a pixel to another is the U-Net's, down to the bottom and up."""
    network = made(**chosen)
    for level in range(1, network.settings.depth + 1):
        smaller = network.prune(level)
        same = ("dimensions", "strides", "kernel_size", "depth")
        unet = UNet(padding="same", **{name: getattr(smaller.settings, name) for name in same})
        assert smaller.fields == unet.fields
        channels, dimensions = network.settings.channels, network.settings.dimensions
        assert tiling_error(smaller, channels, smaller.fields, dimensions) < 1e-12


@pytest.mark.parametrize("chosen", [*VARIANTS, {"supervision": False}], ids=str)
def test_every_parameter_learns(chosen: dict[str, Any]) -> None:
    network = made(**chosen).train()
    heads = network.heads(image_for(network, batch=2))
    assert len(heads) == (1 if chosen.get("supervision") is False else network.settings.depth)
    torch.stack([logits.square().mean() for logits in heads]).mean().backward()
    for name, value in network.named_parameters():
        assert value.grad is not None, name
        assert value.grad.isfinite().all(), name


def test_a_shift_reaches_every_head() -> None:
    network, shift = made(), torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    image = image_for(network)
    before = network.heads(image)
    network.shift_logits(shift)
    for old, new in zip(before, network.heads(image), strict=True):
        assert torch.allclose(new - old, shift[:, None, None].expand_as(old), atol=1e-12)


def test_dropout_is_in_training_only() -> None:
    network = made(dropout=0.5)
    image = image_for(network)
    assert torch.equal(network(image), made(dropout=0)(image))
    network.train()
    assert not torch.equal(network(image), network(image))
    with torch.no_grad():  # the smallest network has one as well, at the end of its way down
        assert not torch.equal(*[network.prune(1)(image) for _ in range(2)])


def test_what_cannot_be_pruned_is_refused() -> None:
    network = made()
    for level in (0, 4, -1):
        match = rf"no level {level} to prune to: expected 1 \(the smallest\) to 3"
        with pytest.raises(SettingsError, match=match):
            network.prune(level)
    alone = made(supervision=False)
    with pytest.raises(SettingsError, match=r"Level 2 was not trained.*train with supervision on"):
        alone.prune(2)
    assert alone.settings.pruned(3) == alone.settings
    with pytest.raises(SettingsError, match=r"A network unet holds no smaller one.*train a unetpp"):
        UNet(depth=1, base_channels=1).prune(1)


def test_clashes_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"padding.*'same'.*'valid'"):
        UNetPlusPlus(padding="valid")
    with pytest.raises(SizeError, match="20 px"):
        UNetPlusPlus(depth=3, base_channels=1)(torch.zeros(1, 1, 16, 20))
