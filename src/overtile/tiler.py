"""Engine + part of an image -> the result for one tile; knows no torch.

Every pixel is computed once, from a tile that holds all that the network sees of it, so the result
is the whole image's (see `overtile.tiles`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from overtile.engines import Engine
from overtile.errors import DataError, SettingsError
from overtile.geometry import Fields, mirror_indices
from overtile.image import Sliceable
from overtile.model import Model
from overtile.normalise import Normalisation
from overtile.settings import Activation
from overtile.tiles import Border, Tile, cut, even_step

Slices = tuple[slice, ...]
Kind = Literal["classes", "probabilities", "foreground"]
"""What is computed of a tile: class ids, all probabilities, or that of not being background."""


def channels_of(model: Model, kind: Kind) -> int | None:
    """The channels of a result: a class each, of probabilities and of classes that overlap."""
    layered = kind == "probabilities" or (kind == "classes" and model.classes.overlap)
    return model.settings.network.classes if layered else None


class Tiler:
    """An engine with all that is needed to run it over an image of any size.

    Parameters
    ----------
    engine
        From windows to logits.
    fields
        What the network does to sizes, along each axis.
    border
        How the image's edge is treated.
    normalisation
        Of the intensities, from the training set.
    activation
        What makes probabilities of logits.
    overlap
        Whether classes may overlap: class ids are then 0 or 1 for each class.
    """

    def __init__(
        self,
        engine: Engine,
        fields: Fields,
        *,
        border: Border,
        normalisation: Normalisation,
        activation: Activation,
        overlap: bool = False,
    ) -> None:
        self.engine = engine
        self.fields = fields
        self.border: Border = border
        self.normalisation = normalisation
        self.activation = activation
        self.overlap = overlap
        self.too_large_px: int | None = None

    def read(self, image: Sliceable, tile: Tile) -> Any:
        """What a tile reads of an image (c *space), normalised, where the engine wants it.

        Raises
        ------
        DataError
            NaN or infinite pixels.
        """
        pixels = read_mirrored(image, tile)
        window = self.normalisation(pixels)[None]
        if pixels.dtype.kind == "f" and not np.isfinite(window).all():
            raise DataError("The image holds NaN or infinite pixels there: replace them.")
        return self.engine.load(window)

    def compute(self, loaded: Any, image: Sliceable, tile: Tile, kind: Kind) -> NDArray[Any]:
        """What a tile writes: (k *space) of probabilities and classes that overlap, or (*space).

        A tile for which the device has not enough memory is computed in parts, and so is every
        later one of its size: the result is the same.

        Raises
        ------
        SettingsError
            Not even the smallest part fits.
        """
        size = int(np.prod(tile.read_shape))
        if self.too_large_px is None or size < self.too_large_px:
            try:
                return self._result(loaded, tile.crop, kind)
            except MemoryError as error:
                parts = zip(tile.write, self.fields, strict=True)
                if all(part.stop - part.start <= field.grid for part, field in parts):
                    raise SettingsError(
                        f"There is not enough memory for the smallest tile, which reads "
                        f"{' x '.join(map(str, tile.read_shape))} px: {error}"
                    ) from error
                self.too_large_px = size
        del loaded
        return self._in_parts(image, tile, kind)

    def _in_parts(self, image: Sliceable, tile: Tile, kind: Kind) -> NDArray[Any]:
        lengths = [part.stop - part.start for part in tile.write]
        grids = [field.grid for field in self.fields]
        steps = [
            even_step(length, max(grid, -(-length // 2)), grid)
            for length, grid in zip(lengths, grids, strict=True)
        ]
        result: NDArray[Any] | None = None
        for part in cut(image.shape[1:], self.fields, steps, self.border, tile.write):
            piece = self.compute(self.read(image, part), image, part, kind)
            if result is None:
                result = np.empty((*piece.shape[: -len(lengths)], *lengths), piece.dtype)
            inside: list[Any] = [
                slice(w.start - whole.start, w.stop - whole.start)
                for w, whole in zip(part.write, tile.write, strict=True)
            ]
            result[(..., *inside)] = piece
        assert result is not None
        return result

    def _result(self, loaded: Any, crop: Slices, kind: Kind) -> NDArray[Any]:
        if kind == "classes" and not self.overlap:
            return np.asarray(self.engine.classes(loaded)[0][crop])
        logits = self.engine(loaded)[0][(slice(None), *crop)]
        if kind == "classes":
            return np.asarray(logits > 0, np.uint8)
        if self.activation == "softmax":
            probabilities = np.asarray(softmax(logits, axis=0))
        else:
            probabilities = np.asarray(expit(logits))
        return probabilities if kind == "probabilities" else np.asarray(1 - probabilities[0])

    def predict(
        self, image: Sliceable, tile_px: int | Sequence[int] | None, kind: Kind
    ) -> NDArray[Any]:
        """The result for an image (c *space), tile by tile, without reading ahead."""
        shape = image.shape[1:]
        result: NDArray[Any] | None = None
        for tile in cut(shape, self.fields, tile_px, self.border):
            part = self.compute(self.read(image, tile), image, tile, kind)
            if result is None:
                result = np.empty((*part.shape[: -len(shape)], *shape), part.dtype)
            place: list[Any] = [..., *tile.write]
            result[tuple(place)] = part
        assert result is not None
        return result

    def logits(
        self, image: Sliceable, tile_px: int | Sequence[int] | None
    ) -> Iterator[tuple[Slices, NDArray[np.float32]]]:
        """Where each tile of an image (c *space) is written, and its logits (k *space)."""
        for tile in cut(image.shape[1:], self.fields, tile_px, self.border):
            yield tile.write, self.engine(self.read(image, tile))[0][(slice(None), *tile.crop)]


def read_mirrored(image: Sliceable, tile: Tile) -> NDArray[Any]:
    """What a tile reads (c *space); pixels beyond the image are mirrored.

    Only the block that holds all needed pixels is sliced out of `image`.
    """
    spans = list(zip(tile.read, image.shape[1:], strict=True))
    if all(start >= 0 and stop <= size for (start, stop), size in spans):
        return np.asarray(image[(slice(None), *[slice(*read) for read in tile.read])])
    indices = [mirror_indices(start, stop, size) for (start, stop), size in spans]
    block = image[(slice(None), *[slice(int(i.min()), int(i.max()) + 1) for i in indices])]
    return np.asarray(block[(slice(None), *np.ix_(*[i - i.min() for i in indices]))])


def tiler_of(model: Model, engine: Engine) -> Tiler:
    """A model's tiler."""
    return Tiler(
        engine,
        model.fields,
        border=model.settings.border,
        normalisation=model.normalisation,
        activation=model.settings.loss.activation,
        overlap=model.classes.overlap,
    )
