"""Engine + image -> probabilities or classes, tile by tile; knows no torch.

Every pixel is computed once, from a tile that holds all that the network sees of it, so the result
is the whole image's (see `overtile.tiles`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from overtile.engines import Engine
from overtile.geometry import Field, mirror_indices
from overtile.normalise import Normalisation
from overtile.settings import Activation
from overtile.tiles import Border, Tile, cut

Slices = tuple[slice, ...]


class Tiler:
    """An engine with all that is needed to run it over an image of any size.

    Parameters
    ----------
    engine
        From windows to logits.
    field
        What the network does to sizes.
    border
        How the image's edge is treated.
    normalisation
        Of the intensities, from the training set.
    activation
        What makes probabilities of logits.
    """

    def __init__(
        self,
        engine: Engine,
        field: Field,
        *,
        border: Border,
        normalisation: Normalisation,
        activation: Activation,
    ) -> None:
        self.engine = engine
        self.field = field
        self.border: Border = border
        self.normalisation = normalisation
        self.activation = activation

    def logits(
        self, image: NDArray[np.generic], tile_px: int | None
    ) -> Iterator[tuple[Slices, NDArray[np.float32]]]:
        """Where each tile is written, and its logits (k *space), one tile at a time.

        Parameters
        ----------
        image
            (c *space), anything sliceable.
        tile_px
            Largest side of what one tile writes; None for a single tile.
        """
        for tile in cut(image.shape[1:], self.field, tile_px, self.border):
            window = self.normalisation(read_mirrored(image, tile))
            yield tile.write, self.engine(window[None])[0][(slice(None), *tile.crop)]

    def probabilities(self, image: NDArray[np.generic], tile_px: int | None) -> NDArray[np.float32]:
        """Probabilities (k *space) float32 of an image (c *space)."""
        activate: Callable[..., NDArray[np.float32]]
        activate = (lambda x: softmax(x, axis=0)) if self.activation == "softmax" else expit
        result = np.empty(0, np.float32)
        for write, logits in self.logits(image, tile_px):
            if result.size == 0:
                result = np.empty((len(logits), *image.shape[1:]), np.float32)
            result[(slice(None), *write)] = activate(logits)
        return result

    def classes(self, image: NDArray[np.generic], tile_px: int | None) -> NDArray[np.uint8]:
        """The most probable class (*space) uint8 of every pixel; the first of equals."""
        result = np.empty(image.shape[1:], np.uint8)
        for write, logits in self.logits(image, tile_px):
            result[write] = logits.argmax(axis=0)
        return result


def read_mirrored(image: NDArray[np.generic], tile: Tile) -> NDArray[np.generic]:
    """What a tile reads (c *space); pixels beyond the image are mirrored.

    Only the block that holds all needed pixels is sliced out of `image`.
    """
    indices = [
        mirror_indices(start, stop, size)
        for (start, stop), size in zip(tile.read, image.shape[1:], strict=True)
    ]
    block = image[(slice(None), *[slice(int(i.min()), int(i.max()) + 1) for i in indices])]
    return block[(slice(None), *np.ix_(*[i - i.min() for i in indices]))]
