"""Settings of the fully convolutional networks."""

from __future__ import annotations

from typing import Literal, Self

from overtile.settings.networks import NetworkSettings, Share, Whole


class FCNSettings(NetworkSettings):
    """FCN-32s, FCN-16s and FCN-8s of Long et al. 2015 (arXiv:1411.4038).

    Attributes
    ----------
    stride
        Pixels of the image for one of the finest scores: 32 takes none but those of the last map;
        16 adds those of the fourth pooling, and 8 those of the third as well.
    base_channels
        Channels of the first level (VGG16: 64); those below have 2, 4, 8 and 8 times as many.
    fc_channels
        Channels of the two convolutions that were VGG16's fully connected layers (4096).
    dropout
        After each of these two.
    """

    name: Literal["fcn"] = "fcn"
    dimensions: Literal[2] = 2
    padding: Literal["same"] = "same"
    stride: Literal[32, 16, 8] = 8
    base_channels: Whole = 64
    fc_channels: Whole = 4096
    dropout: Share = 0.5

    @property
    def border(self) -> Literal["mirror", "own"]:
        """Mirrored: the zeros beyond its coarse maps would pull the edge's logits to zero."""
        return "mirror"

    def thin(self) -> Self:
        """With one channel on the first level, and without what acts pixel by pixel."""
        thin = super().thin()
        return thin.model_copy(update={"base_channels": 1, "fc_channels": 1, "dropout": 0.0})
