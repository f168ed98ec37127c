"""Settings of TernausNet."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from overtile.settings.encoder import PretrainedSettings

PRETRAINED_CHANNELS = 64
"""Of the first convolution of the VGG networks that were trained on ImageNet."""


class TernausNetSettings(PretrainedSettings):
    """TernausNet of Iglovikov and Shvets 2018 (arXiv:1801.05746); the defaults are the paper's.

    Attributes
    ----------
    encoder
        ``vgg11``: 8 convolutions (the paper). ``vgg16``: 13.
    base_channels
        Channels of the first convolution; 64 in all files of trained parameters.
    init
        Of parameters that are not read: ``he-normal`` or ``lecun-uniform`` (the paper); see
        `ConvolutionSettings`.
    """

    name: Literal["ternausnet"] = "ternausnet"
    padding: Literal["same"] = "same"
    encoder: Literal["vgg11", "vgg16"] = "vgg11"
    base_channels: Annotated[int, Field(ge=2)] = PRETRAINED_CHANNELS
    init: Literal["he-normal", "lecun-uniform"] = "he-normal"

    def thin(self) -> Self:
        """With two channels on the first level, of which the last has half."""
        thin = super().thin()
        return thin.model_copy(update={"base_channels": 2, "encoder_weights": "none"})

    @model_validator(mode="after")
    def _published(self) -> Self:
        if self.encoder_weights == "pretrained" and self.base_channels != PRETRAINED_CHANNELS:
            raise ValueError(
                f"base_channels {self.base_channels} fits no pretrained encoder: use "
                f"{PRETRAINED_CHANNELS}, or encoder_weights 'none'"
            )
        return self
