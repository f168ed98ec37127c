"""Settings of what training makes small: the loss, what pixels count in it, and the optimiser."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from overtile.settings.networks import Share
from overtile.settings.numbers import NotNegative, Positive
from overtile.settings.reading import Frozen

Activation = Literal["softmax", "sigmoid"]


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
