"""Touching objects that a network tells apart by a line of their own class.

Its outputs are background, object, and the line between two objects that touch. The line belongs
to the objects, so that outlines stay where they are; objects are found without it, and then take
what is theirs of it. Both need one number of each pixel, so that a prediction larger than memory
is staged once: the objectness.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from overtile.errors import SettingsError
from overtile.objects.finding import ObjectSettings

INSIDE = 0.7
"""The probability of being inside from which pixels hold together as one object, where none was
fitted to training images."""

SPARE_PX = 2
"""How far objects grow beyond the width of the line: on the same images 0.514, 0.524, 0.528, 0.528
for growing by 1, 2, 3, 4 px, with a line of 2 px."""


def objectness(likely: NDArray[np.float32]) -> NDArray[np.float32]:
    """What objects are found in, (*space), by probabilities (background, object, line; *space).

    With f the probability of not being background and p that of the inside of an object, it is
    (1 + p) / 2, above 1/2, where f > 1/2, and f elsewhere. So a pixel above 1/2 is no background,
    and one above (1 + t) / 2 lies inside with a probability above t.
    """
    foreground = 1 - likely[0]
    inside = np.nextafter(np.float32(0.5), np.float32(1))
    within = np.maximum((1 + likely[1]) / 2, inside)
    return np.asarray(np.where(foreground > 0.5, within, foreground), np.float32)


def above_inside(probability: float) -> float:
    """The objectness of a pixel that is inside with so much probability."""
    return (1 + probability) / 2


def told_apart(
    inside: float,
    line_px: int,
    smallest_px: float = 0,
    seed_threshold: float | None = None,
    *,
    growth: float = 1.0,
) -> ObjectSettings:
    """What an object is in the objectness of a network that knows lines between them.

    Parameters
    ----------
    inside
        The probability of being inside from which pixels hold together.
    line_px
        The width of the line in training.
    smallest_px
        Objects of fewer pixels are left out, before they take their part of the line.
    seed_threshold
        A probability of being inside, above which seeds lie; None parts nothing.
    growth
        The side of a pixel that the network sees, in those of the image.

    Raises
    ------
    SettingsError
        The seed threshold is not above that of objects.
    """
    if seed_threshold is not None and seed_threshold <= inside:
        raise SettingsError(
            f"A seed threshold of {seed_threshold} parts nothing: this model finds objects "
            f"where the probability to be inside of one is above {inside}. Give more, or none."
        )
    return ObjectSettings(
        threshold=above_inside(inside),
        smallest_px=round(smallest_px),
        grow_px=growth * (line_px + SPARE_PX),
        grow_above=0.5,
        seed_threshold=None if seed_threshold is None else above_inside(seed_threshold),
    )


def without_line(likely: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities (background, object; *space), where the line belongs to the objects."""
    return np.stack([likely[0], likely[1] + likely[2]])
