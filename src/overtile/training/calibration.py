"""Probabilities put right after training with pixel weights.

A network that was trained with weights expects the weighted classes more often than they occur: a
border that counts six times is predicted too wide at a probability of 0.5. The logits are shifted
by one constant per class, the one that makes the unweighted likelihood of the training pixels
largest. The order of pixels by probability stays what the weights taught.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from overtile.labels import IGNORE
from overtile.losses import loss
from overtile.settings import Activation, LossSettings

ENOUGH_PX = 1_000_000
"""A shift per class is known to better than a hundredth from far fewer pixels."""

MOST_PX = 4 * ENOUGH_PX
"""Where few of them are labelled, as with scribbles, no more pixels are predicted for it."""


def logit_shift(
    predicted: Iterable[tuple[NDArray[np.float32], NDArray[np.int16]]], activation: Activation
) -> Tensor:
    """What to add to the logits of each class, (k) float32.

    Parameters
    ----------
    predicted
        Logits (k *space) and class ids (*space), or of classes that overlap 0 and 1 (k *space), -1
        where unlabelled, of training images; taken until there are enough pixels.
    activation
        What makes probabilities of the logits.

    Returns
    -------
    Tensor
        With mean 0 for softmax, where only differences count. Limited to plus and minus 5, for
        classes that the training images separate without an error.
    """
    logits, targets, count, looked_at = [], [], 0, 0
    for scores, target in predicted:
        labelled = target != IGNORE
        if target.ndim == scores.ndim:
            labelled = labelled.all(axis=0)
        logits.append(torch.from_numpy(scores[:, labelled]))
        targets.append(torch.from_numpy(target[..., labelled].astype(np.int64)))
        count += int(labelled.sum())
        looked_at += labelled.size
        if count >= ENOUGH_PX or looked_at >= MOST_PX:
            break
    given, truth = torch.cat(logits, dim=1)[None], torch.cat(targets, dim=-1)[None]
    even = torch.ones(given[:, 0].shape)
    shift = torch.zeros(given.shape[1], requires_grad=True)
    optimiser = torch.optim.LBFGS([shift], max_iter=30, line_search_fn="strong_wolfe")
    settings = LossSettings(activation=activation)

    def energy() -> Tensor:
        optimiser.zero_grad()
        value = loss(given + shift[:, None], truth, even, settings)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(energy)  # type: ignore[no-untyped-call]
    found = shift.detach()
    found = found - found.mean() if activation == "softmax" else found
    return found.clamp(-5, 5)
