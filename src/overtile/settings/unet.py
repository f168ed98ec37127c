"""Settings of the U-Net, in two and in three dimensions."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from overtile.settings.networks import ConvolutionSettings, Padding, Share, Stride, Whole


class UNetSettings(ConvolutionSettings):
    """The U-Net family of Ronneberger et al. 2015 (arXiv:1505.04597); the defaults are the paper's.

    Attributes
    ----------
    padding
        ``valid`` is the paper's.
    block
        ``plain``: two convolutions (the paper). ``residual``: their input is added to what they
        give, through a 1x1 convolution where the channels differ (He et al. 2016,
        arXiv:1512.03385).
    widening
        Where the channels double: in the first convolution after a pooling (the paper), or, so as
        not to lose what is pooled, in the last one ``before-pooling`` (Çiçek et al. 2016); there
        up-sampling keeps the channels, else it halves them.
    up
        How the expanding path comes to a larger map: ``transposed`` convolution (the paper);
        ``nearest`` or ``bilinear`` interpolation and a convolution; ``shuffle``: a convolution
        whose channels become pixels (Shi et al. 2016, arXiv:1609.05158); ``unpool``: a convolution
        whose values return to where the pooling found the maxima (SegNet, Badrinarayanan et al.
        2017, arXiv:1511.00561). All are exact in tiles; unpooling needs same padding.
    up_bias
        Whether transposed convolutions have a bias.
    skip
        How the contracting path joins in: ``concatenate`` (the paper), ``add`` (as FCN does), or
        ``none``.
    meet
        How two maps whose sizes differ meet at a skip: ``crop`` the larger (the paper), or ``pad``
        the smaller with zeros, which lets a same-padded network take any size as large as its grid.
    stem
        How many pixels along every axis, or along each such as [1, 2], the network takes as one:
        their values are channels at its beginning, and its logits become pixels at its end (Shi et
        al. 2016). It then computes on smaller maps, where processors are faster.
    dropout
        At the end of the contracting path.
    """

    name: Literal["unet"] = "unet"
    padding: Padding = "valid"
    block: Literal["plain", "residual"] = "plain"
    widening: Literal["after-pooling", "before-pooling"] = "after-pooling"
    up: Literal["transposed", "nearest", "bilinear", "shuffle", "unpool"] = "transposed"
    up_bias: bool = True
    skip: Literal["concatenate", "add", "none"] = "concatenate"
    meet: Literal["crop", "pad"] = "crop"
    stem: Annotated[int, Field(ge=1, le=8)] | Stride = 1
    dropout: Share = 0.5

    @classmethod
    def suggested(cls) -> Self:
        """What reached the lowest error in minutes on ISBI 2012 (benchmarks/RESULTS.md)."""
        return cls(padding="same", depth=3, base_channels=32, stem=2, norm="batch", dropout=0.0)

    @property
    def together(self) -> Stride:
        """The stem along each axis."""
        return (self.stem,) * self.dimensions if isinstance(self.stem, int) else self.stem

    @model_validator(mode="after")
    def _needs_same(self) -> Self:
        if self.padding == "valid" and self.up == "unpool":
            raise ValueError(
                "up 'unpool' puts values where the pooling found them, which a valid network has "
                "cropped away: use padding 'same', or another up"
            )
        if self.padding == "valid" and self.meet == "pad":
            raise ValueError(
                "meet 'pad' would put zeros inside the output of a valid network: use 'crop', or "
                "padding 'same'"
            )
        return self

    @model_validator(mode="after")
    def _stem_fits(self) -> Self:
        if len(self.together) != self.dimensions:
            raise ValueError(
                f"stem {list(self.together)} does not fit {self.dimensions} axes: give one number "
                f"for each, such as {[2] * self.dimensions}"
            )
        if math.prod(self.together) > 1 and self.meet == "pad":
            raise ValueError(
                "meet 'pad' is for sizes that do not fit the poolings, and a stem takes only sizes "
                "that it divides: use meet 'crop', or no stem"
            )
        return self


class UNet3DSettings(UNetSettings):
    """The 3-D U-Net of Çiçek et al. 2016: a U-Net with other defaults.

    doi:10.1007/978-3-319-46723-8_49. Where the paper is silent: no drop-out.
    """

    name: Literal["unet3d"] = "unet3d"  # type: ignore[assignment]
    dimensions: Literal[2, 3] = 3
    depth: Annotated[int, Field(ge=1, le=8)] = 3
    base_channels: Whole = 32
    widening: Literal["after-pooling", "before-pooling"] = "before-pooling"
    norm: Literal["none", "batch", "batch-renorm", "instance", "group"] = "batch"
    up_bias: bool = False
    dropout: Share = 0.0

    @classmethod
    def suggested(cls) -> Self:
        """A narrow one without a stem: volumes are small."""
        return cls(padding="same", base_channels=16)
