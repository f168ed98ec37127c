"""Everything a run needs, typed: a wrong key, a wrong value or a clash stops here with its name.

Settings are frozen pydantic models, nested by the part of the run they steer, and they are written
as YAML with every value in it, so that the file in a model folder says all that was done.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from overtile.errors import SettingsError

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Activation = Literal["softmax", "sigmoid"]
Precision = Literal["float32", "bfloat16"]
Layout = Literal["contiguous", "channels_last"]


class Frozen(BaseModel):
    """A group of settings: immutable, and refusing keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class UNetSettings(Frozen):
    """The U-Net family of Ronneberger et al. 2015 (arXiv:1505.04597); the defaults are the paper's.

    Attributes
    ----------
    dimensions
        Spatial dimensions, 2 or 3.
    channels, classes
        Channels of the image, and of the output.
    padding
        ``valid``: convolutions without padding, output smaller than input (the paper).
        ``same``: zero-padded convolutions, output as large as the input.
    depth
        Number of poolings.
    base_channels
        Channels of the first level; each level below has twice as many.
    kernel_size
        Of the convolutions, in pixels. Odd with same padding.
    norm
        After each convolution: ``none`` (the paper), ``batch``, or ``batch-renorm`` (Ioffe 2017,
        arXiv:1702.03275). Both are exact in tiles, because prediction uses stored statistics.
        ``instance`` (Ulyanov et al. 2016, arXiv:1607.08022) and ``group`` (Wu and He 2018,
        arXiv:1803.08494; groups of 8 channels) look at the whole window, so that tiles can only be
        blended; they are for comparison.
    dropout
        Probability at the end of the contracting path, in training only.
    """

    name: Literal["unet"] = "unet"
    dimensions: Literal[2, 3] = 2
    channels: Annotated[int, Field(ge=1)] = 1
    classes: Annotated[int, Field(ge=1)] = 2
    padding: Literal["valid", "same"] = "valid"
    depth: Annotated[int, Field(ge=1, le=8)] = 4
    base_channels: Annotated[int, Field(ge=1)] = 64
    kernel_size: Annotated[int, Field(ge=1, le=15)] = 3
    norm: Literal["none", "batch", "batch-renorm", "instance", "group"] = "none"
    dropout: Share = 0.5

    @property
    def is_exact(self) -> bool:
        """Whether tiles of the network give what the whole image gives."""
        return self.norm not in ("instance", "group")

    @model_validator(mode="after")
    def _same_needs_odd(self) -> Self:
        if self.padding == "same" and self.kernel_size % 2 == 0:
            raise ValueError(
                f"kernel_size {self.kernel_size} is even, which same padding cannot centre on a "
                f"pixel: use {self.kernel_size + 1}, or padding 'valid'"
            )
        return self


class PixelWeightSettings(Frozen):
    """How much each pixel counts in the loss (Ronneberger et al. 2015, equation 2).

    Attributes
    ----------
    border_weight
        w0, the weight added where two objects meet; 0 switches the border term off.
    border_sigma_px
        sigma, how far from the objects' borders it reaches.
    balance_classes
        Whether w_c = n / (K n_k); otherwise every class weighs 1.
    separation_px
        Width of the background line drawn between objects that touch; 0 draws none.
    """

    border_weight: NotNegative = 10.0
    border_sigma_px: Positive = 5.0
    balance_classes: bool = True
    separation_px: Annotated[int, Field(ge=0, le=15)] = 2


