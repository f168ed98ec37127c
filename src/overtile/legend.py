"""What the classes are called and shown in, which travels with the model into every output."""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overtile.image import Colour

UNLABELLED_VALUE = 255
"""Stands for "not labelled" in masks of a few small class ids, and in the files that we write."""

# Okabe and Ito's palette, which colour-blind people can tell apart (Wong 2011,
# doi:10.1038/nmeth.1618).
ORANGE, SKY, GREEN, YELLOW = (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)
BLUE, VERMILION, PURPLE, BLACK = (0, 114, 178), (213, 94, 0), (204, 121, 167), (0, 0, 0)
# The colours of outlines come last, so that a tint is rarely taken for one.
PALETTE: tuple[Colour, ...] = (GREEN, YELLOW, PURPLE, BLUE, VERMILION, SKY, ORANGE)


GOLDEN_TURN = (math.sqrt(5) - 1) / 2
"""Steps of this part of a circle never come near to where they were."""


def code_of(colour: Colour) -> int:
    """A colour as one number, 0xRRGGBB."""
    red, green, blue = colour
    return (red << 16) + (green << 8) + blue


def colour_of(code: int) -> Colour:
    """The colour of a code."""
    return code >> 16, (code >> 8) & 255, code & 255


def written(code: int) -> str:
    """A colour code as people write it: #3C1098."""
    return f"#{code:06X}"


def default_colours(count: int) -> tuple[Colour, ...]:
    """A colour of its own for each of `count` classes; black for the first, as of background."""
    more = [_hue(number) for number in range(count - 1 - len(PALETTE))]
    return (BLACK, *PALETTE, *more)[:count]


def _hue(number: int) -> Colour:
    """One of any number of colours, each strong or pale, light or dark."""
    red, green, blue = colorsys.hsv_to_rgb(
        number * GOLDEN_TURN % 1, (0.9, 0.5)[number % 2], (0.95, 0.6)[number // 2 % 2]
    )
    return round(255 * red), round(255 * green), round(255 * blue)


@dataclass(frozen=True)
class Legend:
    """Names and colours of classes, by class id from 0.

    Attributes
    ----------
    names, colours
        As many of the one as of the other.
    background
        The class id of what is no object, which pictures do not tint; None where no class is.
    """

    names: tuple[str, ...]
    colours: tuple[Colour, ...]
    background: int | None = 0

    @property
    def described(self) -> str:
        """A line for each class: its id, its name, its colour and whether it is background."""
        return "\n".join(
            f"{place} {name} {written(code_of(colour))}"
            + (" (background)" if place == self.background else "")
            for place, (name, colour) in enumerate(zip(self.names, self.colours, strict=True))
        )

    @property
    def pictured(self) -> Legend:
        """The legend of a picture, whose class 0 is background, or nothing where none is."""
        if self.background == 0:
            return self
        return Legend(("no class", *self.names), (BLACK, *self.colours))

    def pictured_ids(
        self, classes: NDArray[np.integer], *, overlap: bool = False
    ) -> NDArray[np.int64]:
        """Class ids (*space), or 0 and 1 for each (k *space), as those of `pictured`.

        Where classes overlap, the last of them is shown. Unlabelled stays -1.
        """
        if overlap:
            numbers = np.arange(1, len(classes) + 1).reshape(-1, *[1] * (classes.ndim - 1))
            last = (numbers * (classes > 0)).max(axis=0)
            return np.where((classes < 0).any(axis=0), -1, last)
        ids = classes.astype(np.int64)
        return ids if self.background == 0 else np.where(ids < 0, -1, ids + 1)

    @property
    def table(self) -> NDArray[np.uint8]:
        """The colours (k 3)."""
        return np.array(self.colours, np.uint8)
