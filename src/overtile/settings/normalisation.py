"""Settings of the intensities that a network is given."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from overtile.settings.reading import Frozen

Percent = Annotated[float, Field(ge=0, le=100)]


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
