"""Probabilities put right after training with pixel weights.

A network that was trained with weights expects the weighted classes more often than they occur: a
border that counts six times is predicted too wide at a probability of 0.5. The logits are shifted
by one constant per class, the one that makes the loss of training smallest where all training
pixels weigh the same: with cross-entropy alone, probabilities become those that the labels have.
The order of pixels by probability stays what the weights taught.

Where the mean over classes counts, and not the number of right pixels, a part of the classes'
frequencies is taken out again (logit adjustment: Menon et al. 2021, arXiv:2007.07314).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from overtile.labels import IGNORE
from overtile.losses import loss
from overtile.settings import Activation, LossSettings

ENOUGH_PX = 1_000_000
"""A shift per class is known to better than a hundredth from far fewer pixels."""

MOST_PX = 4 * ENOUGH_PX
"""Where few of them are labelled, as with scribbles, no more pixels are predicted for it."""


def logit_shift(
    predicted: Iterable[tuple[NDArray[np.float32], NDArray[np.int16]]], trained: LossSettings
) -> Tensor:
    """What to add to the logits of each class, (k) float32.

    Parameters
    ----------
    predicted
        Logits (n k *space) and class ids (*space), or of classes that overlap 0 and 1 (k *space),
        -1 where unlabelled, of training images; taken until there are enough pixels. Where
        prediction averages the probabilities of n passes, of each of them, else of one.
    trained
        The loss of training. Soft Dice takes part, because it has placed the boundaries of rare
        classes where overlap is best; the boundary loss does not, because it is of whole images.

    Returns
    -------
    Tensor
        With mean 0 for softmax, where only differences count. Limited to plus and minus 5, for
        classes that the training images separate without an error. 0 for classes that these pixels
        do not have: they say nothing of them, and would take them out of all predictions.
    """
    logits, targets, count, looked_at = [], [], 0, 0
    for scores, target in predicted:
        labelled = target != IGNORE
        if target.ndim == scores.ndim - 1:
            labelled = labelled.all(axis=0)
        if len(scores) > 1:  # all passes are held: so many times fewer pixels of each
            labelled &= _thinned(labelled.shape, len(scores))
        logits.append(torch.from_numpy(scores[:, :, labelled]))
        targets.append(torch.from_numpy(target[..., labelled].astype(np.int64)))
        count += int(labelled.sum()) * len(scores)
        looked_at += labelled.size * len(scores)
        if count >= ENOUGH_PX or looked_at >= MOST_PX:
            break
    given, truth = torch.cat(logits, dim=2), torch.cat(targets, dim=-1)[None]
    there = _there(truth[0], given.shape[1])
    even = torch.ones(given[:1, 0].shape)
    shift = torch.zeros(given.shape[1], requires_grad=True)
    optimiser = torch.optim.LBFGS([shift], max_iter=30, line_search_fn="strong_wolfe")
    activation = trained.activation
    # The likelihood has a part in any case, so that there is one best shift.
    update = {"boundary": 0.0, "cross_entropy": trained.cross_entropy or 1.0}
    settings = trained.model_copy(update=update)

    def energy() -> Tensor:
        optimiser.zero_grad()
        shifted = _of_mean(given + torch.where(there, shift, 0)[:, None], activation)
        value = loss(shifted, truth, even, settings)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(energy)  # type: ignore[no-untyped-call]
    found = shift.detach()
    found = found - found[there].mean() if activation == "softmax" else found
    return torch.where(there, found.clamp(-5, 5), 0)


def adjustment(class_px: Sequence[int], share: float) -> Tensor:
    """What takes a share of the classes' frequencies out of the logits, (k) float32.

    Parameters
    ----------
    class_px
        How many training pixels each class has.
    share
        From 0, the class that is most probable, to 1, the class that is most probable if all were
        equally frequent: τ of Menon et al. 2021, arXiv:2007.07314, section 4.1.

    Returns
    -------
    Tensor
        With mean 0 over the classes that there are; 0 for those that no pixel has.
    """
    pixels = torch.tensor(class_px, dtype=torch.float32)
    there = pixels > 0
    frequencies = pixels.clamp_min(1).log()
    return torch.where(there, share * (frequencies[there].mean() - frequencies), 0)


def _there(truth: Tensor, classes: int) -> Tensor:
    """Whether a pixel has each class (k), of class ids (pixels), or 0 and 1 (k pixels)."""
    if truth.ndim == 2:
        return (truth > 0).any(dim=1)
    return torch.bincount(truth, minlength=classes) > 0


def _thinned(shape: tuple[int, ...], passes: int) -> NDArray[np.bool_]:
    """One of so many pixels, spread evenly."""
    kept = np.zeros(shape, bool)
    kept.ravel()[::passes] = True
    return kept


def _of_mean(logits: Tensor, activation: Activation) -> Tensor:
    """The logits (1 k pixels) of the mean of the probabilities of all passes (n k pixels)."""
    if len(logits) == 1:
        return logits
    if activation == "softmax":
        return logits.log_softmax(dim=1).logsumexp(dim=0, keepdim=True)
    yes, no = (each.logsumexp(dim=0, keepdim=True) for each in _log_shares(logits))
    return yes - no


def _log_shares(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The logarithms of the probability of each class and of its opposite."""
    return nn.functional.logsigmoid(logits), nn.functional.logsigmoid(-logits)
