"""Synthetic micrographs of crowded cells, with a label for each cell: something to try things on.

What makes them hard is what makes real ones hard: cells that touch, of different brightness, shape
and texture, under uneven light, with haze and noise. Everything follows from (seed, index).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from overtile import io
from overtile.errors import OutputError
from overtile.image import Image

SPACING_PX = 26
"""Mean distance of cell centres; cells are about 24 px wide."""

REACH_PX = 30
"""No contour reaches farther from its centre: 15 px, the longest ellipse and all lobes at once."""

CRUMB_PX = 40
"""A cell of fewer pixels, cut off by others or by the edge of the image, is left out."""


def draw_sample(
    seed: int, index: int, size: tuple[int, int] = (256, 256)
) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """One micrograph and its cells.

    Parameters
    ----------
    seed, index
        What the picture depends on, alone.
    size
        (y, x) in pixels, each at least 32: less has room for hardly a cell.

    Returns
    -------
    image
        (y x) uint8.
    cells
        (y x) uint16, 0 for background and a number from 1 for each cell; cells touch, and none
        overlap.
    """
    random = np.random.default_rng((seed, index))
    cells = _draw_cells(random, size)
    light = _smooth(random, size, 60)
    light = 0.65 + 0.7 * (light - light.min()) / np.ptp(light)
    haze = 18 + 10 * _smooth(random, size, 25)
    signal = haze + light * _paint(random, cells)
    photons = random.poisson(np.clip(ndimage.gaussian_filter(signal, 0.9), 0, None) * 1.2) / 1.2
    noisy = photons + random.normal(0, 3, size)
    return np.clip(noisy, 0, 255).astype(np.uint8), cells


def _draw_cells(random: np.random.Generator, size: tuple[int, int]) -> NDArray[np.uint16]:
    """Cells around scattered centres: a pixel goes to the cell whose contour it is deepest in."""
    count = max(1, int(0.75 * size[0] * size[1] / SPACING_PX**2))
    rows, columns = np.indices(size)
    depth, cells = np.zeros(size), np.zeros(size, np.uint16)
    for number, (y, x) in enumerate(_scatter(random, size, count), start=1):
        box = (
            slice(max(0, int(y) - REACH_PX), int(y) + REACH_PX + 2),
            slice(max(0, int(x) - REACH_PX), int(x) + REACH_PX + 2),
        )
        inside = _depth_in_contour(random, rows[box] - y, columns[box] - x)
        deeper = inside > depth[box]
        depth[box][deeper], cells[box][deeper] = inside[deeper], number
    return _largest_parts(cells)


def _depth_in_contour(
    random: np.random.Generator, dy: NDArray[np.float64], dx: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How deep a point at (dy, dx) from the centre lies: 1 there, 0 on the contour, then negative.

    The contour is an ellipse with waves of two to five lobes on it.
    """
    long, turn = random.uniform(1.0, 1.7), random.uniform(0, np.pi)
    radius = random.uniform(9, 15)
    along = (dx * np.cos(turn) + dy * np.sin(turn)) / long**0.5
    across = (dy * np.cos(turn) - dx * np.sin(turn)) * long**0.5
    angle, waves = np.arctan2(across, along), np.ones(dy.shape)
    for lobes in range(2, 6):
        waves += random.uniform(0, 0.22 / lobes**0.5) * np.cos(
            lobes * angle + random.uniform(0, 2 * np.pi)
        )
    return np.asarray(1 - np.hypot(along, across) / (radius * waves))


def _scatter(random: np.random.Generator, size: tuple[int, int], count: int) -> NDArray[np.float64]:
    """Random points, each the farthest from the earlier ones of a few candidates, so in crowds."""
    points = random.uniform(0, size, (1, 2))
    while len(points) < count:
        candidates = random.uniform(0, size, (4, 2))
        nearest = np.linalg.norm(candidates[:, None] - points, axis=-1).min(axis=1)
        # Not the farthest of all but one of those that leave room for a nucleus: cells crowd.
        fitting = candidates[nearest > 0.55 * SPACING_PX]
        points = np.vstack([points, fitting[:1] if len(fitting) else candidates[nearest.argmax()]])
    return points


