"""The objects of a prediction, from its staged foreground."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from overtile.file_to_file.options import PredictOptions
from overtile.image import Planes, Sliceable, Store
from overtile.machine import free_memory
from overtile.objects import (
    ObjectSettings,
    Table,
    cut_blocks,
    find_objects_in_blocks,
    measure,
    write_csv,
)
from overtile.tileplan import SAFE_SHARE

BLOCK_PX = {2: 2048, 3: 128}
"""Side of the blocks in which objects are joined, by dimensions; some 20 bytes a pixel are held."""


def object_block(planes: Planes) -> tuple[int, ...]:
    """The side along each axis of the blocks."""
    side = BLOCK_PX[len(planes.shape)]
    return tuple(min(side, size) for size in planes.shape)


def write_objects(
    foreground: Sliceable,
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
        likely = PlaneStore(foreground, planes, axes, number)
        most_bytes = options.memory or int(SAFE_SHARE * free_memory())
        find_objects_in_blocks(likely, here, blocks, settings, most_bytes=most_bytes)
        if options.measurements is not None:
            table = measure(here, planes[number], blocks, spacing, image.unit)
            count = len(table["id"])
            place = planes.place(number)
            tables.append({axis: np.full(count, at) for axis, at in place.items()} | table)
    if options.measurements is not None:
        write_csv(options.measurements, tables, overwrite=options.overwrite)


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
