"""Statistics of intensities, in one pass and bounded memory, however large the images are."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overtile.image import Sliceable

BLOCK_PX = {2: 1024, 3: 128}
"""Side of what is looked at together, by dimensions ..."""

MOST_VALUES = 2**22
"""... halved until it holds no more values, of all channels: 32 MiB in float64."""

SAMPLE = 2**17
"""Pixels kept where values are not counted. The share of all pixels below what is taken for the
percentile 0.5 is then 0.005 with a standard deviation of sqrt(0.005 * 0.995 / 2^17) = 0.0002."""

COUNTED_BITS = 16
"""Integers up to so many bits are counted, value by value: percentiles are exact."""

COUNTED_CHANNELS = 16
"""... up to so many channels, because the counts of one take 512 KiB."""


def blocks(channels: int, shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Disjoint windows that cover an image of this shape (*space), in a fixed order."""
    side = BLOCK_PX[len(shape)]
    while side > 1 and channels * side ** len(shape) > MOST_VALUES:
        side //= 2
    starts = [range(0, size, side) for size in shape]
    for corner in product(*starts):
        yield tuple(slice(start, start + side) for start in corner)


def known_pixels(
    image: Sliceable, *, leave_zero: bool = False, inside: NDArray[np.bool_] | None = None
) -> Iterator[NDArray[Any]]:
    """The pixels (c n) of an image (c *space) that are not missing, block by block.

    Parameters
    ----------
    image
        Sliced once in each place. Infinite values are left out too: whoever uses the image refuses
        them.
    leave_zero
        Whether pixels that are 0 in all channels are left out as well.
    inside
        Where pixels are taken (*space); by default everywhere.
    """
    channels, *shape = image.shape
    for block in blocks(channels, tuple(shape)):
        part = np.asarray(image[(slice(None), *block)])
        values = part.reshape(len(part), -1) if inside is None else part[:, inside[block]]
        if values.dtype.kind == "f":
            values = values[:, np.isfinite(values).all(axis=0)]
        if leave_zero:
            values = values[:, (values != 0).any(axis=0)]
        yield values


class Moments:
    """Mean and squared deviations per channel of all values that were added.

    They become infinite where float64 does not hold them. They are merged part by part (Chan, Golub
    and LeVeque 1979), which stays exact where a sum of squares over millions of 16-bit pixels would
    cancel.
    """

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.mean: NDArray[np.float64] = np.zeros(channels)
        self.squares: NDArray[np.float64] = np.zeros(channels)

    def add(self, values: NDArray[Any]) -> None:
        """More values (c n)."""
        if not values.shape[1]:
            return
        numbers = values.astype(np.float64)
        part = Moments(len(numbers))
        with np.errstate(over="ignore", invalid="ignore"):
            part.count, part.mean = numbers.shape[1], numbers.mean(axis=1)
            numbers -= part.mean[:, None]
            part.squares = np.square(numbers, out=numbers).sum(axis=1)
        self.merge(part)

    def merge(self, other: Moments) -> None:
        """All that was added to another."""
        total = self.count + other.count
        if not other.count:
            return
        with np.errstate(over="ignore", invalid="ignore"):
            step = other.mean - self.mean
            between = step**2 * (self.count * other.count / total)
            self.squares = self.squares + other.squares + between
            self.mean = self.mean + step * (other.count / total)
        self.count = total

    @property
    def std(self) -> NDArray[np.float64]:
        """The standard deviation per channel; 0 of no values."""
        return np.asarray(np.sqrt(self.squares / max(self.count, 1)))


class Distribution:
    """How often each value occurs in each channel: counted, or by a random sample.

    Integers of few bits are counted. Of others a sample of fixed size is kept, in which every pixel
    is as likely as any other; the same pixels in the same order give the same sample.
    """

    def __init__(self, channels: int) -> None:
        self.channels = channels
        self.counts: dict[np.dtype[Any], NDArray[np.int64]] = {}
        self.random = np.random.default_rng(0)
        self.sampled = 0
        self.keys: NDArray[np.float64] = np.zeros(0)
        self.sample: NDArray[np.float64] = np.zeros((channels, 0))

    def add(self, values: NDArray[Any]) -> None:
        """More values (c n)."""
        kind = values.dtype
        few = kind.kind in "ui" and 8 * kind.itemsize <= COUNTED_BITS
        if few and self.channels <= COUNTED_CHANNELS:
            size = 2 ** (8 * kind.itemsize)
            table = self.counts.setdefault(kind, np.zeros((self.channels, size), np.int64))
            for row, channel in zip(table, values, strict=True):
                row += np.bincount(channel.astype(np.intp) - np.iinfo(kind).min, minlength=size)
            return
        # Each pixel draws a number, and the pixels with the lowest are kept.
        keys = np.asarray(self.random.random(values.shape[1:]))
        self.sampled += len(keys)
        if len(self.keys) == SAMPLE:
            low = keys < self.keys.max()
            keys, values = keys[low], values[:, low]
        self.keys = np.concatenate([self.keys, keys])
        self.sample = np.concatenate([self.sample, values.astype(np.float64)], axis=1)
        if len(self.keys) > SAMPLE:
            kept = np.argpartition(self.keys, SAMPLE)[:SAMPLE]
            self.keys, self.sample = self.keys[kept], self.sample[:, kept]

    @property
    def is_exact(self) -> bool:
        """Whether every pixel that was added counts, rather than a sample of them."""
        return self.sampled <= SAMPLE

    def __len__(self) -> int:
        """The number of pixels that were added."""
        return self.sampled + sum(int(table[0].sum()) for table in self.counts.values())

    def percentile(self, percent: float) -> NDArray[np.float64]:
        """Of each channel the lowest value that so many percent do not exceed; of some pixels."""
        found = []
        for channel in range(self.channels):
            values, weights = self._points(channel)
            below = np.cumsum(weights)
            # The slack keeps a share that rounding lifted above a whole count from the next value.
            place = np.searchsorted(below, percent / 100 * below[-1] * (1 - 1e-12))
            found.append(values[place])
        return np.array(found)

    def clipped(self, clip: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and deviation per channel of values clipped to (low, high) of each (c 2)."""
        means, stds = np.zeros(self.channels), np.zeros(self.channels)
        for channel, (low, high) in enumerate(clip.tolist()):
            values, weights = self._points(channel)
            inside = np.clip(values, low, high)
            means[channel] = mean = np.average(inside, weights=weights)
            stds[channel] = np.sqrt(np.average((inside - mean) ** 2, weights=weights))
        return means, stds

    def _points(self, channel: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The different values of a channel in order, and how many pixels each stands for."""
        values, weights = [self.sample[channel]], []
        weights.append(np.full(len(self.keys), self.sampled / max(len(self.keys), 1)))
        for kind, table in self.counts.items():
            present = np.flatnonzero(table[channel])
            values.append((present + np.iinfo(kind).min).astype(np.float64))
            weights.append(table[channel, present].astype(np.float64))
        together, much = np.concatenate(values), np.concatenate(weights)
        order = np.argsort(together, kind="stable")
        return together[order], much[order]