class AugmentSettings(Frozen):
    """Random changes to a training window. Zero, or False, switches a change off.

    Attributes
    ----------
    flip
        Mirror each axis with probability 1/2.
    deform
        Share of the windows that are resampled: turned by any angle, scaled and bent. The others
        are only shifted, flipped and turned by quarters, which keeps their pixels as they are, and
        as prediction will see them.
    rotate
        Turn windows: by any angle where they are deformed, else by quarters.
    scale
        Zoom by exp(u), u uniform within plus and minus this.
    elastic_std_px
        Standard deviation of the displacements on the elastic grid (the paper: 10 px); lowered
        automatically where a window is so small that it would fold.
    elastic_grid
        Control points per axis of the displacement grid (the paper: 3).
    gain, offset, gamma, noise
        Of the normalised image, whose standard deviation is 1: times exp(u), plus u, to the power
        exp(u), plus Gaussian noise of a standard deviation up to this.
    """

    flip: bool = True
    deform: Annotated[float, Field(ge=0, le=1)] = 0.5
    rotate: bool = True
    scale: Annotated[float, Field(ge=0, le=1)] = 0.2
    elastic_std_px: NotNegative = 10.0
    elastic_grid: Annotated[int, Field(ge=2, le=16)] = 3
    gain: Annotated[float, Field(ge=0, le=2)] = 0.2
    offset: NotNegative = 0.2
    gamma: Annotated[float, Field(ge=0, le=2)] = 0.3
    noise: NotNegative = 0.1


class LossSettings(Frozen):
    """A weighted sum of losses.

    Attributes
    ----------
    activation
        ``softmax``: one class per pixel. ``sigmoid``: each class on its own.
    cross_entropy, dice
        The weight of each term in the sum; at least one is positive.
    """

    activation: Activation = "softmax"
    cross_entropy: NotNegative = 1.0
    dice: NotNegative = 0.0

    @model_validator(mode="after")
    def _some_term(self) -> Self:
        if self.cross_entropy == 0 and self.dice == 0:
            raise ValueError("all terms have weight 0: give cross_entropy or dice a weight above 0")
        return self


class OptimiserSettings(Frozen):
    """How parameters are changed by gradients.

    Attributes
    ----------
    name
        ``sgd`` (with momentum), ``adam``, or ``adamw``.
    learning_rate
        The highest of the schedule.
    momentum
        For SGD; the first beta of Adam and AdamW.
    weight_decay
        Decoupled for AdamW, added to the gradient for the others.
    schedule
        ``constant``, or ``cosine``: a linear rise over the first 5 % of the steps,
        at most 100, then half a cosine down to a thousandth.
    """

    name: Literal["sgd", "adam", "adamw"] = "adamw"
    learning_rate: Positive = 2e-3
    momentum: Share = 0.9
    weight_decay: NotNegative = 0.01
    schedule: Literal["constant", "cosine"] = "cosine"


class WindowSettings(Frozen):
    """What one training step sees.

    Attributes
    ----------
    size_px
        Side of the window that enters the network; or one for each axis, in the order z y x.
    batch_size
        Windows per step.
    edge_px
        With same padding: how much of each side of the window is left out of the loss, because
        the network sees zeros beyond it that it will not see in prediction.
    """

    size_px: int | tuple[int, ...] = 256
    batch_size: Annotated[int, Field(ge=1)] = 4
    edge_px: Annotated[int, Field(ge=0)] = 0

    @field_validator("size_px", mode="before")
    @classmethod
    def _one_or_one_per_axis(cls, given: Any) -> int | tuple[int, ...]:
        several = isinstance(given, list | tuple)
        sides = tuple(given) if several else (given,)
        if not sides or not all(type(side) is int and side >= 1 for side in sides):
            raise ValueError(
                "expected one whole number of pixels from 1 on, or one for each axis such as "
                f"[32, 64, 64], not {given!r}"
            )
        return sides if several else sides[0]

    @model_validator(mode="after")
    def _something_left(self) -> Self:
        smallest = min(self.sides(1))
        if 2 * self.edge_px >= smallest:
            raise ValueError(
                f"edge_px {self.edge_px} leaves nothing of a window of {smallest} px: "
                f"use at most {(smallest - 1) // 2}"
            )
        return self

    def sides(self, dimensions: int) -> tuple[int, ...]:
        """The side along each axis, z y x; `dimensions` counts where one is set for all."""
        return (self.size_px,) * dimensions if isinstance(self.size_px, int) else self.size_px


