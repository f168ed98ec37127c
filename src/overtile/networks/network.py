"""What every network is: logits for images, with a field that is measured."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from overtile.errors import SizeError
from overtile.geometry import Field, Fields
from overtile.normalise import Normalisation
from overtile.settings import NetworkSettings, from_dict
from overtile.tileable import measure_fields

Rated = tuple[list[nn.Parameter], float]
"""Parameters, and their learning rate as a share of the settings'."""


class Network(nn.Module):
    """From images (b channels *space) to logits (b classes *out).

    A network of ours sets `Settings`, builds its layers from `settings`, and ends in a convolution
    `head`. Its ``forward`` calls `check` first.

    Parameters
    ----------
    settings
        Of the network's own kind; or leave it out and give its values by name, the others being
        the defaults: ``UNet(channels=3, padding="same")``.

    Raises
    ------
    SettingsError
        A setting that does not exist, out of range, or clashing with another.

    Attributes
    ----------
    measured
        Whether the field is known, or can be; False while it is being measured.
    """

    Settings: ClassVar[type[NetworkSettings]]
    head: nn.Module

    def __init__(self, settings: NetworkSettings | None = None, **values: Any) -> None:
        super().__init__()
        if settings is None or values:
            known = settings.model_dump() if settings else {}
            settings = from_dict(self.Settings, known | values, type(self).__name__)
        self.settings = settings
        self.measured = True

    @property
    def fields(self) -> Fields:
        """Along each axis: which sizes fit, what comes out, how far it sees; measured once."""
        return _fields(type(self), self.settings.thin()) if self.measured else ()  # type: ignore[arg-type]

    @property
    def sizes(self) -> Fields:
        """Fields of which only the sizes that fit are right: a network may know them unmeasured."""
        return self.fields

    @property
    def is_exact(self) -> bool:
        """Whether tiles of the network give what the whole image gives."""
        return self.settings.is_exact

    @property
    def normalisation(self) -> Normalisation | None:
        """What its parameters want 8-bit images to be normalised with; None for the data's own."""
        return None

    def start(self) -> None:
        """Called once when training begins, and not where a run is resumed: reads parameters."""

    def rated(self) -> list[Rated]:
        """All parameters that are trained, by their learning rate; the main ones first."""
        return [(list(self.parameters()), 1.0)]

    def heads(self, image: Tensor) -> tuple[Tensor, ...]:
        """All logits that training compares with the labels; the last are those of ``forward``."""
        return (self(image),)

    @torch.no_grad()
    def shift_logits(self, shift: Tensor) -> None:
        """Add a constant (classes) to the logits of each class, for good."""
        self.head.get_parameter("bias").add_(shift)

    def prune(self, level: int) -> Self:
        """The smaller network that this one holds; their parameters are the same memory.

        Raises
        ------
        SettingsError
            It holds none, or none of this level that was trained.
        """
        with torch.device("meta"):
            smaller = type(self)(self.settings.pruned(level))
        state = self.state_dict()
        own = {name: state[name] for name in smaller.state_dict()}
        smaller.load_state_dict(own, assign=True)
        return smaller.train(self.training)

    def check(self, image: Tensor) -> None:
        """Refuse what has no output; nothing is checked while a graph is traced or compiled.

        Raises
        ------
        SizeError
            The network has no output for this size, or another number of axes or channels.
        """
        if torch.compiler.is_compiling() or not self.measured:  # a traced size has no value
            return
        axes, channels = self.settings.dimensions + 2, self.settings.channels
        if image.ndim != axes or image.shape[1] != channels:
            raise SizeError(
                f"The network takes a batch of {channels}-channel images with {axes - 2} spatial "
                f"axes, (b, {channels}, *space), not an array of shape {tuple(image.shape)}."
            )
        for size, field in zip(image.shape[2:], self.sizes, strict=True):
            self.check_size(int(size), field)

    def check_size(self, size: int, field: Field) -> None:
        """Refuse a side that does not fit the field along its axis; raises as `check` does."""
        field.out(size)


@lru_cache
def _fields(kind: type[Network], thin: NetworkSettings) -> Fields:
    """Measured on a network with few channels, which sees the same."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        network = kind(thin)
        network.measured = False
        return measure_fields(network, thin.channels, thin.dimensions)
