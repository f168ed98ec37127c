"""The objects of a prediction, from its staged foreground."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overtile.file_to_file.options import PredictOptions
from overtile.image import Sliceable, Store
from overtile.machine import free_memory
from overtile.missing import clear_missing
from overtile.objects import (
    ObjectSettings,
    Table,
    cut_blocks,
    find_objects_in_blocks,
    measure,
    write_csv,
)
from overtile.planes import Planes
from overtile.tileplan import SAFE_SHARE

BLOCK_PX = {2: 2048, 3: 128}
"""Side of the blocks in which objects are joined, by dimensions; some 20 bytes a pixel are held."""


def object_block(planes: Planes) -> tuple[int, ...]:
    """The side along each axis of the blocks."""
    side = BLOCK_PX[len(planes.shape)]
    return tuple(min(side, size) for size in planes.shape)


@dataclass(frozen=True)
class Staged:
    """What was predicted for objects.

    Attributes
    ----------
    store, axes
        The probability of the foreground; with an axis c, that of every class.
    names
        Of the classes.
    """

    store: Sliceable
    axes: str
    names: tuple[str, ...]

    def foreground(self, planes: Planes, number: int) -> Sliceable:
        """The probability of the foreground of one plane."""
        layered = "c" in self.axes
        kind = _Foreground if layered else PlaneStore
        return kind(self.store, planes, self.axes, number)


def write_objects(
    staged: Staged,
    ids: Store,
    planes: Planes,
    axes: str,
    settings: ObjectSettings,
    options: PredictOptions,
) -> None:
    """Write the object ids of every plane, and the table of their measurements if asked for."""
    blocks = cut_blocks(planes.shape, object_block(planes))
    image = planes.image
    spacing = None if image.spacing is None else image.spacing[-len(planes.space) :]
    tables: list[Table] = []
    for number in range(len(planes)):
        here = PlaneStore(ids, planes, axes, number)
        likely = staged.foreground(planes, number)
        most_bytes = options.memory or int(SAFE_SHARE * free_memory())
        find_objects_in_blocks(likely, here, blocks, settings, most_bytes=most_bytes)
        clear_missing(here, planes[number], blocks)
        if options.measurements is not None:
            table = measure(here, planes[number], blocks, spacing, image.unit)
            if "c" in staged.axes:
                layers = _Layers(staged.store, planes, staged.axes, number)
                likely_of = measure(here, layers, blocks)
                means = np.stack([likely_of[f"mean_{n}"] for n in range(1, len(staged.names))])
                best = np.array(staged.names[1:])[means.argmax(axis=0)]
                table = {"id": table["id"], "class": best} | table
            count = len(table["id"])
            place = planes.place(number)
            tables.append({axis: np.full(count, at) for axis, at in place.items()} | table)
    if options.measurements is not None:
        write_csv(options.measurements, tables, overwrite=options.overwrite)


class _Layers:
    """The classes (k *space) of one plane of a store of probabilities, one channel at a time."""

    def __init__(self, store: Sliceable, planes: Planes, axes: str, number: int) -> None:
        self._store, self._planes, self._axes, self._number = store, planes, axes, number
        self.shape = (store.shape[axes.index("c")], *planes.shape)
        self.dtype = store.dtype

    def __getitem__(self, key: Any) -> NDArray[Any]:
        channel, *window = key
        inside = list(self._planes.key(self._axes, self._number, tuple(window)))
        inside[self._axes.index("c")] = channel
        return np.asarray(self._store[tuple(inside)])


class _Foreground(_Layers):
    """The probability (*space) of all classes but the first of one plane."""

    def __init__(self, store: Sliceable, planes: Planes, axes: str, number: int) -> None:
        super().__init__(store, planes, axes, number)
        self.shape = planes.shape

    def __getitem__(self, window: Any) -> NDArray[Any]:
        return np.asarray(1 - super().__getitem__((0, *window)))


class PlaneStore:
    """One plane of a store."""

    def __init__(self, store: Any, planes: Planes, axes: str, number: int) -> None:
        self._store, self._planes, self._axes, self._number = store, planes, axes, number
        self.shape, self.dtype = planes.shape, store.dtype

    def _key(self, window: Any) -> tuple[int | slice, ...]:
        return self._planes.key(self._axes, self._number, window)

    def __getitem__(self, window: Any) -> NDArray[Any]:
        return np.asarray(self._store[self._key(window)])

    def __setitem__(self, window: Any, part: Any) -> None:
        self._store[self._key(window)] = part
