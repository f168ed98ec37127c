"""Networks whose encoder can begin with parameters that were learnt on ImageNet."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, Self

from torch import nn

from overtile.networks.network import Network, Rated
from overtile.networks.weights import State, fit, read
from overtile.normalise import Normalisation
from overtile.settings import PretrainedSettings

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of red, green and blue between 0 and 1, which torchvision's and most
of timm's networks were trained with."""


class Pretrained(Network):
    """A network with an `encoder` that can begin with parameters of others.

    Until `start` is called they are random: `overtile.train` calls it once.

    A network of this kind makes its encoder with `_held`, and says where its published parameters
    are (`_published`) and which of those in a file are the encoder's (`_of_encoder`).

    Attributes
    ----------
    colours
        Mean and standard deviation of red, green and blue, between 0 and 1, in the pretraining.
    """

    settings: PretrainedSettings
    encoder: nn.Module
    colours: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET

    def start(self) -> None:
        """Give the encoder the parameters that `encoder_weights` names.

        Raises
        ------
        SettingsError
            There is no such file.
        ModelError
            It holds no parameters, or not those of this encoder.
        MissingError
            Published parameters are neither in the library's cache nor within reach, or the library
            is not installed.
        """
        settings = self.settings
        if settings.encoder_weights == "none":
            return
        if settings.encoder_weights == "pretrained":
            given, origin = self._published(), f"what is published for {settings.encoder}"
        else:
            given, origin = read(Path(settings.encoder_weights)), settings.encoder_weights
        wanted = self.encoder.state_dict()
        self.encoder.load_state_dict(
            fit(wanted, self._of_encoder(given), f"{origin} does not fit {settings.encoder}")
        )

    def rated(self) -> list[Rated]:
        """The encoder's own learning rate; none where it is frozen."""
        encoder, rate = list(self.encoder.parameters()), self.settings.encoder_rate
        known = set(map(id, encoder))
        others = [value for value in self.parameters() if id(value) not in known]
        return [(others, 1.0), *([(encoder, rate)] if rate else [])]

    @property
    def normalisation(self) -> Normalisation | None:
        """What 8-bit images were normalised with in the pretraining; None without parameters of it.

        Colours are repeated as the first layer's parameters are; one channel has their mean.
        """
        if self.settings.encoder_weights == "none":
            return None
        count = self.settings.channels
        mean, std = (
            (sum(values) / 3,) if count == 1 else tuple(values[n % 3] for n in range(count))
            for values in self.colours
        )
        return Normalisation(
            tuple(255 * value for value in mean),
            tuple(255 * value for value in std),
            "pretraining",
            reason="Intensities are normalised by mean and standard deviation of the encoder's "
            "pretraining, because all images are of 8 bits, as its were.",
        )

    def train(self, mode: bool = True) -> Self:
        """As in every module; a frozen encoder stays in evaluation, with the statistics it has."""
        super().train(mode)
        if self.settings.encoder_rate == 0:
            self.encoder.eval()
        return self

    def _held(self, encoder: Any) -> Any:
        """The encoder itself, without gradients where it is frozen."""
        return encoder if self.settings.encoder_rate else encoder.requires_grad_(False).eval()

    @abstractmethod
    def _published(self) -> State:
        """The published parameters, in any form that `_of_encoder` reads."""

    @abstractmethod
    def _of_encoder(self, state: State) -> State:
        """Those of a file that are the encoder's, and what it lacks of them, under its names."""
