"""A network that starts from an earlier model instead of at random."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from overtile.errors import SettingsError
from overtile.model import Arrays

SHOWN = 6
"""Names of new tensors in a sentence; the others are counted."""


@dataclass(frozen=True)
class Reuse:
    """What a network has from an earlier model.

    Attributes
    ----------
    origin
        The model's name.
    reused
        Names of the tensors that were taken.
    new
        Those that are random, with the reason in brackets where the model has one of that name.
    share
        Of the network's numbers that were taken, 0 to 1.
    """

    origin: str
    reused: tuple[str, ...]
    new: tuple[str, ...]
    share: float

    def __str__(self) -> str:
        tensors = len(self.reused) + len(self.new)
        said = (
            f"From {self.origin}: {len(self.reused)} of {tensors} tensors, "
            f"{self.share:.1%} of the numbers."
        )
        if self.new:
            more = len(self.new) - SHOWN
            said += f" New: {', '.join(self.new[:SHOWN])}{f' and {more} more' * (more > 0)}."
        return said


@torch.no_grad()
def start_from(network: nn.Module, parameters: Arrays, origin: str) -> Reuse:
    """Copy into a network what fits it by name and shape.

    Layers whose channels or classes differ stay random: the first and the last, where a model
    trained on other data has the same network.

    Parameters
    ----------
    network
        Changed in place.
    parameters
        Of the earlier model.
    origin
        Its name, for messages.

    Raises
    ------
    SettingsError
        No weight fits.
    """
    reused, new, taken, whole, weights = [], [], 0, 0, 0
    for name, value in network.state_dict().items():
        whole += value.numel()
        given = parameters.get(name)
        if given is None:
            new.append(name)
        elif given.shape != tuple(value.shape):
            new.append(f"{name} ({_shape(given.shape)} there, {_shape(value.shape)} here)")
        else:
            value.copy_(torch.from_numpy(given))
            reused.append(name)
            taken += value.numel()
            weights += value.ndim > 1
    if not weights:
        raise SettingsError(
            f"No weight of {origin} fits the network: {new[0]}, and so on. Train the same network, "
            "which is what --from does where no other is named."
        )
    return Reuse(origin, tuple(reused), tuple(new), taken / whole)


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"
