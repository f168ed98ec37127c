"""Classes of pixels: the truth as one plane for each, and their probabilities."""

from __future__ import annotations

import torch
from torch import Tensor

from overtile.settings import Activation


def one_hot(target: Tensor, classes: int) -> Tensor:
    """Class ids (b *space) as one plane per class (b k *space), all 0 where ignored."""
    return torch.stack([target == number for number in range(classes)], dim=1)


def probabilities(logits: Tensor, activation: Activation) -> Tensor:
    """Softmax over the classes (axis 1), or a sigmoid for each."""
    return logits.softmax(dim=1) if activation == "softmax" else logits.sigmoid()
