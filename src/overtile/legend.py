"""What the classes are called and shown in: it travels with the model into every output."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overtile.image import Colour

# Okabe and Ito's palette, which colour-blind people can tell apart (Wong 2011,
# doi:10.1038/nmeth.1618).
ORANGE, SKY, GREEN, YELLOW = (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)
BLUE, VERMILION, PURPLE, BLACK = (0, 114, 178), (213, 94, 0), (204, 121, 167), (0, 0, 0)
# The colours of outlines come last, so that a tint is rarely taken for one.
PALETTE: tuple[Colour, ...] = (GREEN, YELLOW, PURPLE, BLUE, VERMILION, SKY, ORANGE)


def default_colours(count: int) -> tuple[Colour, ...]:
    """A colour for each of `count` classes; black for the first, which is background."""
    return (BLACK, *[PALETTE[number % len(PALETTE)] for number in range(count - 1)])[:count]


@dataclass(frozen=True)
class Legend:
    """Names and colours of classes, by class id from 0.

    Attributes
    ----------
    names, colours
        As many of the one as of the other.
    """

    names: tuple[str, ...]
    colours: tuple[Colour, ...]

    @property
    def table(self) -> NDArray[np.uint8]:
        """The colours (k 3)."""
        return np.array(self.colours, np.uint8)
