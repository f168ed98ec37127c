"""What a network sees: its margins, from how far a NaN spreads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from overtile.errors import ModelError
from overtile.geometry import Field, Fields
from overtile.tileable.layers import find
from overtile.tileable.probe import Probe, Spread, device_of
from overtile.tileable.structure import Structure

FARTHEST_PX = 2048
"""How far a network may see: far beyond what networks for segmentation do."""


@dataclass(frozen=True)
class Reach:
    """How far one output pixel sees, which depends on where it lies on the grid.

    Attributes
    ----------
    least_px, most_px
        To either side along any axis: the least and the most among all pixels.
    """

    least_px: int
    most_px: int


def measure_fields(network: nn.Module, channels: int, dimensions: int = 2) -> Fields:
    """A network's fields, measured along each axis.

    The grid is the least common multiple of the strides. The margin is how far a NaN spreads, at
    every phase of the grid, to both sides: the largest.

    Parameters
    ----------
    network
        From (b c *space) to (b k *out); measured in evaluation, as prediction runs it.
    channels, dimensions
        Of its images.

    Raises
    ------
    ModelError
        A layer mixes all of space, the output is not at the image's resolution, or the network
        loses or sees what no `Field` can say.

    Examples
    --------
    >>> for field in measure_fields(nn.Conv2d(1, 1, (3, 5), padding=(1, 2)), channels=1):
    ...     print(field)
    Field(padding='same', grid=1, margin=1)
    Field(padding='same', grid=1, margin=2)
    """
    structure = Structure(network, channels, dimensions)
    found = find(network, structure)
    if found:
        raise ModelError(
            "No margin makes tiles exact: " + " ".join(f"{breaker}." for breaker in found)
        )
    return measure(network, structure)[0]


def measure(network: nn.Module, structure: Structure) -> tuple[Fields, Reach]:
    """The fields and the reach of a network without breakers, whose shapes are known."""
    sizes = structure.sizes()
    probe = Probe(network, device_of(network))
    gaps_px = max(growth.gaps_px for growth in structure.grow())
    seen = [_Seen(probe, structure, sizes, gaps_px, axis) for axis in range(len(sizes))]
    fields = tuple(_field(lost, found) for lost, found in zip(sizes, seen, strict=True))
    sides = [side for found in seen for side in (*found.ahead, *found.behind)]
    return fields, Reach(min(sides), max(sides))


def _field(sizes: Field, seen: _Seen) -> Field:
    ahead, behind = seen.ahead[0], seen.behind[-1]
    margin = sizes.margin if sizes.padding == "valid" else max(ahead, behind)
    field = replace(sizes, margin=margin)
    if ahead > field.lead or behind > field.trail:
        raise ModelError(
            f"Along axis {seen.axis} the output lacks {margin} px on each side, but its pixels see "
            f"{max(ahead, behind)}: some layers pad and some do not. Pad every layer by half its "
            "kernel, along every axis, or none, or crop the output to the pixels that see no "
            "padding."
        )
    return field


class _Seen:
    """How far the output pixels of one cell of the grid see along an axis.

    Let first(q) be the first output pixel that is NaN where the image is NaN from q on. It never
    falls, and first(q + grid) = first(q) + grid; so the pixel o sees up to the largest q with
    first(q) <= o, which one period of first tells. Half-planes of NaN are used since what a single
    pixel reaches may have holes. The same holds for the other side.

    Attributes
    ----------
    ahead, behind
        For each phase of the grid, in pixels.
    """

    def __init__(
        self, probe: Probe, structure: Structure, fields: Fields, gaps_px: int, axis: int
    ) -> None:
        self.probe = probe
        self.axis = axis
        sizes = fields[axis]
        self.lost = sizes.margin if sizes.padding == "valid" else 0
        self.space = list(structure.thin(fields))
        self.channels = structure.channels
        grid, start = sizes.grid, self._grow(sizes, gaps_px)
        first, last = _period(self.first, start, grid), _period(self.last, start, grid)
        cell = range(start, start + grid)
        upto = [max(q + (o - first[q]) // grid * grid for q in cell) for o in cell]
        since = [min(q + (o - last[q]) // grid * grid + grid - 1 for q in cell) for o in cell]
        self.behind = [max(q - o, 0) for o, q in zip(cell, upto, strict=True)]
        self.ahead = [max(o - q, 0) for o, q in zip(cell, since, strict=True)]

    def first(self, pixel: int) -> int:
        """The first output pixel that depends on any from `pixel` on; where the output ends."""
        reached = self._reached(slice(pixel, None))
        return int(reached[0]) if len(reached) else self.space[self.axis] - self.lost

    def last(self, pixel: int) -> int:
        """One more than the last output pixel that depends on any ahead of `pixel`."""
        reached = self._reached(slice(None, pixel))
        return int(reached[-1]) + 1 if len(reached) else self.lost

    def _grow(self, sizes: Field, gaps_px: int) -> int:
        """Where the middle cell begins, in an image so long that it reaches neither end."""
        half = max(4 * sizes.grid, 64, gaps_px, self.space[self.axis] // 2)
        while True:
            size = self.space[self.axis] = sizes.good_size(2 * (half + self.lost))
            self.clean = self.probe.image(self.channels, self.space)
            start = size // 2 // sizes.grid * sizes.grid
            last = self.last(start + sizes.grid)
            if self.first(start) > self.lost and last < size - self.lost:
                return start
            if half > FARTHEST_PX:
                raise ModelError(
                    f"The network sees more than {FARTHEST_PX} px, or all, along axis {self.axis}: "
                    "expected less, since a tile would read that much on every side. Use layers "
                    "that see a fixed number of pixels."
                )
            half *= 2

    def _reached(self, pixels: slice) -> Tensor:
        image = self.clean.clone()
        image.movedim(2 + self.axis, 0)[pixels] = torch.nan
        with Spread():  # type: ignore[no-untyped-call]
            spots = self.probe(image).isnan()
        return spots.movedim(2 + self.axis, 0).flatten(1).any(dim=1).nonzero().ravel() + self.lost


def _period(step: Callable[[int], int], start: int, grid: int) -> dict[int, int]:
    """A staircase at `start` and the `grid` pixels from there, by halves wherever it rises."""
    known = {start: step(start)}
    known[start + grid] = known[start] + grid

    def fill(low: int, high: int) -> None:
        if known[low] == known[high]:
            known.update(dict.fromkeys(range(low, high), known[low]))
        elif high - low > 1:
            middle = (low + high) // 2
            known[middle] = step(middle)
            fill(low, middle)
            fill(middle, high)

    fill(start, start + grid)
    return known
