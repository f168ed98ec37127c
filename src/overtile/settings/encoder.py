"""Settings of networks whose encoder can begin with parameters learnt on ImageNet."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field

from overtile.settings.networks import NetworkSettings, Padding, Whole


class PretrainedSettings(NetworkSettings):
    """A network with an encoder that others have trained, for images of two dimensions.

    Attributes
    ----------
    encoder
        Which one; the network says which there are.
    encoder_weights
        What the encoder's parameters are when training begins. ``pretrained``: those of ImageNet
        that its library publishes, from the library's cache or downloaded to it. ``none``: random.
        Else the path of a file with them: .safetensors, or a state dict in .pth or .pt.
    encoder_rate
        The learning rate of the encoder as a share of that of all other layers: 1 trains all alike,
        0 freezes the encoder with the statistics of its norms.
    """

    dimensions: Literal[2] = 2
    padding: Padding = "same"
    encoder: str
    encoder_weights: Annotated[str, Field(min_length=1)] = "pretrained"
    encoder_rate: Annotated[float, Field(ge=0, le=1)] = 1.0


class EncoderUNetSettings(PretrainedSettings):
    """An encoder of the library timm, and the expanding path of a U-Net.

    Attributes
    ----------
    encoder
        Any model of timm that gives feature maps, such as ``resnet18``, ``resnet34``, ``resnet50``,
        ``densenet121`` or ``convnext_tiny``. Those with squeeze-and-excitation or attention, such
        as ``efficientnet_b0``, are not exact in tiles.
    base_channels
        Channels of the expanding path at the image's resolution; as many times more on each level
        below as its stride.
    norm
        After each convolution of the expanding path; see `ConvolutionSettings`.
    """

    name: Literal["encoder-unet"] = "encoder-unet"
    padding: Literal["same"] = "same"
    encoder: str = "resnet34"
    base_channels: Whole = 16
    norm: Literal["none", "batch", "batch-renorm"] = "batch"

    def thin(self) -> Self:
        """With one channel at the image's resolution; the encoder is what it is."""
        thin = super().thin()
        return thin.model_copy(
            update={"base_channels": 1, "norm": "none", "encoder_weights": "none"}
        )
