"""Settings of a training run."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from overtile.settings.augment import AugmentSettings
from overtile.settings.labels import LabelSettings
from overtile.settings.networks import Share
from overtile.settings.numbers import NotNegative, Positive
from overtile.settings.reading import Frozen
from overtile.settings.table import AnyNetwork
from overtile.settings.unet import UNetSettings

Percent = Annotated[float, Field(ge=0, le=100)]
Activation = Literal["softmax", "sigmoid"]
Precision = Literal["float32", "bfloat16"]
Layout = Literal["contiguous", "channels_last"]


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
        Width of the line drawn between objects that touch; 0 draws none.
    separation
        What the line is: ``background`` (the paper), or a ``class`` of its own, which only the
        network knows: it then learns where objects touch without taking that for background, so
        that their outlines stay where they are.
    """

    border_weight: NotNegative = 10.0
    border_sigma_px: Positive = 5.0
    balance_classes: bool = True
    separation_px: Annotated[int, Field(ge=0, le=15)] = 2
    separation: Literal["background", "class"] = "background"

    def has_line(self, kind: str) -> bool:
        """Whether the network gives one output more than there are classes, for the line.

        `kind` is that of the labels: only objects touch.
        """
        own = self.separation == "class" and self.separation_px > 0
        return own and kind == "instances"


class NormalisationSettings(Frozen):
    """How intensities become what a network takes; it is measured over the training images.

    Attributes
    ----------
    scheme
        ``mean-std``, ``percentiles``, ``window`` or ``per-image`` (see `overtile.normalise`), or
        ``auto``: what fits the images.
    percentiles
        Low and high, to which the scheme ``percentiles`` clips intensities; and of the labelled
        foreground the ends of a window that is not given.
    window
        Low and high intensity, for all channels alike, such as [-160, 240] of soft tissue in CT.
    """

    scheme: Literal["auto", "mean-std", "percentiles", "window", "per-image"] = "auto"
    percentiles: tuple[Percent, Percent] = (0.5, 99.5)
    window: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _low_below_high(self) -> Self:
        for name, ends in (("percentiles", self.percentiles), ("window", self.window)):
            if ends is not None and ends[0] >= ends[1]:
                raise ValueError(
                    f"{name} {list(ends)} leave nothing between them: give the lower one first"
                )
        if self.window is not None and self.scheme not in ("auto", "window"):
            raise ValueError(
                f"a window is given, and the scheme {self.scheme} uses none: use the scheme "
                "'window', or leave the window out"
            )
        return self


class LossSettings(Frozen):
    """A weighted sum of losses.

    Attributes
    ----------
    activation
        ``softmax``: one class per pixel. ``sigmoid``: each class on its own.
    cross_entropy, dice, focal, tversky, boundary
        The weight of each term in the sum; at least one is positive.
    focal_gamma
        How little pixels count that are right already; 0 is cross-entropy.
    tversky_alpha, tversky_beta
        What a false positive and a false negative cost; 1/2 and 1/2 is Dice, a larger beta finds
        more of what is small.
    tversky_gamma
        Above 1, classes that overlap badly count more (the paper of the focal one: 4/3).
    boundary_reach_px
        The distance to the border beyond which an error costs no more.
    """

    activation: Activation = "softmax"
    cross_entropy: NotNegative = 1.0
    dice: NotNegative = 0.0
    focal: NotNegative = 0.0
    focal_gamma: Annotated[float, Field(ge=0, le=10)] = 2.0
    tversky: NotNegative = 0.0
    tversky_alpha: Positive = 0.3
    tversky_beta: Positive = 0.7
    tversky_gamma: Annotated[float, Field(ge=1, le=3)] = 1.0
    boundary: NotNegative = 0.0
    boundary_reach_px: Annotated[int, Field(ge=1, le=64)] = 10

    @model_validator(mode="after")
    def _some_term(self) -> Self:
        terms = ("cross_entropy", "dice", "focal", "tversky", "boundary")
        if not any(getattr(self, term) for term in terms):
            raise ValueError(
                "all terms have weight 0: give cross_entropy, dice or another a weight above 0"
            )
        return self


class OptimiserSettings(Frozen):
    """How parameters are changed by gradients.

    Attributes
    ----------
    name
        ``sgd`` (with momentum), ``adam``, ``adamw``, or ``muon`` (kernels along their
        orthogonalised momentum, other parameters by AdamW; see `overtile.optimiser.Muon`).
    learning_rate
        The highest of the schedule.
    momentum
        For SGD; the first beta of Adam and AdamW. Kernels under Muon have 0.95.
    weight_decay
        Decoupled for AdamW and Muon, added to the gradient for the others.
    schedule
        ``constant``, or ``cosine``: a linear rise over the first 5 % of the steps,
        at most 100, then half a cosine down to a thousandth.
    clip_norm
        Gradients longer than this, as one vector over all parameters, are shortened to it; 0 never.
    """

    name: Literal["sgd", "adam", "adamw", "muon"] = "adamw"
    learning_rate: Positive = 2e-3
    momentum: Share = 0.9
    weight_decay: NotNegative = 0.01
    schedule: Literal["constant", "cosine"] = "cosine"
    clip_norm: NotNegative = 0.0


