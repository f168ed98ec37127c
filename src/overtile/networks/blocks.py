"""The parts that networks are made of, each written for 2-D and 3-D at once."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from overtile.settings import UNetSettings

CONVOLUTION: dict[int, type[nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
UP_CONVOLUTION: dict[int, type[nn.Module]] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
POOLING: dict[int, type[nn.Module]] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
INSTANCE_NORM: dict[int, type[nn.Module]] = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
GROUP = 8
"""Channels of a group of group norm; more where they cannot be parted into so many."""

BATCH_NORM: dict[int, type[nn.Module]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


class BatchRenorm(nn.Module):
    """Batch renormalisation (Ioffe 2017, arXiv:1702.03275, algorithm 1), over any dimensions.

    In training, activations are normalised with the batch's statistics and then corrected towards
    the stored ones by r and d, through which no gradient flows, so that training and prediction
    compute nearly the same function even at batch size 1. In prediction it is batch normalisation.

    Parameters
    ----------
    channels
        Of the input (b c *space).
    eps, momentum
        As in `torch.nn.BatchNorm2d`.
    warmup_steps
        Over the first so many training steps it is plain batch normalisation; over the next so
        many the corrections are let grow linearly to their limits r <= 3 and -5 <= d <= 5 (the
        limits of the paper, whose 5,000 and 25,000 steps suit runs of 160,000).
    """

    R_MAX = 3.0
    D_MAX = 5.0

    def __init__(
        self, channels: int, eps: float = 1e-5, momentum: float = 0.1, warmup_steps: int = 100
    ) -> None:
        super().__init__()
        self.eps = eps
        self.momentum = momentum
        self.warmup_steps = warmup_steps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))
        self.running_mean: Tensor
        self.running_var: Tensor
        self.num_batches_tracked: Tensor

    def forward(self, features: Tensor) -> Tensor:
        """The normalised features (b c *space), in their own dtype; statistics are in float32."""
        if not self.training:
            return F.batch_norm(
                features,
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                eps=self.eps,
            )
        r, d = self._correct(features)
        scale, shift = self.weight * r, self.bias + self.weight * d
        return F.batch_norm(features, None, None, scale, shift, training=True, eps=self.eps)

    @torch.no_grad()
    def _correct(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The corrections r and d of a batch, whose statistics are then stored."""
        mean, unbiased = torch.zeros_like(self.running_mean), torch.zeros_like(self.running_var)
        # With momentum 1 the batch's own statistics are what is stored.
        F.batch_norm(features, mean, unbiased, training=True, momentum=1.0)
        count = features.numel() // features.shape[1]
        loosened = (self.num_batches_tracked / self.warmup_steps - 1).clamp(0, 1)
        r_max, d_max = 1 + (self.R_MAX - 1) * loosened, self.D_MAX * loosened
        stored = torch.sqrt(self.running_var + self.eps)
        r = torch.sqrt(unbiased * ((count - 1) / count) + self.eps) / stored
        d = (mean - self.running_mean) / stored
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(unbiased, self.momentum)
        self.num_batches_tracked += 1
        return torch.clamp(r, 1 / r_max, r_max), torch.clamp(d, -d_max, d_max)


class DoubleConvolution(nn.Module):
    """Two convolutions, each followed by the norm, where there is one, and a ReLU.

    Parameters
    ----------
    settings
        Dimensions, kernel, padding and norm.
    before, after
        Channels of the input and of the output.
    """

    def __init__(self, settings: UNetSettings, before: int, after: int) -> None:
        super().__init__()
        self.conv1 = convolution(settings, before, after, settings.kernel_size)
        self.norm1 = _norm(settings, after)
        self.conv2 = convolution(settings, after, after, settings.kernel_size)
        self.norm2 = _norm(settings, after)

    def forward(self, features: Tensor) -> Tensor:
        """Features (b after *out) of features (b before *space)."""
        features = torch.relu_(self.norm1(self.conv1(features)))
        return torch.relu_(self.norm2(self.conv2(features)))

    def fold(self) -> None:
        """Take the norms, as they are in evaluation, into the convolutions before them."""
        for name in ("1", "2"):
            norm, layer = getattr(self, f"norm{name}"), getattr(self, f"conv{name}")
            if isinstance(norm, BatchRenorm | nn.BatchNorm2d | nn.BatchNorm3d):
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
        if isinstance(module, DoubleConvolution):
            module.fold()
    return network


def convolution(settings: UNetSettings, before: int, after: int, kernel: int) -> nn.Module:
    """A convolution with the settings' padding and dimensions, initialised as in the paper."""
    padding = kernel // 2 if settings.padding == "same" else 0
    made = CONVOLUTION[settings.dimensions](before, after, kernel, padding=padding)
    return initialise(made, before * kernel**settings.dimensions)


def up_convolution(settings: UNetSettings, before: int) -> nn.Module:
    """The transposed convolution of kernel and stride 2 that halves the channels."""
    made = UP_CONVOLUTION[settings.dimensions](before, before // 2, 2, stride=2)
    return initialise(made, before)


def initialise(made: Any, inputs: int) -> nn.Module:
    """Gaussian weights of standard deviation sqrt(2 / N), and no bias.

    N is the number of inputs of one output value (Ronneberger et al. 2015, section 3): k^n C_in
    for a convolution; C_in for an up-convolution of stride 2, where each output comes from one
    input pixel. The framework's fan-in counts the latter otherwise.
    """
    nn.init.normal_(made.weight, std=math.sqrt(2 / inputs))
    nn.init.zeros_(made.bias)
    module: nn.Module = made
    return module


def _norm(settings: UNetSettings, channels: int) -> nn.Module:
    if settings.norm == "none":
        return nn.Identity()
    if settings.norm == "batch-renorm":
        return BatchRenorm(channels)
    if settings.norm == "group":
        return nn.GroupNorm(math.gcd(channels, max(1, channels // GROUP)), channels)
    if settings.norm == "instance":
        return INSTANCE_NORM[settings.dimensions](channels, affine=True)
    return BATCH_NORM[settings.dimensions](channels)
