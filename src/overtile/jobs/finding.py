"""Images with labels, as the network needs them."""

from __future__ import annotations

from overtile import layouts
from overtile.errors import DataError
from overtile.layouts import Content, Pairs

VOLUME_NETWORK = "unet3d"
"""The network for volumes where none is named."""


def find_pairs(
    images: Content | Pairs, labels: Content | None, layout: str | None, dimensions: int | None
) -> Pairs:
    """Images with labels, as planes or volumes where that is said.

    Raises
    ------
    DataError
        As `overtile.layouts.pairs`; there are no labels; or pairs were given that are volumes
        where planes are asked for, or the other way round.
    """
    if not isinstance(images, Pairs):
        pairs = layouts.pairs(images, labels, dimensions, layout)
    elif dimensions in (None, images.dimensions):
        pairs = images
    else:
        given, wanted = (("planes", "volumes")[d == 3] for d in (images.dimensions, dimensions))
        raise DataError(
            f"The pairs are {given}, and the network is for {wanted}: list them as {wanted}, with "
            f"layouts.pairs(..., dimensions={dimensions}), or choose another network."
        )
    layouts.check_labelled(pairs, images)
    return pairs
