"""The bare convolutions of a network, each run alone: the rate that the machine reaches."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from overtile.networks import UNet


@dataclass(frozen=True)
class Call:
    """One convolution of a pass: the module, and the shape of what enters it."""

    module: nn.Conv2d | nn.ConvTranspose2d
    shape: torch.Size
    operations: int


def calls(network: UNet, size: int) -> list[Call]:
    """The convolutions of one pass over an image of this side, of a network on the meta device."""
    found = []

    def note(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        # Each value of a transposed convolution's input, and of any other's output, meets every
        # weight of its channel: a multiplication and an addition.
        swept = inputs[0] if isinstance(module, nn.ConvTranspose2d) else output
        found.append(Call(module, inputs[0].shape, 2 * swept.numel() * module.weight[0].numel()))

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_hook(note)
    network(torch.empty(1, network.settings.channels, size, size, device="meta"))
    return found


def seconds(network: UNet, size: int, dtype: torch.dtype, repeats: int) -> float:
    """Seconds (sum of medians) of all convolutions of one pass, channels-last.

    Each runs with its weight as it is and as oneDNN packs it for this shape; the faster counts.
    """
    return sum(
        min(median_s(act, repeats) for act in ways(call, dtype)) for call in calls(network, size)
    )


def ways(call: Call, dtype: torch.dtype) -> list[Callable[[], Tensor]]:
    """The convolution on random values, with its weight plain and packed."""
    module, shape, last = call.module, call.shape, torch.channels_last
    line = torch.rand(1, shape[1], 1, shape[3]).to(dtype)
    image = torch.empty(shape, dtype=dtype, memory_format=last).copy_(line)
    weight = torch.rand(module.weight.shape).to(dtype).to(memory_format=last)
    bias = torch.rand(module.bias.shape).to(dtype)
    geometry = (module.stride, module.dilation, module.groups)
    if isinstance(module, nn.ConvTranspose2d):
        plain, end = functional.conv_transpose2d, (module.output_padding, *geometry)
        pack, run = "_reorder_convolution_transpose_weight", "_convolution_transpose_pointwise"
        arguments = (module.stride, module.padding, module.output_padding, 1, module.dilation)
    else:
        plain, end = functional.conv2d, geometry
        pack, run = "_reorder_convolution_weight", "_convolution_pointwise"
        arguments = (module.stride, module.padding, module.dilation, module.groups)
    chosen: list[Callable[[], Tensor]] = [lambda: plain(image, weight, bias, *arguments)]
    operators = torch.ops.mkldnn
    if hasattr(operators, pack) and hasattr(operators, run):
        packed = getattr(operators, pack)(weight, module.padding, *end, shape)
        options = (module.padding, *end, "none", [], "")
        chosen.append(lambda: getattr(operators, run)(image, packed, bias, *options))
    return chosen


def median_s(act: Callable[[], object], repeats: int) -> float:
    act()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        act()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
