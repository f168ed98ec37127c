"""The layer table of a network: shapes, parameters, connections and work."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from overtile.networks.blocks import DoubleConvolution
from overtile.networks.unet import UNet, centre
from overtile.settings import UNetSettings


@dataclass(frozen=True)
class Layer:
    """A row of the table.

    Attributes
    ----------
    name, kind
        Where it is in the network, and what it is.
    shape
        Of its output, without the batch: (c *space).
    parameters, trainable
        Numbers it stores, the statistics of a norm included, and those that training changes.
    inputs
        Names of the layers that it is connected to.
    flop
        Floating-point operations for one image, two for a multiplication with its addition.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    trainable: int
    inputs: tuple[str, ...]
    flop: int

    @property
    def shape_text(self) -> str:
        """Sizes first and channels last, as papers write them: 570x570x64."""
        return "x".join(map(str, (*self.shape[1:], self.shape[0])))


def summarise(settings: UNetSettings, size: int) -> list[Layer]:
    """The layers of a network in the order of the forward pass, for a square or cubic input.

    Nothing is computed: shapes come from a pass on the meta device.

    Raises
    ------
    SizeError
        The network has no output for this size.
    """
    with torch.device("meta"):
        network = UNet(settings)
        walk = _Walk()
        for field in network.fields:
            field.out(size)
        space = (size,) * settings.dimensions
        walk.rows.append(Layer("input", "image", (settings.channels, *space), 0, 0, (), 0))
        _unet(network, torch.zeros(1, settings.channels, *space), walk)
    return walk.rows


class _Walk:
    """The rows so far; each layer is run, and recorded with what it was given."""

    def __init__(self) -> None:
        self.rows: list[Layer] = []

    def run(self, name: str, layer: nn.Module, features: Tensor, source: str = "") -> Tensor:
        result: Tensor = layer(features)
        stored = [*layer.parameters(), *(b for b in layer.buffers() if b.ndim)]
        self.rows.append(
            Layer(
                name,
                _kind(layer),
                tuple(result.shape[1:]),
                sum(value.numel() for value in stored),
                sum(value.numel() for value in layer.parameters()),
                (source or self.rows[-1].name,),
                _flop(layer, features, result),
            )
        )
        return result

    def join(self, name: str, skip: tuple[str, Tensor], features: Tensor) -> Tensor:
        result = torch.cat([skip[1], features], dim=1)
        inputs = (skip[0], self.rows[-1].name)
        shape = tuple(result.shape[1:])
        self.rows.append(Layer(name, "crop + concatenate", shape, 0, 0, inputs, 0))
        return result


def _unet(network: UNet, image: Tensor, walk: _Walk) -> None:
    """The forward pass of the U-Net, layer by layer."""
    skips: list[tuple[str, Tensor]] = []
    features = image
    for level, block in enumerate(network.down):
        if level:
            skips.append((walk.rows[-1].name, features))
            features = walk.run(f"pool{level}", network.pool, features)
        features = _double(f"down{level}", block, features, walk)
    if network.settings.dropout:
        features = walk.run("dropout", network.dropout, features)
    for up, merge in zip(network.up, network.merge, strict=True):
        level = len(skips) - 1
        features = walk.run(f"up{level}", up, features)
        source, skip = skips.pop()
        cropped = (source, centre(skip, features.shape[2:]))
        features = walk.join(f"join{level}", cropped, features)
        features = _double(f"merge{level}", merge, features, walk)
    walk.run("head", network.head, features)


def _double(name: str, block: nn.Module, features: Tensor, walk: _Walk) -> Tensor:
    assert isinstance(block, DoubleConvolution)
    for part in ("conv1", "norm1", "conv2", "norm2"):
        layer = getattr(block, part)
        if not isinstance(layer, nn.Identity):
            features = walk.run(f"{name}.{part}", layer, features)
    return features


def _kind(layer: nn.Module) -> str:
    kernel = "x".join(map(str, getattr(layer, "kernel_size", ()))) if _is_conv(layer) else ""
    if isinstance(layer, nn.ConvTranspose2d | nn.ConvTranspose3d):
        return f"up-conv {kernel}"
    if _is_conv(layer):
        return f"conv {kernel}"
    if isinstance(layer, nn.Dropout):
        return "dropout"
    return "max pool" if isinstance(layer, nn.MaxPool2d | nn.MaxPool3d) else "norm"


def _is_conv(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d)


def _flop(layer: Any, features: Tensor, result: Tensor) -> int:
    """Two operations for each weight and each position at which the kernel is applied."""
    if not _is_conv(layer):
        return 0
    transposed = isinstance(layer, nn.ConvTranspose2d | nn.ConvTranspose3d)
    positions = features.shape[2:] if transposed else result.shape[2:]
    return 2 * int(layer.weight.numel()) * math.prod(positions)
