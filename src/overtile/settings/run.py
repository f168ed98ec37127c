"""Settings of a training run."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from overtile.settings.augment import AugmentSettings
from overtile.settings.labels import LabelSettings
from overtile.settings.networks import Share
from overtile.settings.normalisation import NormalisationSettings
from overtile.settings.numbers import Positive
from overtile.settings.objective import LossSettings, OptimiserSettings, PixelWeightSettings
from overtile.settings.reading import Frozen
from overtile.settings.table import AnyNetwork
from overtile.settings.unet import UNetSettings
from overtile.settings.window import WindowSettings

Precision = Literal["float32", "bfloat16"]
Layout = Literal["contiguous", "channels_last"]


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
        shown, axes = self.augment, "zyx"[-self.network.dimensions :]
        flipped = shown.flip and shown.directed != axes
        if self.turns and not (flipped or (shown.rotate and not shown.is_upright)):
            raise ValueError(
                "turns averages flips and turns that training shows the network, and augment.flip, "
                "augment.rotate and augment.directed leave none: change one of them, or switch "
                "turns off"
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
