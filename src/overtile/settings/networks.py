"""What all networks' settings share."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from overtile.errors import SettingsError
from overtile.settings.reading import Frozen

Share = Annotated[float, Field(ge=0, lt=1)]
Whole = Annotated[int, Field(ge=1)]
Padding = Literal["valid", "same"]
Stride = tuple[Annotated[int, Field(ge=1, le=8)], ...]


class NetworkSettings(Frozen):
    """A network for images of so many dimensions and channels.

    Attributes
    ----------
    name
        Which network, as `overtile networks` lists them.
    dimensions
        Spatial dimensions, 2 or 3.
    channels, classes
        Channels of the image, and of the output.
    padding
        ``same``: zero-padded convolutions, output as large as the input. ``valid``: convolutions
        without padding, output smaller than input.
    """

    name: str = ""
    dimensions: Literal[2, 3] = 2
    padding: Padding = "same"
    channels: Whole = 1
    classes: Whole = 2

    @classmethod
    def suggested(cls) -> Self:
        """What the default preset takes: what trains well in minutes on a small machine."""
        return cls()

    @property
    def border(self) -> Literal["mirror", "own"]:
        """How presets let prediction treat the image's edge: see `overtile.geometry`."""
        return "own" if self.padding == "same" else "mirror"

    @property
    def is_exact(self) -> bool:
        """Whether tiles of the network give what the whole image gives."""
        return True

    @property
    def levels(self) -> tuple[int, ...]:
        """The levels to which a trained network can be pruned, beside its last: of most, none."""
        return ()

    def pruned(self, level: int) -> Self:
        """The settings of the smaller network that a network is down to a level.

        Raises
        ------
        SettingsError
            The network has none.
        """
        raise SettingsError(
            f"A network {self.name} holds no smaller one, so that there is no level {level} to "
            "prune it to: leave out the level, or train a unetpp, which holds one per level."
        )

    def thin(self) -> Self:
        """The settings of a network that sees the same, and computes as little as it can."""
        return self.model_copy(update={"channels": 1, "classes": 1})


class ConvolutionSettings(NetworkSettings):
    """A network of convolutions of one kind.

    Attributes
    ----------
    kernel_size
        Of the convolutions, in pixels. Odd with same padding.
    norm
        After each convolution: ``none`` (the paper), ``batch``, or ``batch-renorm`` (Ioffe 2017,
        arXiv:1702.03275). Both are exact in tiles, because prediction uses stored statistics.
        ``instance`` (Ulyanov et al. 2016, arXiv:1607.08022) and ``group`` (Wu and He 2018,
        arXiv:1803.08494; groups of 8 channels) look at the whole window, so that tiles can only be
        blended; they are for comparison.
    activation
        After each norm, or convolution where there is none.
    init
        Of the weights, by the number N of inputs of one output value: ``he-normal``, of variance
        2 / N (the paper); ``lecun-uniform``, of variance 1 / N.
    base_channels
        Channels of the first level; each level below has twice as many.
    depth
        Number of poolings.
    strides
        Of each pooling along each axis, such as [[1, 2, 2], [2, 2, 2]] for volumes whose planes lie
        far apart; by default 2 everywhere.
    dropout
        Probability, in training only; where, the network says.
    """

    depth: Annotated[int, Field(ge=1, le=8)] = 4
    strides: tuple[Stride, ...] | None = None
    base_channels: Whole = 64
    kernel_size: Annotated[int, Field(ge=1, le=15)] = 3
    norm: Literal["none", "batch", "batch-renorm", "instance", "group"] = "none"
    activation: Literal["relu", "leaky-relu", "elu", "silu", "gelu"] = "relu"
    init: Literal["he-normal", "lecun-uniform"] = "he-normal"
    dropout: Share = 0.0

    @classmethod
    def suggested(cls) -> Self:
        """A narrow one with batch norm, measured on ISBI 2012 (benchmarks/RESULTS.md)."""
        return cls(padding="same", base_channels=16, norm="batch", dropout=0.0)

    @property
    def is_exact(self) -> bool:
        """Norms that look at the window break it."""
        return self.norm not in ("instance", "group")

    @property
    def poolings(self) -> tuple[Stride, ...]:
        """The stride of each pooling, one number an axis."""
        return self.strides or ((2,) * self.dimensions,) * self.depth

    def thin(self) -> Self:
        """With one channel on the first level, and without what acts pixel by pixel."""
        thin = super().thin()
        return thin.model_copy(update={"base_channels": 1, "norm": "none", "dropout": 0.0})

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.padding == "same" and self.kernel_size % 2 == 0:
            raise ValueError(
                f"kernel_size {self.kernel_size} is even, which same padding cannot centre on a "
                f"pixel: use {self.kernel_size + 1}, or padding 'valid'"
            )
        if self.strides is not None:
            wanted = f"{self.depth} poolings of {self.dimensions} axes"
            if [len(stride) for stride in self.strides] != [self.dimensions] * self.depth:
                raise ValueError(
                    f"strides {_plain(self.strides)} do not fit {wanted}: expected "
                    f"{self.depth} times {self.dimensions} numbers, such as "
                    f"{_plain(((2,) * self.dimensions,) * self.depth)}"
                )
            if 1 in map(math.prod, self.strides):
                raise ValueError(
                    f"strides {_plain(self.strides)} hold a pooling that pools nothing: give each "
                    "at least one number above 1"
                )
        return self


def _plain(strides: tuple[Stride, ...]) -> list[Any]:
    return [list(stride) for stride in strides]
