"""The parts that networks are made of, each written for 2-D and 3-D at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from overtile.networks.renorm import BatchRenorm
from overtile.settings import ConvolutionSettings

CONVOLUTION: dict[int, type[nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
UP_CONVOLUTION: dict[int, type[nn.Module]] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
POOLING: dict[int, type[nn.Module]] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
INSTANCE_NORM: dict[int, type[nn.Module]] = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
GROUP = 8
"""Channels of a group of group norm; more where they cannot be parted into so many."""

BATCH_NORM: dict[int, type[nn.Module]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}

STORING = (BatchRenorm, nn.BatchNorm2d, nn.BatchNorm3d)
"""The norms that store statistics."""

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu_,
    "leaky-relu": partial(F.leaky_relu_, negative_slope=0.01),
    "elu": F.elu_,
    "silu": partial(F.silu, inplace=True),
    "gelu": F.gelu,
}


class Block(nn.Module):
    """Two convolutions, each followed by the norm, where there is one, and the activation.

    Parameters
    ----------
    settings
        Dimensions, kernel, padding, norm and activation.
    before, after
        Channels of the input and of the output.
    middle
        Channels between the convolutions; by default those of the output.
    residual
        Whether the input is added before the last activation, through a 1x1 convolution where the
        channels differ.

    Attributes
    ----------
    saves_memory
        Whether only the input is kept for the gradients, and the rest computed again for them.
    """

    saves_memory = False

    def __init__(
        self,
        settings: ConvolutionSettings,
        before: int,
        after: int,
        middle: int | None = None,
        *,
        residual: bool = False,
    ) -> None:
        super().__init__()
        middle = middle or after
        self.activate = ACTIVATIONS[settings.activation]
        self.conv1 = convolution(settings, before, middle, settings.kernel_size)
        self.norm1 = _norm(settings, middle)
        self.conv2 = convolution(settings, middle, after, settings.kernel_size)
        self.norm2 = _norm(settings, after)
        self.residual = residual
        if residual:
            same = before == after
            self.shortcut = nn.Identity() if same else convolution(settings, before, after, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Features (b after *out) of features (b before *space)."""
        if self.saves_memory and self.training and torch.is_grad_enabled():
            made: Tensor = checkpoint(
                self._compute,
                features,
                use_reentrant=False,
                preserve_rng_state=False,  # nothing here is random
                context_fn=lambda: (nullcontext(), self._again()),
            )
            return made
        return self._compute(features)

    def _compute(self, features: Tensor) -> Tensor:
        made: Tensor = self.norm2(self.conv2(self.activate(self.norm1(self.conv1(features)))))
        if self.residual:
            made = made + centre(self.shortcut(features), made.shape[2:])
        return self.activate(made)

    @contextmanager
    def _again(self) -> Iterator[None]:
        """The norms give what they gave before, and leave their statistics as they are."""
        norms: list[Any] = [n for n in (self.norm1, self.norm2) if isinstance(n, STORING)]
        before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
        for norm in norms:
            # So, because checkpoints ask for the same tensors as before, stored statistics too.
            norm.momentum, norm.num_batches_tracked = 0.0, None
        try:
            yield
        finally:
            for norm, (momentum, count) in zip(norms, before, strict=True):
                norm.momentum, norm.num_batches_tracked = momentum, count

    def fold(self) -> None:
        """Take the norms, as they are in evaluation, into the convolutions before them."""
        for name in ("1", "2"):
            norm, layer = getattr(self, f"norm{name}"), getattr(self, f"conv{name}")
            if isinstance(norm, STORING):
                _fold(norm, layer)
                setattr(self, f"norm{name}", nn.Identity())


@torch.no_grad()
def _fold(norm: Any, layer: Any) -> None:
    """W <- W g / s and b <- (b - m) g / s + h, for y = g (x - m) / s + h after x = W u + b."""
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    shape = (-1,) + (1,) * (layer.weight.ndim - 1)
    layer.weight.copy_(layer.weight.double() * scale.reshape(shape))
    layer.bias.copy_(
        (layer.bias.double() - norm.running_mean.double()) * scale + norm.bias.double()
    )


def fold_norms(network: nn.Module) -> nn.Module:
    """The network itself, with the norms of its blocks folded: the same function, fewer passes."""
    for module in network.modules():
        if isinstance(module, Block):
            module.fold()
    return network


def centre(features: Tensor, sizes: Sequence[int]) -> Tensor:
    """The middle of features (b c *space), of these sizes: the crop of "copy and crop".

    In a valid network the difference is even on every level, so that the middle is exact; with
    same padding there is none, and nothing is copied.
    """
    for axis, size in enumerate(sizes, start=2):
        features = features.narrow(axis, (features.shape[axis] - size) // 2, size)
    return features


def padded(features: Tensor, sizes: Sequence[int]) -> Tensor:
    """Features (b c *space) with zeros behind them, up to these sizes.

    They are missing behind, because a pooling leaves out the last pixels that do not fill it.
    """
    missing = [size - have for size, have in zip(sizes, features.shape[2:], strict=True)]
    return F.pad(features, [side for more in reversed(missing) for side in (0, more)])


def convolution(
    settings: ConvolutionSettings, before: int, after: int, kernel: int, *, bias: bool = True
) -> nn.Module:
    """A convolution with the settings' padding and dimensions, initialised as they say."""
    padding = kernel // 2 if settings.padding == "same" else 0
    made = CONVOLUTION[settings.dimensions](before, after, kernel, padding=padding, bias=bias)
    return initialise(made, before * kernel**settings.dimensions, settings.init)


def initialise(made: Any, inputs: int, init: str = "he-normal") -> nn.Module:
    """Random weights of variance 2 / N, normal, or of variance 1 / N, uniform; and no bias.

    N is the number of inputs of one output value (Ronneberger et al. 2015, section 3): k^n C_in
    for a convolution; C_in for an up-convolution of stride 2, where each output comes from one
    input pixel. The framework's fan-in counts the latter otherwise. Uniform between plus and minus
    sqrt(3 / N) is what TernausNet compares with (LeCun et al. 1998).
    """
    if init == "he-normal":
        nn.init.normal_(made.weight, std=math.sqrt(2 / inputs))
    else:
        nn.init.uniform_(made.weight, -math.sqrt(3 / inputs), math.sqrt(3 / inputs))
    if made.bias is not None:
        nn.init.zeros_(made.bias)
    module: nn.Module = made
    return module


def _norm(settings: ConvolutionSettings, channels: int) -> nn.Module:
    if settings.norm == "none":
        return nn.Identity()
    if settings.norm == "batch-renorm":
        return BatchRenorm(channels)
    if settings.norm == "group":
        return nn.GroupNorm(math.gcd(channels, max(1, channels // GROUP)), channels)
    if settings.norm == "instance":
        return INSTANCE_NORM[settings.dimensions](channels, affine=True)
    return BATCH_NORM[settings.dimensions](channels)
