"""Settings of the sliding-window network."""

from __future__ import annotations

from typing import Literal, Self

from overtile.settings.networks import NetworkSettings, Whole


class PatchNetSettings(NetworkSettings):
    """The pixel classifier of Cireşan et al. 2012 (NIPS, pages 2843-2851), for 65 px patches.

    Attributes
    ----------
    base_channels
        Channels of each convolution (the paper: 48).
    fc_channels
        Units of the fully connected layer (the paper: 200).
    """

    name: Literal["patchnet"] = "patchnet"
    dimensions: Literal[2] = 2
    padding: Literal["valid"] = "valid"
    base_channels: Whole = 48
    fc_channels: Whole = 200

    def thin(self) -> Self:
        """With one channel everywhere."""
        return super().thin().model_copy(update={"base_channels": 1, "fc_channels": 1})
