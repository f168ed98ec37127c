"""Settings of the windows that are trained on."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from overtile.settings.networks import Share
from overtile.settings.reading import Frozen


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
