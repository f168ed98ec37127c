"""Random parameters, copied from one network to another by the names of their layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

NORMS = nn.BatchNorm2d | nn.BatchNorm3d


def seeded(*shape: int) -> Tensor:
    """An image, or a map; always the same."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@torch.no_grad()
def randomised(network: Any, seed: int = 0) -> Any:
    """With norms, statistics and biases that count; in float64, in evaluation."""
    torch.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, NORMS):
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.5, 2)
            module.weight.uniform_(0.7, 1.5)
        if isinstance(getattr(module, "bias", None), Tensor):
            module.bias.normal_(std=0.3)
    return network.double().eval()


@torch.no_grad()
def copy(source: nn.Module, target: nn.Module, layers: dict[str, str]) -> None:
    """Give every layer of the target the tensors of the one that it is called in the source.

    Where the target's are larger, the source's are their first corner, and the rest is zero. All
    of the source must have been copied.
    """
    given, wanted = tensors(source), tensors(target)
    used = set()
    for name, value in wanted.items():
        layer, _, part = name.rpartition(".")
        origin = f"{layers[layer]}.{part}"
        used.add(origin)
        value.zero_()
        value[tuple(map(slice, given[origin].shape))] = given[origin]
    assert used == set(given)


def tensors(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and statistics, those that have two names once."""
    return dict(network.named_parameters()) | dict(network.named_buffers())


def assert_agree(made: Tensor, expected: Tensor, within: float = 1e-10) -> None:
    """Equal, by the largest difference in standard deviations of what is expected."""
    assert made.shape == expected.shape
    assert expected.std() > 1e-3
    assert (made - expected).abs().max() < within * expected.std()
