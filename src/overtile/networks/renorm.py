"""Batch renormalisation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
        self.num_batches_tracked: Tensor | None

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
        if self.num_batches_tracked is not None:  # else the batch before is computed again
            self.corrections = self._correct(features, self.num_batches_tracked)
        r, d = self.corrections
        scale, shift = self.weight * r, self.bias + self.weight * d
        return F.batch_norm(features, None, None, scale, shift, training=True, eps=self.eps)

    @torch.no_grad()
    def _correct(self, features: Tensor, batches: Tensor) -> tuple[Tensor, Tensor]:
        """The corrections r and d of a batch, whose statistics are then stored."""
        mean, unbiased = torch.zeros_like(self.running_mean), torch.zeros_like(self.running_var)
        # With momentum 1 the batch's own statistics are what is stored.
        F.batch_norm(features, mean, unbiased, training=True, momentum=1.0)
        count = features.numel() // features.shape[1]
        loosened = (batches / self.warmup_steps - 1).clamp(0, 1)
        r_max, d_max = 1 + (self.R_MAX - 1) * loosened, self.D_MAX * loosened
        stored = torch.sqrt(self.running_var + self.eps)
        r = torch.sqrt(unbiased * ((count - 1) / count) + self.eps) / stored
        d = (mean - self.running_mean) / stored
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(unbiased, self.momentum)
        batches += 1
        return torch.clamp(r, 1 / r_max, r_max), torch.clamp(d, -d_max, d_max)
