"""The U-Net against the paper's figure, its published counts, and its formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from overtile.errors import SettingsError, SizeError
from overtile.networks import NETWORKS, UNet, build
from overtile.networks.renorm import BatchRenorm
from overtile.networks.summary import Layer, summarise
from overtile.settings import UNetSettings

FIGURE_1 = [  # (size, channels) after each layer of the paper's figure 1
    (572, 1), (570, 64), (568, 64),
    (284, 64), (282, 128), (280, 128),
    (140, 128), (138, 256), (136, 256),
    (68, 256), (66, 512), (64, 512),
    (32, 512), (30, 1024), (28, 1024), (28, 1024),
    (56, 512), (56, 1024), (54, 512), (52, 512),
    (104, 256), (104, 512), (102, 256), (100, 256),
    (200, 128), (200, 256), (198, 128), (196, 128),
    (392, 64), (392, 128), (390, 64), (388, 64), (388, 2),
]  # fmt: skip


def table(chosen: UNetSettings, *space: int) -> list[Layer]:
    with torch.device("meta"):
        network = NETWORKS[chosen.name](chosen)
    return summarise(network, space if len(space) > 1 else space * chosen.dimensions)


def test_every_level_of_the_papers_figure() -> None:
    layers = table(UNetSettings(), 572)
    assert [(layer.shape[1], layer.shape[0]) for layer in layers] == FIGURE_1
    assert all(layer.shape[1] == layer.shape[2] for layer in layers)


def test_published_counts() -> None:
    layers = table(UNetSettings(), 572)
    assert sum("conv" in layer.kind for layer in layers) == 23
    assert sum(layer.parameters for layer in layers) == 31_030_658
    assert round(sum(layer.flop for layer in layers) / 1e9) == 301
    same = table(UNetSettings(padding="same"), 1024)
    assert round(sum(layer.flop for layer in same) / 1e9) == 1539


def test_first_rows_with_batch_normalisation() -> None:
    rows = table(UNetSettings(norm="batch"), 572)[1:4]
    assert [(row.shape_text, row.parameters, row.trainable) for row in rows] == [
        ("570x570x64", 640, 640),
        ("570x570x64", 256, 128),
        ("568x568x64", 36_928, 36_928),
    ]
    assert [row.inputs for row in rows] == [("input",), ("down.0.conv1",), ("down.0.norm1",)]


def test_skips_are_connected_to_both_sides() -> None:
    joins = [layer for layer in table(UNetSettings(), 572) if layer.kind == "concatenate"]
    assert [join.inputs for join in joins] == [
        (f"down.{level}.conv2", f"up.{3 - level}") for level in (3, 2, 1, 0)
    ]


def test_the_table_is_the_network() -> None:
    """Shapes that the table states are those that a real pass produces."""
    chosen = UNetSettings(depth=2, base_channels=2, norm="batch")
    layers = table(chosen, 60)
    network = UNet(chosen)
    seen: dict[str, tuple[int, ...]] = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d):
            module.register_forward_hook(
                lambda _, __, made, name=name: seen.__setitem__(name, tuple(made.shape[1:]))
            )
    out = network(torch.zeros(2, 1, 60, 60))
    stated = [row.shape for row in layers if row.kind.split()[0] in {"conv", "up-conv", "norm"}]
    assert stated == list(seen.values())
    assert layers[-1].shape == tuple(out.shape[1:])
    assert sum(row.trainable for row in layers) == sum(p.numel() for p in network.parameters())


def test_initial_deviation_is_sqrt_2_over_n() -> None:
    network = build(UNetSettings(base_channels=32), seed=1)
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            inputs = module.in_channels * math.prod(module.kernel_size)
        elif isinstance(module, nn.ConvTranspose2d):
            inputs = module.in_channels
        else:
            continue
        ratio = module.weight.detach().std().item() / math.sqrt(2 / inputs)
        # The deviation of n normal values is within 5 / sqrt(2 n) of its own, nearly always.
        assert abs(ratio - 1) < 5 / math.sqrt(2 * module.weight.numel()), name
        assert not module.bias.any()


def test_activations_keep_their_size() -> None:
    """What the initialisation is for: unit variance in gives about unit variance out."""
    network = build(UNetSettings(depth=2, base_channels=16, padding="same", dropout=0), seed=0)
    out = network(torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert 0.2 < out.detach().std().item() < 5


def test_seed_decides_and_nothing_else() -> None:
    chosen = UNetSettings(depth=1, base_channels=2)
    torch.manual_seed(3)
    first, after = build(chosen, 7), torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(1), after)
    again, other = build(chosen, 7), build(chosen, 8)
    assert torch.equal(first.head.weight, again.head.weight)
    assert not torch.equal(first.head.weight, other.head.weight)


@pytest.mark.parametrize(("depth", "kernel"), [(1, 3), (2, 3), (2, 5), (3, 3)])
def test_valid_is_the_inside_of_same(depth: int, kernel: int) -> None:
    """Where a same-padded network sees no padding, it is the valid one.

    Convolutions without padding shift the valid network's poolings by h (2^l - 1) px on level l,
    h = kernel - 1; they meet those of the same-padded one where the input starts at h modulo grid.
    """
    chosen = UNetSettings(depth=depth, base_channels=3, kernel_size=kernel, dropout=0)
    valid = build(chosen, 0).double().eval()
    same = build(chosen.model_copy(update={"padding": "same"}), 1).double().eval()
    same.load_state_dict(valid.state_dict())
    grid, lost = valid.fields[0].grid, valid.fields[0].margin
    start, size = (kernel - 1) % grid, valid.fields[0].smallest + 4 * grid
    whole = same.fields[0].good_size(start + size)
    image = torch.randn(1, 1, whole, whole, dtype=torch.float64)
    inside = slice(start, start + size)
    kept = slice(start + lost, start + size - lost)
    with torch.no_grad():
        inner, outer = valid(image[..., inside, inside]), same(image)[..., kept, kept]
    assert torch.allclose(inner, outer, rtol=0, atol=1e-10)


def test_three_dimensions() -> None:
    network = UNet(dimensions=3, depth=2, base_channels=2, channels=2, classes=3, dropout=0)
    size = network.fields[0].good_size(50)
    assert network(torch.zeros(1, 2, size, size, size)).shape[1:] == (
        3,
        *[network.fields[0].out(size)] * 3,
    )


def test_every_parameter_learns() -> None:
    network = build(UNetSettings(depth=2, base_channels=4, norm="batch-renorm"), 0)
    network(torch.randn(2, 1, 44, 44)).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_dropout_is_in_training_only() -> None:
    network = build(UNetSettings(depth=1, base_channels=4, padding="same"), 0)
    image = torch.randn(1, 1, 16, 16)
    assert not torch.equal(network(image), network(image))
    network.eval()
    assert torch.equal(network(image), network(image))


@pytest.mark.parametrize("shape", [(1, 2, 20, 20), (1, 20, 20), (1, 1, 20, 20, 20)])
def test_other_channels_or_axes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(SizeError, match=r"takes a batch of 1-channel images with 2 spatial axes"):
        UNet(depth=1, base_channels=1)(torch.zeros(shape))


def test_sizes_are_refused_per_axis() -> None:
    with pytest.raises(SizeError, match="21 px"):
        UNet(depth=1, base_channels=1)(torch.zeros(1, 1, 20, 21))


def test_clashing_settings_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"kernel_size 4 is even.*use 5, or padding 'valid'"):
        UNet(kernel_size=4, padding="same")


class TestBatchRenorm:
    def renorm(self, tracked: int) -> BatchRenorm:
        layer = BatchRenorm(3, warmup_steps=10).double()
        layer.num_batches_tracked.fill_(tracked)
        layer.running_mean.copy_(torch.tensor([0.5, -1.0, 0.0]))
        layer.running_var.copy_(torch.tensor([2.0, 0.5, 1.0]))
        return layer

    def features(self) -> torch.Tensor:
        return torch.randn(
            2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
        )

    def test_starts_as_batch_norm(self) -> None:
        torch_norm = nn.BatchNorm2d(3).double()
        ours = BatchRenorm(3).double()
        assert torch.allclose(ours(self.features()), torch_norm(self.features()))
        assert torch.allclose(ours.running_mean, torch_norm.running_mean)
        assert torch.allclose(ours.running_var, torch_norm.running_var)

    def test_predicts_as_batch_norm(self) -> None:
        ours, theirs = self.renorm(5).eval(), nn.BatchNorm2d(3).double().eval()
        theirs.load_state_dict(ours.state_dict())
        assert torch.allclose(ours(self.features()), theirs(self.features()))

    @pytest.mark.parametrize(("tracked", "r_max", "d_max"), [(15, 2.0, 2.5), (1000, 3.0, 5.0)])
    def test_is_the_papers_algorithm(self, tracked: int, r_max: float, d_max: float) -> None:
        layer, x = self.renorm(tracked), self.features().numpy()
        mean, std = layer.running_mean.numpy().copy(), np.sqrt(layer.running_var.numpy() + 1e-5)
        mu, sigma = x.mean((0, 2, 3)), np.sqrt(x.var((0, 2, 3)) + 1e-5)
        r = np.clip(sigma / std, 1 / r_max, r_max)
        d = np.clip((mu - mean) / std, -d_max, d_max)
        per_channel = (1, 3, 1, 1)
        expected = (x - mu.reshape(per_channel)) / sigma.reshape(per_channel)
        expected = expected * r.reshape(per_channel) + d.reshape(per_channel)
        assert np.allclose(layer(self.features()).detach().numpy(), expected)

    def test_gradient_is_that_of_finite_differences(self) -> None:
        """With r and d at fixed limits, which finite steps do not move, as the paper asks."""
        layer = BatchRenorm(3, warmup_steps=10).double()
        layer.running_mean.fill_(100.0)
        layer.running_var.fill_(1e-4)

        def act(features: torch.Tensor) -> torch.Tensor:
            layer.num_batches_tracked.fill_(15)
            layer.running_mean.fill_(100.0)
            layer.running_var.fill_(1e-4)
            return layer(features)

        assert torch.autograd.gradcheck(act, self.features().requires_grad_())

    def test_keeps_bfloat16(self) -> None:
        layer = BatchRenorm(3)
        features = self.features().bfloat16()
        assert layer(features).dtype == torch.bfloat16
        assert layer.running_var.dtype == torch.float32
        assert layer.eval()(features).dtype == torch.bfloat16
