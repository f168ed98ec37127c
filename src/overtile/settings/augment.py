"""Settings of the random changes to training windows."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from overtile.settings.numbers import NotNegative
from overtile.settings.reading import Frozen

Deformation = Literal["grid", "mls-affine", "mls-similarity", "mls-rigid"]

MOST_CONTROL_POINTS = 5
"""Per axis, of moving least squares: 125 in a volume, times 15,625 nodes, are 2 million weights."""


class AugmentSettings(Frozen):
    """Random changes to a training window. Zero, or False, switches a change off.

    Attributes
    ----------
    flip
        Mirror each axis with probability 1/2, but for directed ones.
    deform
        Share of the windows that are resampled: turned by any angle, scaled and bent. The others
        are only shifted, flipped and turned by quarters, which keeps their pixels as they are, and
        as prediction will see them.
    rotate
        Turn windows: by any angle where they are deformed, else by quarters. Where y or x is
        directed, by 10 degrees at most, and only where they are deformed.
    directed
        Axes with two unlike ends, such as "y" of a street, whose sky is above, or "zyx" of an
        organ in its place.
    scale
        Zoom by exp(u), u uniform within plus and minus this.
    elastic_std_px
        Standard deviation of the displacements on the elastic grid (the paper: 10 px); lowered
        automatically where a window is so small that it would fold.
    elastic_grid
        Control points per axis of the displacement grid (the paper: 3).
    deformation
        What lies between control points: ``grid``, a cubic spline; or moving least squares
        (Schaefer et al. 2006) of maps that are affine, similar or rigid. ``mls-rigid`` keeps shapes
        best. The last two are for planes.
    control_points
        For moving least squares: on an ``even`` grid, or each at ``random`` in a cell of it.
    recolour
        Share of the windows whose gray values and colours change. The others keep them, because
        they may tell classes apart.
    gain, offset, gamma, noise
        Of the normalised image, whose standard deviation is 1: times exp(u), plus u, to the power
        exp(u), plus Gaussian noise of a standard deviation up to this.
    colour
        Of each channel by itself, where there are several: times exp(u), plus another u.
    grayscale
        Share of the windows whose channels all become their mean, as images without colours.
    invert
        Share of the windows whose gray values are turned round, bright to dark.
    """

    flip: bool = True
    deform: Annotated[float, Field(ge=0, le=1)] = 0.5
    rotate: bool = True
    directed: Annotated[str, Field(pattern="^z?y?x?$")] = ""
    scale: Annotated[float, Field(ge=0, le=1)] = 0.2
    elastic_std_px: NotNegative = 10.0
    elastic_grid: Annotated[int, Field(ge=2, le=16)] = 3
    deformation: Deformation = "grid"
    control_points: Literal["even", "random"] = "even"
    recolour: Annotated[float, Field(ge=0, le=1)] = 0.5
    gain: Annotated[float, Field(ge=0, le=2)] = 0.2
    offset: NotNegative = 0.2
    gamma: Annotated[float, Field(ge=0, le=2)] = 0.3
    noise: NotNegative = 0.1
    colour: Annotated[float, Field(ge=0, le=2)] = 0.0
    grayscale: Annotated[float, Field(ge=0, le=1)] = 0.0
    invert: Annotated[float, Field(ge=0, le=1)] = 0.0

    @property
    def is_upright(self) -> bool:
        """Whether a plane must not be turned but slightly."""
        return "y" in self.directed or "x" in self.directed

    @property
    def least_squares(self) -> bool:
        """Whether windows bend by moving least squares."""
        return self.deformation != "grid"

    @model_validator(mode="after")
    def _points_of_least_squares(self) -> Self:
        if self.least_squares and self.elastic_grid > MOST_CONTROL_POINTS:
            raise ValueError(
                f"elastic_grid {self.elastic_grid} is too fine for {self.deformation}, whose cost "
                f"is nodes times control points: use at most {MOST_CONTROL_POINTS}, or the "
                "deformation 'grid'"
            )
        if not self.least_squares and self.control_points == "random":
            raise ValueError(
                "control_points are random, and the deformation 'grid' needs them even: use "
                "'mls-affine', 'mls-similarity' or 'mls-rigid', or even points"
            )
        return self
