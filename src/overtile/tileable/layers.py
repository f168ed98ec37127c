"""Which layers let a network's answer depend on how large the image is.

No list of forbidden layers can be complete, so it is measured: an operation that spreads a single
NaN over everything, or that gives the same size for any size of its input, mixes all of space. The
layer's type, or the operation's name, then says what it is and what could stand in its place.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from overtile.geometry import per_axis
from overtile.tileable.probe import Mixers, Probe, device_of
from overtile.tileable.structure import Growth, Structure


@dataclass(frozen=True)
class Breaker:
    """A layer that breaks exactness.

    Attributes
    ----------
    layer
        Its dotted name in the network; empty for an operation in the network's own ``forward``.
    kind
        What it is, such as ``group norm``.
    reason
        Why tiles differ from the whole image.
    instead
        What to use in its place.
    """

    layer: str
    kind: str
    reason: str
    instead: str

    def __str__(self) -> str:
        where = f"layer '{self.layer}'" if self.layer else "the network's own forward"
        return f"{where} ({self.kind}): {self.reason}. Instead: {self.instead}."


ALL = "every pixel depends on the whole image, of which a tile holds a part"
NORM = "batch norm, or batch renorm for small batches: prediction uses stored statistics"
ATTENTION = "attention within windows of a fixed number of pixels, or dilated convolutions"
POOLING = (
    "pooling with a fixed stride, or dilated convolutions for context; for squeeze-and-excitation "
    "a gate of 1x1 convolutions for each pixel"
)
FIXED_SIZE = "convolutions, and shifts that do not depend on the pixel"
INTERPOLATION = "interpolation by a whole factor with align_corners=False"
CORNERS = "align_corners=False, or a transposed convolution"
CIRCULAR = "padding_mode 'zeros', 'reflect' or 'replicate', which do the same in an edge tile"

LAYERS: list[tuple[tuple[type[nn.Module], ...], str, str]] = [
    ((nn.modules.instancenorm._InstanceNorm,), "instance norm", NORM),
    ((nn.GroupNorm,), "group norm", NORM),
    ((nn.LayerNorm,), "layer norm over space", NORM + "; or layer norm over channels alone"),
    ((nn.modules.batchnorm._BatchNorm,), "batch norm without running statistics", NORM),
    ((nn.MultiheadAttention,), "attention over space", ATTENTION),
    ((nn.Linear,), "linear layer over space", FIXED_SIZE),
]
"""What a layer that was found is, by its type."""

OPERATIONS: list[tuple[tuple[str, ...], str, str]] = [
    (("batch_norm",), "norm with the image's own statistics", NORM),
    (("group_norm",), "group norm", NORM),
    (("layer_norm",), "layer norm over space", NORM),
    (("softmax",), "softmax over space", "softmax over channels; " + ATTENTION),
    (("attention", "mm"), "attention over space", ATTENTION),
    (("upsample",), "interpolation to a fixed size", INTERPOLATION),
    (("fft", "cum"), "transform over space", "convolutions, dilated for context"),
    (
        ("pool", "mean", "sum", "max", "min", "var", "std", "norm"),
        "global or adaptive pooling",
        POOLING,
    ),
    (("",), "operation over all of space", "convolutions, dilated for context"),
]
"""What an operation that was found is, by a part of its name; the first that fits."""


def breakers(network: nn.Module, channels: int, dimensions: int = 2) -> tuple[Breaker, ...]:
    """The layers that break exactness, in the order of the forward pass.

    Parameters
    ----------
    network
        From (b c *space) to (b k *out); measured in evaluation, as prediction runs it.
    channels, dimensions
        Of its images.

    Raises
    ------
    ModelError
        The network takes no image, or gives no tensor of logits.

    Examples
    --------
    >>> network = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.InstanceNorm2d(2))
    >>> [(breaker.layer, breaker.kind) for breaker in breakers(network, 1)]
    [('1', 'instance norm')]
    """
    return find(network, Structure(network, channels, dimensions))


def find(network: nn.Module, structure: Structure) -> tuple[Breaker, ...]:
    """As `breakers`, of a network whose shapes are known."""
    layers = dict(network.named_modules())
    found = [
        Breaker(name, "circular padding", "it sees the tile's other edge", CIRCULAR)
        for name, layer in layers.items()
        if getattr(layer, "padding_mode", "") == "circular"
    ]
    try:
        grown = structure.grow()
    except Exception as error:  # whatever the network raises for a size that does not fit
        name = structure.probe.layer
        reason = f"it takes images of {per_axis(structure.space)} px only ({_first_line(error)})"
        kind, instead = _known(layers[name]) or ("layer with a size of its own", FIXED_SIZE)
        return (*found, Breaker(name, kind, reason, instead))
    for growth in grown:
        found += _by_shape(growth, layers)
    for layer, operation in _mixers(network, structure, grown):
        found.append(_named(layers, layer, operation, ALL))
    attending = {breaker.layer for breaker in found if breaker.kind == "attention over space"}
    found = [b for b in found if b.kind != "softmax over space" or b.layer not in attending]
    # Of what was found of a layer in several ways, and of its calls, the first counts.
    unique = {(breaker.layer, breaker.kind): breaker for breaker in reversed(found)}
    order = {call.layer: number for number, call in reversed(list(enumerate(grown[0].calls)))}
    return tuple(sorted(unique.values(), key=lambda breaker: order.get(breaker.layer, 0)))


def _by_shape(growth: Growth, layers: dict[str, nn.Module]) -> list[Breaker]:
    found = []
    for call in growth.calls:
        if call.aligns_corners and call.inputs[0] != call.outputs[0]:
            reason = "the distance between its samples depends on the size of its input"
            kind = "interpolation with align_corners=True"
            found.append(Breaker(call.layer, kind, reason, CORNERS))
    reason = "it gives the same size for any size of its input"
    swallowing = growth.swallowing()
    return found + [_named(layers, call.layer, call.operation, reason) for call in swallowing]


def _mixers(network: nn.Module, structure: Structure, grown: list[Growth]) -> list[tuple[str, str]]:
    """Layers and operations that spread a NaN at the image's first pixels over everything.

    64 cells of the grid leave room for what layers before them see.
    """
    found = []
    for growth in grown:
        space = list(structure.space)
        space[growth.axis] += max(64 * growth.grid, 256) // growth.grid * growth.grid
        probe = Probe(network, device_of(network))
        image = probe.image(structure.channels, space)
        image.select(2 + growth.axis, 0).fill_(torch.nan)
        with Mixers(probe) as mixers:
            probe(image)
        found += mixers.found
    return found


def _named(layers: dict[str, nn.Module], layer: str, operation: str, reason: str) -> Breaker:
    known = _known(layers[layer])
    if known is None:
        known = next(
            (kind, instead)
            for parts, kind, instead in OPERATIONS
            if any(part in operation for part in parts)
        )
    return Breaker(layer, known[0], reason, known[1])


def _known(layer: nn.Module) -> tuple[str, str] | None:
    fits = ((kind, instead) for types, kind, instead in LAYERS if isinstance(layer, types))
    return next(fits, None)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