def _largest_parts(cells: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Only the largest region of each cell, without crumbs, numbered without gaps."""
    result = np.zeros_like(cells)
    number = 0
    boxes: Sequence[tuple[slice, ...] | None] = ndimage.find_objects(cells)
    for cell, box in enumerate(boxes, start=1):
        if box is None:  # wholly covered by others
            continue
        regions, _ = ndimage.label(cells[box] == cell)
        sizes = np.bincount(regions.ravel())[1:]
        if sizes.max() >= CRUMB_PX:
            number += 1
            result[box][regions == 1 + sizes.argmax()] = number
    return result


def _paint(random: np.random.Generator, cells: NDArray[np.uint16]) -> NDArray[np.float64]:
    """Brightness of every cell: a body, a nucleus off the middle, granules, a darker rim."""
    count = int(cells.max())
    body = np.concatenate([[0], random.uniform(55, 120, count)])[cells]
    rim = np.clip(ndimage.distance_transform_edt(_inner(cells)) / 3.0, 0, 1)
    grain = _smooth(random, cells.shape, 1.5)
    picture: NDArray[np.float64] = body * (0.72 + 0.28 * rim) * (1 + 0.16 * grain)
    middles = ndimage.center_of_mass(cells > 0, cells, np.arange(1, count + 1))
    centres: NDArray[np.float64] = np.array(middles, np.float64)
    rows, columns = (np.arange(length) for length in cells.shape)
    for number, box in enumerate(ndimage.find_objects(cells), start=1):
        y, x = centres[number - 1] + random.normal(0, 2, 2)
        spread = random.uniform(2.5, 4.5)
        dy, dx = rows[box[0], None] - y, columns[box[1]] - x
        nucleus = np.exp(-(dy**2 + dx**2) / (2 * spread**2))
        # The brightness may be negative: some cells have a dark nucleus.
        picture[box] += (cells[box] == number) * nucleus * random.uniform(-35, 60)
    return picture


def _inner(cells: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """Pixels of cells without another cell or background beside them."""
    return np.asarray(
        (ndimage.minimum_filter(cells, 3) == ndimage.maximum_filter(cells, 3)) & (cells > 0)
    )


def _smooth(
    random: np.random.Generator, size: tuple[int, ...], sigma_px: float
) -> NDArray[np.float64]:
    """Smoothed noise of mean 0 and deviation 1."""
    noise = ndimage.gaussian_filter(random.normal(size=size), sigma_px, mode="reflect")
    return np.asarray((noise - noise.mean()) / noise.std())


def write_sample(
    folder: Path,
    *,
    count: int = 12,
    size: tuple[int, int] = (256, 256),
    seed: int = 0,
    overwrite: bool = False,
) -> None:
    """Draw micrographs into ``folder/images`` and their cells into ``folder/labels``, as TIFF.

    Parameters
    ----------
    folder
        Where to; made where it does not exist.
    count
        Of micrographs: ``cell-00.tif``, ``cell-01.tif`` ...
    size
        (y, x) of each in pixels.
    seed
        Another one draws other micrographs.
    overwrite
        Whether the folder may hold something; other files in it are kept.

    Raises
    ------
    OutputError
        The folder holds something and `overwrite` is false, or it is a file.
    """
    if folder.is_file():
        raise OutputError(f"{folder} is a file: expected the name of a folder for the sample.")
    if folder.exists() and any(folder.iterdir()) and not overwrite:
        raise OutputError(
            f"{folder} is not empty: choose another folder, or give --overwrite to replace the "
            "files of an earlier sample."
        )
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        image, cells = draw_sample(seed, index, size)
        name = f"cell-{index:02d}.tif"
        io.write(folder / "images" / name, Image(image, "yx"), overwrite=overwrite)
        io.write(folder / "labels" / name, Image(cells, "yx"), overwrite=overwrite)