class WindowSettings(Frozen):
    """What one training step sees.

    Attributes
    ----------
    size_px
        Side of the window that enters the network; or one for each axis, in the order z y x.
    batch_size
        Windows that the network sees at once.
    accumulate
        So many batches make one step, their gradients averaged: a larger batch in less memory.
        Statistics of batch normalisation, and Dice, are still those of each batch.
    edge_px
        With same padding: how much of each side of the window is left out of the loss, because
        the network sees zeros beyond it that it will not see in prediction.
    rare_share
        Share of the windows that are drawn around a pixel of a class, each class as often as
        another but the commonest, where classes are rare (nnU-Net: 1/3); 0 draws all anywhere.
    """

    size_px: int | tuple[int, ...] = 256
    batch_size: Annotated[int, Field(ge=1)] = 4
    accumulate: Annotated[int, Field(ge=1)] = 1
    edge_px: Annotated[int, Field(ge=0)] = 0
    rare_share: Share = 0.0

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

    @property
    def step_size(self) -> int:
        """Windows of one step."""
        return self.batch_size * self.accumulate

    def sides(self, dimensions: int) -> tuple[int, ...]:
        """The side along each axis, z y x; `dimensions` counts where one is set for all."""
        return (self.size_px,) * dimensions if isinstance(self.size_px, int) else self.size_px


class Settings(Frozen):
    """All settings of a training run.

    Attributes
    ----------
    labels
        What label values mean.
    spacing
        Size of a pixel that all images are brought to, in the unit that they state: one number for
        all axes, one for each of z y x or y x, or ``common`` for the median of the images. By
        default every image keeps its own pixels.
    border
        How prediction treats the image's edge: ``mirror`` or ``own`` (see `overtile.geometry`).
    averaging
        Decay per step of the exponential moving average of the parameters that becomes the model;
        0 keeps the last parameters.
    calibrate
        Whether the logits are shifted after training, by one constant per class, so that
        probabilities are right in spite of pixel weights (see `overtile.training.calibration`).
    logit_adjustment
        The share of the classes' frequencies that is taken out of the logits after training: with
        0 the most probable class is predicted, for most pixels right, and with 1 the one that would
        be if all were equally frequent, for the best mean over classes; in between for the mean
        IoU (Menon et al. 2021, arXiv:2007.07314).
    turns
        Whether prediction averages all flips and quarter turns of what the network sees, unless it
        is told otherwise.
    precision, layout
        Of numbers and memory in the forward and backward pass; ``auto`` is replaced by what is
        measured to be fastest when training starts. ``float16`` is for GPUs without bfloat16.
    memory_saving
        Whether what lies inside the network's blocks is computed again for the gradients instead of
        being kept: the same result from less memory, in about a third more time (Chen et al. 2016,
        arXiv:1604.06174).
    kept_mib
        What decoded images, with their targets and weights, may take of the memory, in MiB; by
        default half of what is free. Others are read again for every window.
    steps
        How long to train, where no time, steps or epochs are given; a plan sets it.
    seed
        Of everything random: data are a function of (seed, step, index).
    """

    preset: Literal["default", "paper"] = "default"
    network: AnyNetwork = UNetSettings()
    window: WindowSettings = WindowSettings()
    labels: LabelSettings = LabelSettings()
    normalisation: NormalisationSettings = NormalisationSettings()
    pixel_weight: PixelWeightSettings = PixelWeightSettings()
    augment: AugmentSettings = AugmentSettings()
    loss: LossSettings = LossSettings()
    optimiser: OptimiserSettings = OptimiserSettings()
    spacing: Literal["common"] | Positive | tuple[Positive, ...] | None = None
    border: Literal["mirror", "own"] = "mirror"
    averaging: Share = 0.0
    calibrate: bool = False
    logit_adjustment: Annotated[float, Field(ge=0, le=1)] = 0.0
    turns: bool = False
    precision: Literal["auto", "float16"] | Precision = "auto"
    layout: Literal["auto"] | Layout = "auto"
    memory_saving: bool = False
    kept_mib: Annotated[int, Field(ge=0)] | None = None
    steps: Annotated[int, Field(ge=1)] | None = None
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
    def _adjusted_between_classes(self) -> Self:
        if self.logit_adjustment and self.loss.activation == "sigmoid":
            raise ValueError(
                "logit_adjustment decides between classes of which each pixel has one, and with "
                "loss.activation 'sigmoid' they may overlap: set one of them otherwise"
            )
        return self

    @model_validator(mode="after")
    def _turned_in_training(self) -> Self:
        if self.turns and not (self.augment.flip or self.augment.rotate):
            raise ValueError(
                "turns averages flips and turns that training shows the network, and augment.flip "
                "and augment.rotate are both off: switch one of them on, or turns off"
            )
        return self

    @model_validator(mode="after")
    def _a_spacing_for_each_axis(self) -> Self:
        dimensions = self.network.dimensions
        if isinstance(self.spacing, tuple) and len(self.spacing) != dimensions:
            raise ValueError(
                f"spacing has {len(self.spacing)} sizes for a network of {dimensions} dimensions: "
                f"give one for each of {' '.join('zyx'[-dimensions:])}, or 'common'"
            )
        return self

    @model_validator(mode="after")
    def _a_deformation_for_the_axes(self) -> Self:
        kind = self.augment.deformation
        if self.network.dimensions != 2 and kind in ("mls-similarity", "mls-rigid"):
            raise ValueError(
                f"augment.deformation {kind} is for planes, and the network for volumes: use "
                "'mls-affine' or 'grid'"
            )
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
