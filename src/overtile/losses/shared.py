"""A batch whose windows are shared by several processes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Total = Callable[[Tensor], Tensor]
"""From sums over the windows of this process to those over all windows of the batch."""


def own(sums: Tensor) -> Tensor:
    """The sums themselves: no other process has windows of the batch."""
    return sums


def mean_of_labelled(values: Tensor, labelled: Tensor, total: Total) -> Tensor:
    """The sum of the values (b *space) of labelled pixels, over the number of these."""
    sums = [torch.where(labelled, values, 0).sum(), labelled.sum().to(values.dtype)]
    of_all, count = total(torch.stack(sums)).unbind()
    return of_all / count.clamp(min=1)