class Settings(Frozen):
    """All settings of a training run.

    Attributes
    ----------
    border
        How prediction treats the image's edge: ``mirror`` or ``own`` (see `overtile.geometry`).
    averaging
        Decay per step of the exponential moving average of the parameters that becomes the model;
        0 keeps the last parameters.
    calibrate
        Whether the logits are shifted after training, by one constant per class, so that
        probabilities are right in spite of pixel weights (see `overtile.training.calibration`).
    precision, layout
        Of numbers and memory in the forward and backward pass; ``auto`` is replaced by what is
        measured to be fastest when training starts.
    seed
        Of everything random: data are a function of (seed, step, index).
    """

    preset: Literal["default", "paper"] = "default"
    network: UNetSettings = UNetSettings()
    window: WindowSettings = WindowSettings()
    pixel_weight: PixelWeightSettings = PixelWeightSettings()
    augment: AugmentSettings = AugmentSettings()
    loss: LossSettings = LossSettings()
    optimiser: OptimiserSettings = OptimiserSettings()
    border: Literal["mirror", "own"] = "mirror"
    averaging: Share = 0.0
    calibrate: bool = False
    precision: Literal["auto"] | Precision = "auto"
    layout: Literal["auto"] | Layout = "auto"
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _valid_mirrors(self) -> Self:
        if self.network.padding == "valid" and self.border == "own":
            raise ValueError(
                "a valid network has no border of its own: use border 'mirror', or padding 'same'"
            )
        if self.network.padding == "valid" and self.window.edge_px:
            raise ValueError("edge_px is for same padding: a valid network pads nothing, use 0")
        return self

    @model_validator(mode="after")
    def _a_side_for_each_axis(self) -> Self:
        dimensions, sides = self.network.dimensions, self.window.sides(self.network.dimensions)
        if len(sides) != dimensions:
            raise ValueError(
                f"window.size_px has {len(sides)} sides for a network of {dimensions} dimensions: "
                f"give one number for all, or one for each of {' '.join('zyx'[-dimensions:])}"
            )
        return self


T = TypeVar("T", bound=Frozen)


def to_yaml(settings: Frozen) -> str:
    """Settings as YAML text, in the order of their definition."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False)


def from_yaml(kind: type[T], text: str, origin: str) -> T:
    """Settings of a kind from YAML text; `origin` names the text in an error.

    Raises
    ------
    SettingsError
        Not YAML, not a mapping, a key that does not exist, a value out of range, or a clash.
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"{origin} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise SettingsError(f"{origin} holds no settings: expected 'key: value' lines.")
    return from_dict(kind, content, origin)


def from_dict(kind: type[T], content: dict[str, Any], origin: str) -> T:
    """Settings of a kind from a dictionary; raises as `from_yaml` does."""
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise SettingsError(f"{origin}: {_sentence(kind, error)}") from error


def _sentence(kind: type[Frozen], error: ValidationError) -> str:
    """What pydantic found, one clause a finding, each with the place and what would work."""
    clauses = []
    for finding in error.errors():
        place = ".".join(str(part) for part in finding["loc"])
        message = finding["msg"].removeprefix("Value error, ")
        if finding["type"] == "extra_forbidden":
            known = _keys_at(kind, finding["loc"][:-1])
            message = f"there is no such setting; known here: {', '.join(known)}"
        elif finding["type"] != "value_error":
            message = f"{message}, not {finding['input']!r}"
        clauses.append(f"{place}: {message}" if place else message)
    return "; ".join(clauses) + "."


def _keys_at(kind: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    for part in place:
        inner = kind.model_fields[str(part)].annotation
        assert isinstance(inner, type) and issubclass(inner, BaseModel)
        kind = inner
    return list(kind.model_fields)
