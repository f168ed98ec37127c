"""What is measured of objects: size, place, bounding box, brightness; and the table of it."""

from __future__ import annotations

import csv
import io as text
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overtile import io
from overtile.image import Sliceable
from overtile.objects.regions import Extents, Window

Table = dict[str, NDArray[Any]]
"""Columns by name, all of the same length; a row is an object."""


def measure(
    ids: Sliceable,
    image: Sliceable | None,
    blocks: Sequence[Window],
    spacing: Sequence[float] | None = None,
    unit: str = "",
) -> Table:
    """Measurements of every object, block by block.

    Parameters
    ----------
    ids
        Of the objects (y x) or (z y x), 0 for background.
    image
        Channels (c y x) or (c z y x) whose mean is taken over each object; None for none.
    blocks
        Disjoint windows that cover the image. What is measured does not depend on them, but for
        the last digits of means of floats; memory does, which holds one block of one channel and
        the numbers of each object in each block.
    spacing
        Distance between pixels along each axis of `ids`.
    unit
        Of the spacing, as it is written in the names; "" is written as "unit".

    Returns
    -------
    Table
        Of the objects in the order of their ids: `id`; `area_px` (in 3-D `volume_px`), pixels;
        `centroid_y_px`, ...: the mean position, 0 at the centre of the first pixel;
        `start_y_px`, `stop_y_px`, ...: the bounding box, stop excluded; `mean_0`, ...: mean of each
        channel. With a spacing of unit um also `area_um2` (`volume_um3`) and `centroid_y_um`, ...
    """
    shape = tuple(ids.shape)
    found, extents, sums = [], [], []
    for block in blocks:
        values = np.asarray(ids[block])
        inside = np.flatnonzero(values)
        names, number = np.unique(values.ravel()[inside], return_inverse=True)
        labels = np.zeros(values.shape, np.int32)
        labels.ravel()[inside] = number + 1
        found.append(names)
        extents.append(Extents.of(labels, len(names), [side.start for side in block], shape))
        weights = _per_pixel(inside, block, image)
        sums.append(np.stack([np.bincount(number, each, len(names)) for each in weights], axis=1))
    names, row = np.unique(np.concatenate(found), return_inverse=True)
    total = np.zeros((len(names), sums[0].shape[1]))
    np.add.at(total, row, np.concatenate(sums))
    merged = Extents.chain(extents).merge(row, len(names))
    return _table(names, merged, total / merged.size[:, None], spacing, unit or "unit")


def _per_pixel(
    inside: NDArray[np.intp], block: Window, image: Sliceable | None
) -> Iterator[NDArray[np.float64]]:
    """Coordinates along each axis, then each channel, of some of the pixels of a block."""
    place = np.unravel_index(inside, [side.stop - side.start for side in block])
    for along, side in zip(place, block, strict=True):
        yield along.astype(np.float64) + side.start
    if image is not None:
        for channel in range(image.shape[0]):
            yield np.asarray(image[(channel, *block)], np.float64).ravel()[inside]


def _table(
    ids: NDArray[Any],
    extents: Extents,
    means: NDArray[np.float64],
    spacing: Sequence[float] | None,
    unit: str,
) -> Table:
    dimensions = extents.start.shape[1]
    axes = "zyx"[-dimensions:]
    size = "area" if dimensions == 2 else "volume"
    table: Table = {"id": ids, f"{size}_px": extents.size}
    if spacing is not None:
        table[f"{size}_{unit}{dimensions}"] = extents.size * np.prod(spacing)
    for number, axis in enumerate(axes):
        table[f"centroid_{axis}_px"] = means[:, number]
    if spacing is not None:
        for number, axis in enumerate(axes):
            table[f"centroid_{axis}_{unit}"] = means[:, number] * spacing[number]
    for number, axis in enumerate(axes):
        table[f"start_{axis}_px"] = extents.start[:, number]
        table[f"stop_{axis}_px"] = extents.stop[:, number]
    for number in range(dimensions, means.shape[1]):
        table[f"mean_{number - dimensions}"] = means[:, number]
    return table


def write_csv(path: Path, tables: Sequence[Table], *, overwrite: bool = False) -> None:
    """Write tables as one CSV file (RFC 4180, UTF-8), which appears whole or not at all.

    Parameters
    ----------
    path
        Of the file.
    tables
        One or more, with the same columns; their rows follow each other under one header.
    overwrite
        Whether an existing file may be replaced.

    Raises
    ------
    OutputError
        The file exists already or cannot be written.
    """
    with io.new_file(path, overwrite) as file:
        for number, table in enumerate(tables):
            rows = text.StringIO(newline="")
            writer = csv.writer(rows)
            if number == 0:
                writer.writerow(table)
            writer.writerows(zip(*(column.tolist() for column in table.values()), strict=True))
            file.write(rows.getvalue().encode())
