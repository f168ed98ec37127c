"""A copy of a network that can be watched: its shapes for nothing, and how far a NaN spreads."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from overtile.errors import ModelError

Shape = tuple[int, ...]


class Probe:
    """A copy of a network in evaluation and float64 that knows which of its modules is running.

    Parameters
    ----------
    network
        Left as it is.
    device
        Of the copy; ``meta`` computes shapes and nothing else.

    Attributes
    ----------
    path
        Names of the modules that are running, outermost first; after an error those that had not
        ended.

    Raises
    ------
    ModelError
        A parameter is NaN.
    """

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        for name, value in chain(network.named_parameters(), network.named_buffers()):
            if value.isnan().any():
                raise ModelError(
                    f"'{name}' of the network holds NaN: expected numbers. Train again with a "
                    "smaller learning rate, or take an earlier state."
                )
        self.device = device
        self.network = deepcopy(network).eval().requires_grad_(False)
        self.network.to(device=device, dtype=torch.float64)
        self.path: list[str] = []
        for name, module in self.network.named_modules():
            if name:
                module.register_forward_pre_hook(lambda *_, name=name: self.path.append(name))
                module.register_forward_hook(lambda *_: self.path.pop() and None)

    def __call__(self, image: Tensor) -> Tensor:
        """The logits (1 k *out) of an image (1 c *space).

        Raises
        ------
        ModelError
            The network gives something else.
        """
        self.path.clear()
        with torch.no_grad(), _plain_attention(), torch.device(self.device):
            result = self.network(image)
        if not isinstance(result, Tensor) or result.ndim != image.ndim:
            found = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
            raise ModelError(
                f"The network gives {found} for an image of shape {tuple(image.shape)}: expected "
                "one tensor of logits (b k *space). Wrap it in a module that returns only that."
            )
        return result

    def image(self, channels: int, space: Sequence[int]) -> Tensor:
        """A random image (1 channels *space), the same every time."""
        if self.device.type == "meta":
            return torch.empty(1, channels, *space, dtype=torch.float64, device=self.device)
        chance = torch.Generator().manual_seed(0)
        made = torch.randn(1, channels, *space, dtype=torch.float64, generator=chance)
        return made.to(self.device)

    @property
    def layer(self) -> str:
        """The innermost module that is running; empty for the network itself."""
        return self.path[-1] if self.path else ""


def device_of(network: nn.Module) -> torch.device:
    """Where a network's parameters are; the processor where it has none."""
    return next((value.device for value in network.parameters()), torch.device("cpu"))


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Attention as its separate operations: the fused one has no kernel that takes only shapes."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@dataclass(frozen=True)
class Call:
    """One operation: the module it ran in, its name, and the shapes that went in and out.

    The span is how far a dilated kernel reaches, in pixels of its input, along each axis.
    """

    layer: str
    operation: str
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    is_view: bool
    aligns_corners: bool
    span: Shape


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down every operation."""

    def __init__(self, probe: Probe) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.probe = probe
        self.calls: list[Call] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run it, and note it."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        names = [argument.name for argument in func._schema.arguments]
        named = dict(zip(names, args, strict=False)) | kwargs
        self.calls.append(
            Call(
                self.probe.layer,
                name_of(func),
                tuple(tuple(value.shape) for value in _tensors((args, kwargs))),
                tuple(tuple(value.shape) for value in _tensors(result)),
                is_view(func),
                named.get("align_corners") is True,
                _span(named),
            )
        )
        return result


class Spread(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """NaN spreads as ever, and convolutions cost no more than one channel.

    Any NaN that a convolution reads makes what it gives NaN, in every channel of the group: so one
    channel of ones stands for all of them. Values that are not NaN mean nothing behind it.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run it, or what stands for it."""
        if func is torch.ops.aten.convolution.default:
            return _spread_convolution(*args)
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.where.self and result.is_floating_point():
            # A NaN compares as false, so that what is chosen by comparing with it does not tell.
            return result.masked_fill(args[1].isnan() | args[2].isnan(), torch.nan)
        return result


class Mixers(Spread):  # type: ignore[no-untyped-call]
    """Finds the operations that spread a NaN over everything, and undoes their spreading.

    An operation whose input is NaN in at most half of its values, and whose output is NaN
    everywhere, mixes all of space. Behind it the run goes on as if it had not, so that the next
    one is found as well.
    """

    def __init__(self, probe: Probe) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.probe = probe
        self.found: list[tuple[str, str]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run it, look at what it did, and undo that."""
        kwargs = kwargs or {}
        result = super().__torch_dispatch__(func, types, args, kwargs)
        if is_view(func) or func._schema.is_mutable:
            return result
        shares = [_nan_share(value) for value in _tensors((args, kwargs))]
        outputs = _tensors(result)
        if not (0 < max(shares, default=0) <= 0.5 and outputs and _nan_share(outputs[0]) == 1):
            return result
        self.found.append((self.probe.layer, name_of(func)))
        clean = tree_map(_without_nan, (args, kwargs))
        result = super().__torch_dispatch__(func, types, *clean)
        first, given = _tensors(result)[0], _tensors((args, kwargs))
        for value in given:
            if value.shape == first.shape and value.is_floating_point():
                first[value.isnan()] = torch.nan
        return result


