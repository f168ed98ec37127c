"""Model + image -> class ids or probabilities of an image in memory; the tiles for any image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overtile.blending import blended, tile_mismatch
from overtile.engines import Engine
from overtile.engines.choice import cost_of
from overtile.engines.cost import Cost, probe_shapes
from overtile.errors import DataError, ModelError
from overtile.executors import Work, in_this_process
from overtile.image import Image, Sliceable
from overtile.labels import UNLABELLED_VALUE
from overtile.metrics import Mismatch
from overtile.model import Model
from overtile.objects import ObjectSettings, told_apart
from overtile.planes import Planes
from overtile.resample import Resampled, to_pixel_size
from overtile.tileplan import SAFE_SHARE, Load, TilePlan, plan_tiles, plan_unmeasured
from overtile.tiler import Kind, Tiler, channels_of, say_missing
from overtile.tiles import cut


@dataclass(frozen=True)
class Predictor:
    """A model with what computes it: all that a prediction needs.

    Attributes
    ----------
    folder
        Where the model lies; None if it was never saved.
    inexact
        Whether a network whose tiles are not exact may be used, its tiles blended.
    """

    model: Model
    tiler: Tiler
    folder: Path | None = None
    inexact: bool = False

    @property
    def engine(self) -> Engine:
        """What computes."""
        return self.tiler.engine

    @property
    def is_exact(self) -> bool:
        """Whether the result is the same whatever the tiles."""
        return self.model.exact

    def cost(self) -> Cost:
        """What a window costs here, measured when first asked for."""
        return cost_of(self.engine, self.model)

    def check(self, image: Image, name: str = "The image") -> Planes:
        """The planes of an image as the network sees them, if the model can predict it.

        Raises
        ------
        DataError
            Another number of channels than in training, or a volume is asked for and there is none.
        ModelError
            Tiles of the network are not exact, and that was not allowed.
        """
        if not (self.is_exact or self.inexact):
            raise ModelError(
                f"The network ({self.model.settings.network.name}) looks at the whole window, so "
                "that the result depends on the tiles: allow them to be blended (--inexact, "
                "inexact=True), or train one that is exact: with norm batch or batch-renorm, or "
                "with an encoder such as resnet34. 'overtile inspect' names the layers."
            )
        planes = Planes(self.bring(image, name), self.model.settings.network.dimensions)
        expected = self.model.settings.network.channels
        if planes.channels != expected:
            raise DataError(
                f"{name} has {planes.channels} channel{'s' * (planes.channels > 1)}, and the model "
                f"was trained on {expected}: convert the image, or train on such images."
            )
        return planes

    def bring(self, image: Image, name: str = "The image") -> Image:
        """An image in pixels of the size that the network is to see.

        Raises
        ------
        DataError
            All are to be brought to one size, and the image states none.
        """
        size = self.model.pixel_size
        return image if size is None else to_pixel_size(image, size, name=name)

    def check_background(self) -> None:
        """Refuse objects where no class is the background that they lie on.

        Raises
        ------
        DataError
            Classes overlap, or none of them is background.
        """
        classes = self.model.classes
        if classes.background is None:
            why = "overlap" if classes.overlap else "have no background among them"
            raise DataError(
                f"Objects are what is not background, and the classes of this model {why} "
                f"({', '.join(classes.names)}): predict classes or probabilities instead, or train "
                "with a class that is named background (--colours)."
            )

    def objects_are(
        self, seed_threshold: float | None = None, larger: float = 1.0
    ) -> ObjectSettings:
        """What an object is: as in training, without its specks, grown back into the line.

        With so many times as many pixels as the network sees.

        Raises
        ------
        SettingsError
            A seed threshold that is not above that of objects.
        """
        classes = self.model.classes
        line_px = self.model.settings.pixel_weight.separation_px
        growth = larger ** (1 / self.model.settings.network.dimensions)
        if self.model.has_line:
            smallest_px = classes.smallest_object_px * larger
            return told_apart(classes.inside, line_px, smallest_px, seed_threshold, growth=growth)
        return ObjectSettings(
            smallest_px=round(classes.smallest_object_px * larger),
            grow_px=growth * line_px / 2 if classes.kind == "instances" else 0,
            seed_threshold=seed_threshold,
        )

    def plan(
        self,
        planes: Planes,
        kind: Kind,
        *,
        memory: int | None = None,
        tile_px: int | None = None,
        unit: int | None = None,
        kept_bytes: int = 0,
    ) -> TilePlan:
        """The tiles for an image.

        Parameters
        ----------
        memory
            Bytes that may be taken; by default half of what is free.
        tile_px
            Largest side of a tile.
        unit
            Sides are multiples of it.
        kept_bytes
            Memory that is needed whatever the tile.
        """
        fields, border = self.tiler.fields, self.tiler.border
        _, large = probe_shapes(fields)
        is_small = all(size <= side for size, side in zip(planes.shape, large, strict=True))
        if memory is None and tile_px is None and is_small:
            why = "The image is so small that one tile holds each plane: nothing was measured."
            return plan_unmeasured(planes, fields, border, None, unit, why)
        if memory is None and tile_px is not None:
            why = f"The side of a tile was limited to {tile_px} px, the memory was not."
            return plan_unmeasured(planes, fields, border, tile_px, unit, why)
        channels = channels_of(self.model, kind) or 1
        load = Load(
            read_px_bytes=planes.channels
            * (4 * self.engine.copies + planes.image.data.dtype.itemsize),
            write_px_bytes=channels * (1 if kind == "classes" else 4),
            fixed_bytes=kept_bytes,
        )
        budget = memory or int(SAFE_SHARE * self.engine.free_memory())
        return plan_tiles(
            planes.shape,
            fields,
            border,
            self.cost(),
            load,
            budget=budget,
            unit=unit,
            most_px=tile_px,
        )

    def predict(self, image: Image, kind: Kind, *, tile_px: int | None = None) -> NDArray[Any]:
        """The result for an image in memory, in the order of its axes, with c for probabilities."""
        planes = self.check(image)
        if kind == "foreground":
            self.check_background()
        if planes.image is image:
            return self._predict(planes, kind, tile_px)
        own = Planes(image, len(planes.space))
        staged: Kind = "probabilities" if kind == "classes" else kind
        result = self._predict(planes, staged, tile_px)
        return np.asarray(self.brought_back(result, own, kind)[()])

    def brought_back(self, result: Sliceable, own: Planes, kind: Kind) -> Sliceable:
        """A result for a resampled image, on the pixels of the image, read where it is sliced.

        Parameters
        ----------
        result
            Probabilities for class ids, so that borders are smooth, and for probabilities; else
            the foreground.
        own
            The image's own planes.
        kind
            What is to be had.
        """
        staged: Kind = "probabilities" if kind == "classes" else kind
        axes, shape = own.axes_of(channels_of(self.model, staged))
        back = Resampled(result, shape, nearest=False)
        if kind != "classes":
            return back
        axis = axes.index("c")
        return Likely(back, axis) if self.model.classes.overlap else MostProbable(back, axis)

    def _predict(self, planes: Planes, kind: Kind, tile_px: int | None) -> NDArray[Any]:
        """The result for planes in memory."""
        axes, shape = planes.axes_of(channels_of(self.model, kind))
        result = np.zeros(shape, np.uint8 if kind == "classes" else np.float32)
        step = self.plan(planes, kind, tile_px=tile_px).step
        if not self.is_exact:
            for number in range(len(planes)):
                whole = tuple(slice(0, size) for size in planes.shape)
                result[planes.key(axes, number, whole)] = self.blend(planes[number], kind, step)
            return result
        tiles = cut(planes.shape, self.tiler.fields, step, self.tiler.border)
        work = Work(self.tiler, planes, _InMemory(result), axes, kind, tiles)
        in_this_process(work, range(len(work)), lambda _: None)
        return result

    def blend(self, plane: Sliceable, kind: Kind, step: tuple[int, ...]) -> NDArray[Any]:
        """The result for a plane (c *space) of a network whose tiles are not exact."""
        likely = blended(self.tiler, plane, step)
        missing = np.isnan(likely[0])
        result = self.tiler.of_outputs(likely, kind)
        return say_missing(result, missing if missing.any() else None, kind)

    def mismatch(self, plane: Sliceable) -> Mismatch:
        """How far two tilings of a plane (c *space) differ."""
        return tile_mismatch(self.tiler, plane, exact=self.is_exact)


class _InMemory:
    """An array as a store."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, key: Any) -> NDArray[Any]:
        return np.asarray(self.array[key])

    def __setitem__(self, key: Any, part: Any) -> None:
        self.array[key] = part

    def sync(self) -> None:
        """Nothing is on a disk."""


class MostProbable:
    """Class ids of probabilities, found where they are sliced; 255 where there are none (NaN)."""

    def __init__(self, probabilities: Sliceable, axis: int) -> None:
        self._probabilities, self._axis = probabilities, axis
        self.shape = tuple(np.delete(probabilities.shape, axis).tolist())
        self.dtype = np.dtype(np.uint8)

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:
        keys = key if isinstance(key, tuple) else (key,)
        keys += (slice(None),) * (len(self.shape) - len(keys))
        before = keys[: self._axis]
        likely = self._probabilities[(*before, slice(None), *keys[self._axis :])]
        axis = sum(isinstance(one, slice) for one in before)
        missing = np.isnan(likely).any(axis)
        return np.where(missing, UNLABELLED_VALUE, likely.argmax(axis)).astype(np.uint8)


class Likely:
    """Whether each class is there, 1 or 0, by probabilities of classes that overlap."""

    def __init__(self, probabilities: Sliceable, axis: int) -> None:
        self._probabilities, self._axis = probabilities, axis
        self.shape, self.dtype = probabilities.shape, np.dtype(np.uint8)

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:
        likely = self._probabilities[key]
        return np.where(np.isnan(likely), UNLABELLED_VALUE, likely > 0.5).astype(np.uint8)
