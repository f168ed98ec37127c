"""The layer table of any network: shapes, parameters, connections and work."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from overtile.networks.network import Network

CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
TRANSPOSED = (nn.ConvTranspose2d, nn.ConvTranspose3d)

PARAMETERLESS: list[tuple[tuple[type[nn.Module], ...], str]] = [
    ((nn.MaxPool2d, nn.MaxPool3d), "max pool"),
    ((nn.AvgPool2d, nn.AvgPool3d), "mean pool"),
    ((nn.MaxUnpool2d, nn.MaxUnpool3d), "unpool"),
    ((nn.Dropout, nn.Dropout2d, nn.Dropout3d), "dropout"),
    ((nn.Upsample,), "interpolation"),
]
"""Layers without parameters that have a row of their own; activations have none."""

OPERATIONS: dict[Callable[..., Any], str] = {
    torch.cat: "concatenate",
    torch.add: "add",
    Tensor.add: "add",
    Tensor.add_: "add",
    Tensor.__add__: "add",
    F.interpolate: "interpolation",
    F.max_pool2d: "max pool",
    F.max_pool3d: "max pool",
}
"""What has a row where a network does it outside of any layer."""


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


def summarise(network: Network, space: Iterable[int]) -> list[Layer]:
    """The layers of a network, all heads included, in the order in which an image passes them.

    Nothing is computed: shapes come from a pass on the meta device.

    Parameters
    ----------
    network
        On the meta device, such as one made under ``torch.device("meta")``.
    space
        Size along each spatial axis, in pixels.

    Raises
    ------
    SizeError
        The network has no output for this size.
    """
    image = torch.zeros(1, network.settings.channels, *space, device="meta")
    network.check(image)  # measures the field, if it has to, before anything is written down
    walk = _Walk(network, image)
    with torch.no_grad(), walk:
        network.heads(image)
    walk.remove()
    return walk.rows


class _Walk(TorchFunctionMode):
    """Writes down every layer, and every operation of `OPERATIONS` outside of layers.

    A tensor comes from the layers that made it; what has no row hands on where its inputs are from.
    """

    def __init__(self, network: Network, image: Tensor) -> None:
        super().__init__()
        self.rows = [Layer("input", "image", tuple(image.shape[1:]), 0, 0, (), 0)]
        self.origin: dict[int, tuple[str, ...]] = {id(image): ("input",)}
        self.alive = [image]  # an id is given anew when its tensor is gone
        self.inside = 0
        self.hooks: list[Any] = []
        for name, module in network.named_modules():
            if _kind(module):
                before = module.register_forward_pre_hook(lambda *_: self._enter())
                after = module.register_forward_hook(
                    lambda layer, given, made, name=name: self._leave(name, layer, given, made)
                )
                self.hooks += [before, after]

    def remove(self) -> None:
        """Leave the network as it was."""
        for hook in self.hooks:
            hook.remove()

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run it, and note where the result is from."""
        kwargs = kwargs or {}
        self.inside += 1  # what it does inside is its own affair
        try:
            result = func(*args, **kwargs)
        finally:
            self.inside -= 1
        if not self.inside:
            sources = [self.origin[id(x)] for x in _tensors((args, kwargs)) if id(x) in self.origin]
            kind = OPERATIONS.get(func)
            if kind and (kind != "add" or len(sources) > 1):
                number = sum(row.kind == kind for row in self.rows)
                self._add(f"{kind}{number}", kind, None, sources, _tensors(result))
            elif sources:
                self._hand_on(_tensors(result), _union(sources))
        return result

    def _enter(self) -> None:
        self.inside += 1

    def _leave(self, name: str, layer: nn.Module, given: Any, made: Any) -> None:
        self.inside -= 1
        if not self.inside:
            sources = [self.origin[id(x)] for x in _tensors(given) if id(x) in self.origin]
            self._add(name, _kind(layer), layer, sources, _tensors(made), _tensors(given))

    def _add(
        self,
        name: str,
        kind: str,
        layer: nn.Module | None,
        sources: list[tuple[str, ...]],
        made: list[Tensor],
        given: Iterable[Tensor] = (),
    ) -> None:
        parameters = list(layer.parameters()) if layer else []
        statistics = [buffer for buffer in layer.buffers() if buffer.ndim] if layer else []
        self.rows.append(
            Layer(
                name,
                kind,
                tuple(made[0].shape[1:]),
                sum(value.numel() for value in (*parameters, *statistics)),
                sum(value.numel() for value in parameters if value.requires_grad),
                _union(sources),
                _flop(layer, next(iter(given)), made[0]) if layer else 0,
            )
        )
        self._hand_on(made, (name,))

    def _hand_on(self, made: list[Tensor], names: tuple[str, ...]) -> None:
        self.alive += made
        self.origin.update((id(value), names) for value in made)


def _union(sources: list[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for names in sources for name in names))


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _kind(module: nn.Module) -> str:
    """What a layer is; empty for a module that is none."""
    if isinstance(module, CONVOLUTIONS):
        kernel = "x".join(map(str, module.kernel_size))
        grouped = " in groups" if module.groups > 1 else ""
        dilated = " dilated" if max(module.dilation) > 1 else ""
        return f"{'up-' * isinstance(module, TRANSPOSED)}conv {kernel}{dilated}{grouped}"
    for kinds, name in PARAMETERLESS:
        if isinstance(module, kinds):
            return name
    if next(module.parameters(recurse=False), None) is None:
        return ""
    named = type(module).__name__
    return "norm" if "norm" in named.lower() else named.lower()


def _flop(layer: nn.Module, features: Tensor, result: Tensor) -> int:
    """Two operations for each weight and each position at which the kernel is applied."""
    if not isinstance(layer, CONVOLUTIONS):
        return 0
    positions = features.shape[2:] if isinstance(layer, TRANSPOSED) else result.shape[2:]
    return 2 * layer.weight.numel() * math.prod(positions)