def _spread_convolution(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,  # noqa: ARG001 - part of the operation's own signature
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
) -> Tensor:
    batch, channels, *space = features.shape
    spots = features.isnan().view(batch, groups, channels // groups, *space).any(dim=2)
    # An option with one value holds for all axes.
    stride, padding, dilation, output_padding = (
        given * (len(space) // len(given)) for given in (stride, padding, dilation, output_padding)
    )
    each = zip(weight.shape[2:], stride, padding, dilation, output_padding, strict=True)
    reached = _dilated(spots, [_Along(*along, transposed) for along in each])
    after = weight.shape[1] * groups if transposed else weight.shape[0]
    # Neither zero nor all alike, so that a division by a sum or a deviation makes no NaN.
    ramp = torch.linspace(0.5, 1.5, math.prod(reached.shape[2:]), dtype=features.dtype)
    values = ramp.to(features.device).view(reached.shape[2:]).masked_fill(reached, torch.nan)
    per_channel = torch.linspace(0.5, 1.5, after, dtype=features.dtype, device=features.device)
    per_channel = per_channel.view(groups, after // groups, *[1] * len(space))
    return (values.unsqueeze(2) * per_channel).flatten(1, 2)


class _Along(NamedTuple):
    """What a convolution does along one axis."""

    kernel: int
    stride: int
    padding: int
    dilation: int
    output_padding: int
    transposed: bool


NOTHING = _Along(1, 1, 0, 1, 0, transposed=False)
"""Of a convolution, along an axis that it leaves alone."""


def _dilated(spots: Tensor, axes: list[_Along]) -> Tensor:
    """Where a convolution, of each channel for itself, reads any spot.

    The spots of a half-space go on along the other axes from end to end. What happens along such an
    axis is what happens to a line of spots; the rest is computed for one slice.
    """
    lines = []
    for axis, along in enumerate(axes):
        first = spots.narrow(2 + axis, 0, 1)
        if spots.shape[2 + axis] > 1 and bool((spots == first).all()):
            line = torch.ones(1, 1, spots.shape[2 + axis], device=spots.device)
            shape = [-1 if other == axis else 1 for other in range(len(axes))]
            lines.append(_convolved(line, [along]).view(1, 1, *shape))
            spots, axes = first, [*axes[:axis], NOTHING, *axes[axis + 1 :]]
    reached = _convolved(spots.to(torch.float32), axes)
    for line in lines:
        reached = reached & line
    return reached


def _convolved(spots: Tensor, axes: list[_Along]) -> Tensor:
    groups = spots.shape[1]
    ones = torch.ones(groups, 1, *[along.kernel for along in axes], device=spots.device)
    stride, padding, dilation, more = ([along[i] for along in axes] for i in range(1, 5))
    transposed = any(along.transposed for along in axes)
    options = (None, stride, padding, dilation, transposed, more, groups)
    result: Tensor = torch.ops.aten.convolution.default(spots, ones, *options) > 0.5
    return result


def _span(named: dict[str, Any]) -> Shape:
    """How far the kernel of an operation with these arguments reaches, where it has holes."""
    weight = named.get("weight")
    kernel = weight.shape[2:] if isinstance(weight, Tensor) else named.get("kernel_size", ())
    dilation = named.get("dilation", ())
    pairs = zip(kernel, dilation, strict=False)
    return tuple((size - 1) * step if step > 1 else 0 for size, step in pairs)


def name_of(func: Any) -> str:
    """An operation's name, such as ``native_group_norm``."""
    return str(func._schema.name).split("::")[-1]


def is_view(func: Any) -> bool:
    """Whether an operation only looks at a part of its input, or in another shape."""
    return any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns)


def _tensors(values: Any) -> list[Tensor]:
    leaves: Iterable[Any] = tree_leaves(values)
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


def _nan_share(value: Tensor) -> float:
    if not (value.is_floating_point() or value.is_complex()) or value.numel() == 0:
        return 0.0
    return int(value.isnan().count_nonzero()) / value.numel()


def _without_nan(value: Any) -> Any:
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.nan_to_num(nan=0.5)
    return value
