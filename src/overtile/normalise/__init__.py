"""Intensities: how they become what a network takes, by the data set and never by the tile.

A statistic of the tile would make the result depend on how the image was cut. Most schemes have
statistics of all training images, which travel with the model and are applied to every image alike.
Where intensities have no common unit (MR), each image has its own, measured over the whole of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from overtile.image import Sliceable
from overtile.normalise.statistics import Moments, known_pixels

__all__ = ["Normalisation", "Scheme", "Stacked"]

Scheme = Literal["mean-std", "percentiles", "window", "per-image"]

MODERATE = 1e-30, 1e30
"""Between these, scales and their products with intensities stay far from the ends of float32."""


@dataclass(frozen=True)
class Normalisation:
    """Maps intensities to about mean 0 and standard deviation 1.

    Attributes
    ----------
    mean, std
        One value per channel, in the units of the images; none of ``per-image``.
    source
        What they are of: the training images, or those that an encoder was trained on before.
    scheme
        ``mean-std``: mean and standard deviation over the training set. ``percentiles``: the same,
        after intensities were clipped to percentiles of it. ``window``: clipped to a fixed window,
        which is then scaled as if every intensity in it were equally frequent. ``per-image``: mean
        and standard deviation of each plane, or of each volume for a network of volumes.
    clip
        (low, high) of each channel, to which intensities are clipped first; none: they are not.
    zero_is_background
        Of ``per-image``: whether pixels that are 0 in all channels are left out of the statistics,
        because images lie in a frame of zeros, such as a head whose skull was stripped.
    reason
        A sentence that says what is done, and why.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: Literal["images", "pretraining"] = "images"
    scheme: Scheme = "mean-std"
    clip: tuple[tuple[float, float], ...] = ()
    zero_is_background: bool = False
    reason: str = ""

    def of(self, image: Sliceable) -> Normalisation:
        """What normalises any part of this image (c *space), which is one plane or one volume.

        Of ``per-image`` the whole image is read once, block by block, so that the result is the
        same to the bit however it is cut afterwards; a channel without any contrast is only
        shifted. Of any other scheme it is the normalisation itself.
        """
        if self.scheme != "per-image":
            return self
        moments = Moments(image.shape[0])
        for values in known_pixels(image, leave_zero=self.zero_is_background):
            moments.add(values)
        std = np.where(moments.std > 0, moments.std, 1)
        mean = tuple(moments.mean.tolist())
        return replace(self, mean=mean, std=tuple(std.tolist()), scheme="mean-std")

    def __call__(
        self, image: NDArray[Any], missing: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """The image (c *space) in float32, normalised; where it is missing (*space), 0.

        A value whose result would be beyond float32 becomes infinite.
        """
        assert self.mean, "of() says what normalises the image"
        shape = (-1,) + (1,) * (image.ndim - 1)
        # What float32 holds exactly or by itself is computed in float32, all else in float64.
        kind = np.result_type(image.dtype, np.float32)
        least, most = MODERATE
        if min(self.std) < least or max(*self.std, *np.abs(self.mean)) > most:
            kind = np.result_type(kind, np.float64)
        values = image.astype(kind)
        if self.clip:
            low, high = np.asarray(self.clip, kind).T
            np.clip(values, low.reshape(shape), high.reshape(shape), out=values)
        with np.errstate(over="ignore"):
            values -= np.asarray(self.mean, kind).reshape(shape)
            values *= (1 / np.asarray(self.std, kind)).reshape(shape)
            result = values.astype(np.float32, copy=False)
        if missing is not None:
            result[:, missing] = 0
        return result


@dataclass(frozen=True)
class Stacked:
    """Several normalisations of one image, whose results lie one behind another.

    Attributes
    ----------
    each
        In this order along the channels.
    """

    each: tuple[Normalisation, ...]

    def of(self, image: Sliceable) -> Stacked:
        """What normalises any part of this image (c *space); see `Normalisation.of`."""
        bound = tuple(one.of(image) for one in self.each)
        return self if bound == self.each else Stacked(bound)

    def __call__(
        self, image: NDArray[Any], missing: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """The image (c *space) as each of them has it (n*c *space); where it is missing, 0."""
        return np.concatenate([one(image, missing) for one in self.each])
