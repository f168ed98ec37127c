"""Intensities: one mean and one deviation per channel, from the data set and never from the tile.

A statistic of the tile would make the result depend on how the image was cut. The statistics are
those of the training images, or of the images that an encoder was trained on before; they travel
with the model, and are applied to every image alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from overtile.errors import DataError


@dataclass(frozen=True)
class Normalisation:
    """Maps intensities to mean 0 and standard deviation 1 over a set of images.

    Attributes
    ----------
    mean, std
        One value per channel, in the units of the images.
    source
        What they are of: the training images, or those that an encoder was trained on before.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: Literal["images", "pretraining"] = "images"

    def __call__(self, image: NDArray[np.generic]) -> NDArray[np.float32]:
        """The image (c *space) with every channel shifted and scaled, in float32."""
        shape = (-1,) + (1,) * (image.ndim - 1)
        mean = np.asarray(self.mean, np.float32).reshape(shape)
        scale = np.float32(1) / np.asarray(self.std, np.float32).reshape(shape)
        return (image.astype(np.float32) - mean) * scale


def measure_normalisation(images: Iterable[NDArray[np.generic]]) -> Normalisation:
    """Mean and standard deviation per channel over all pixels of all images.

    Parameters
    ----------
    images
        Arrays (c *space) with the same number of channels, read one at a time.

    Raises
    ------
    DataError
        A channel that is constant over the whole set carries nothing to learn from.

    Notes
    -----
    Means and squared deviations are merged image by image (Chan, Golub and LeVeque 1979), which
    stays exact where a sum of squares over millions of 16-bit pixels would cancel.
    """
    count, mean, squares = 0, np.zeros(0), np.zeros(0)
    for image in images:
        flat = image.reshape(len(image), -1).astype(np.float64)
        here, shift = flat.shape[1], flat.mean(axis=1)
        spread = ((flat - shift[:, None]) ** 2).sum(axis=1)
        if count == 0:
            count, mean, squares = here, shift, spread
            continue
        step = shift - mean
        squares = squares + spread + step**2 * (count * here / (count + here))
        mean = mean + step * (here / (count + here))
        count += here
    std = np.sqrt(squares / count)
    constant = np.flatnonzero(std == 0)
    if constant.size:
        raise DataError(
            f"Channel {constant[0]} has the value {mean[constant[0]]:g} at every pixel of every "
            "training image: expected intensities that vary. Leave the channel out, or check that "
            "images and labels were not exchanged."
        )
    return Normalisation(tuple(mean.tolist()), tuple(std.tolist()))
