"""Engine + part of an image -> the result for one tile; knows no torch.

Every pixel is computed once, from a tile that holds all that the network sees of it, so the result
is the whole image's (see `overtile.tiles`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from overtile.engines import Engine, most_probable
from overtile.errors import DataError, SettingsError
from overtile.geometry import Fields, mirror_indices
from overtile.image import Sliceable
from overtile.labels import UNLABELLED_VALUE
from overtile.missing import find_missing, refuse_infinite
from overtile.model import Model
from overtile.model.ensemble import normalisations
from overtile.normalise import Normalisation, Stacked
from overtile.objects import objectness, without_line
from overtile.settings import Activation
from overtile.tiles import Border, Tile, cut, even_step

Slices = tuple[slice, ...]
Kind = Literal["classes", "probabilities", "foreground"]
"""What is computed of a tile: class ids, all probabilities, or what objects are found in: the
probability of not being background, or where the network tells lines apart, `objectness`."""


def channels_of(model: Model, kind: Kind) -> int | None:
    """The channels of a result: a class each, of probabilities and of classes that overlap."""
    layered = kind == "probabilities" or (kind == "classes" and model.classes.overlap)
    return len(model.classes.names) if layered else None


@dataclass(frozen=True)
class Loaded:
    """What a tile reads.

    Attributes
    ----------
    window
        (1 c *space), normalised, where the engine wants it.
    missing
        Where pixels that the tile writes are missing (*space); None where none is.
    """

    window: Any
    missing: NDArray[np.bool_] | None


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
        Of the intensities, from the training set, or of one image; several where the engine
        averages networks that see it differently.
    activation
        What makes probabilities of logits.
    overlap
        Whether classes may overlap: class ids are then 0 or 1 for each class.
    line
        Whether the last output is the line between touching objects, which belong to class 1.
    """

    def __init__(
        self,
        engine: Engine,
        fields: Fields,
        *,
        border: Border,
        normalisation: Normalisation | Stacked,
        activation: Activation,
        overlap: bool = False,
        line: bool = False,
    ) -> None:
        self.engine = engine
        self.fields = fields
        self.border: Border = border
        self.normalisation: Normalisation | Stacked = normalisation
        self.activation = activation
        self.overlap = overlap
        self.line = line
        self.too_large_px: int | None = None

    def of(self, image: Sliceable) -> Tiler:
        """The tiler for one image (c *space), whose statistics are measured where it needs them."""
        normalisation = self.normalisation.of(image)
        if normalisation is self.normalisation:
            return self
        bound = copy(self)
        bound.normalisation = normalisation
        return bound

    def read(self, image: Sliceable, tile: Tile) -> Loaded:
        """What a tile reads of an image (c *space); missing pixels enter the network as the mean.

        Raises
        ------
        DataError
            Infinite pixels, or values so far from those of training that they become so.
        """
        pixels = read_mirrored(image, tile)
        missing = find_missing(pixels)
        refuse_infinite("The image", pixels)
        window = self.normalisation(pixels, missing)
        if pixels.dtype.kind == "f" and not np.isfinite(window).all():
            raise DataError(
                f"The image holds values as large as {np.nanmax(np.abs(pixels)):.3g}, too far from "
                "those of training to compute with. If they mark missing pixels, write NaN there, "
                "or declare them in the file."
            )
        return Loaded(self.engine.load(window[None]), _where_written(missing, tile))

    def compute(self, loaded: Loaded, image: Sliceable, tile: Tile, kind: Kind) -> NDArray[Any]:
        """What a tile writes: (k *space) of probabilities and classes that overlap, or (*space).

        Where the image is missing, class ids are 255, probabilities NaN, and the foreground is 0.
        A tile for which the device has not enough memory is computed in parts, and so is every
        later one of its size: the result is the same.

        Raises
        ------
        SettingsError
            Not even the smallest part fits.
        """
        missing = loaded.missing
        if missing is not None and missing.all() and kind != "probabilities" and not self.overlap:
            empty = np.empty(missing.shape, np.uint8 if kind == "classes" else np.float32)
            return say_missing(empty, missing, kind)
        size = int(np.prod(tile.read_shape))
        if self.too_large_px is None or size < self.too_large_px:
            try:
                return say_missing(self._result(loaded.window, tile.crop, kind), missing, kind)
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

    def _result(self, window: Any, crop: Slices, kind: Kind) -> NDArray[Any]:
        if kind == "classes" and not self.overlap and not self.line:
            return np.asarray(self.engine.classes(window)[0][crop])
        logits = self.engine(window)[0][(slice(None), *crop)]
        if kind == "classes" and self.overlap:
            return np.asarray(logits > 0, np.uint8)
        return self.of_outputs(self.likely(logits), kind)

    def likely(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """The probability of every output, of logits (k *space)."""
        if self.activation == "softmax":
            return np.asarray(softmax(logits, axis=0))
        return np.asarray(expit(logits))

    def of_outputs(self, likely: NDArray[np.float32], kind: Kind) -> NDArray[Any]:
        """The result by the probability of every output (k *space)."""
        if kind == "foreground":
            return objectness(likely) if self.line else np.asarray(1 - likely[0])
        if self.line:
            likely = without_line(likely)
        if kind == "probabilities":
            return likely
        return np.asarray(likely > 0.5, np.uint8) if self.overlap else most_probable(likely)

    def predict(
        self, image: Sliceable, tile_px: int | Sequence[int] | None, kind: Kind
    ) -> NDArray[Any]:
        """The result for an image (c *space), tile by tile, without reading ahead."""
        shape, tiler = image.shape[1:], self.of(image)
        result: NDArray[Any] | None = None
        for tile in cut(shape, self.fields, tile_px, self.border):
            part = tiler.compute(tiler.read(image, tile), image, tile, kind)
            if result is None:
                result = np.empty((*part.shape[: -len(shape)], *shape), part.dtype)
            place: list[Any] = [..., *tile.write]
            result[tuple(place)] = part
        assert result is not None
        return result

    def logits(
        self, image: Sliceable, tile_px: int | Sequence[int] | None
    ) -> Iterator[tuple[Slices, NDArray[np.float32]]]:
        """Where each tile of an image (c *space) is written, and its logits (k *space).

        They are NaN where the image is missing.
        """
        tiler = self.of(image)
        for tile in cut(image.shape[1:], self.fields, tile_px, self.border):
            loaded = tiler.read(image, tile)
            logits = self.engine(loaded.window)[0][(slice(None), *tile.crop)]
            yield tile.write, say_missing(logits, loaded.missing, "probabilities")


def say_missing(
    result: NDArray[Any], missing: NDArray[np.bool_] | None, kind: Kind
) -> NDArray[Any]:
    """A result (*space) or (k *space) that says where (*space) nothing is known."""
    if missing is None:
        return result
    value = {"classes": UNLABELLED_VALUE, "probabilities": np.nan, "foreground": 0}[kind]
    return np.where(missing, result.dtype.type(value), result)


def _where_written(missing: NDArray[np.bool_] | None, tile: Tile) -> NDArray[np.bool_] | None:
    """The part that a tile writes of what it reads; None where nothing of it is missing."""
    if missing is None:
        return None
    along = zip(tile.write, tile.read, strict=True)
    inside = tuple(slice(part.start - read[0], part.stop - read[0]) for part, read in along)
    return missing[inside] if missing[inside].any() else None


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
    different, _ = normalisations(model)
    return Tiler(
        engine,
        model.fields,
        border=model.settings.border,
        normalisation=different[0] if len(different) == 1 else Stacked(different),
        activation=model.settings.loss.activation,
        overlap=model.classes.overlap,
        line=model.has_line,
    )
