"""What a network's shapes tell: its grid, which sizes fit, and what has a size of its own.

Nothing is computed: all runs are on the meta device.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import nn

from overtile.errors import ModelError
from overtile.geometry import Field
from overtile.tileable.probe import Call, Probe, Recorder, Shape

LARGEST_PX = 1024
"""No network is asked to need more: the paper's needs 188 px, one level deeper with 5x5 752 px."""

GROWTH_PX = 2**8 * 3**2 * 5 * 7
"""How much larger the second image is: a multiple of every usual stride, so that each tensor of
stride s is exactly GROWTH_PX / s larger."""


class Structure:
    """A network's shapes for images of any size.

    Parameters
    ----------
    network
        Any module from (b c *space) to (b k *out).
    channels, dimensions
        Of its images.

    Attributes
    ----------
    size
        The smallest side, in pixels, of a square or cubic image that it takes.

    Raises
    ------
    ModelError
        It takes no image of up to `LARGEST_PX`.
    """

    def __init__(self, network: nn.Module, channels: int, dimensions: int) -> None:
        self.channels = channels
        self.dimensions = dimensions
        self.probe = Probe(network, torch.device("meta"))
        self.size = self._smallest()

    def out(self, space: Sequence[int]) -> Shape:
        """The output's size along its spatial axes; RuntimeError and the like where none."""
        return tuple(self.probe(self.probe.image(self.channels, space)).shape[2:])

    def sizes(self) -> Field:
        """A field with the network's padding and grid, and what the output loses as its margin.

        Same padding loses nothing at multiples of the grid; with valid padding a size leaves what
        is lost on each side as remainder (see `overtile.geometry.Field`).

        Raises
        ------
        ModelError
            There is no such size, or the output is not at the image's resolution.
        """
        grown = self.grow()
        for growth in grown:
            if growth.scale != 1:
                raise ModelError(
                    f"The output has {growth.scale} pixels along axis {growth.axis} for each pixel "
                    "of the image: expected one. Bring it to the image's resolution."
                )
        grid = math.lcm(*[growth.grid for growth in grown])
        fits = []
        for size in range(self.size, self.size + 2 * grid):
            out = self._try((size,) * self.dimensions)
            if not isinstance(out, Exception) and len(set(out)) == 1:
                lost = size - out[0]
                if lost >= 0 and lost % 2 == 0 and (size - lost // 2) % grid == 0:
                    fits.append(lost // 2)
        if not fits:
            out = self._try((self.size,) * self.dimensions)
            raise ModelError(
                f"For images of {self.size} px along every axis the output has {out} px: expected "
                f"as many where the size is a multiple of {grid}, or 2 m px less where it is m "
                f"more than a multiple of {grid}. Pad every convolution by half its kernel, or "
                "crop the output."
            )
        return Field("valid" if min(fits) else "same", grid, min(fits))

    def grow(self) -> list[Growth]:
        """How every operation's shapes grow with the image along each axis."""
        grown = []
        for axis in range(self.dimensions):
            # Both are large: a tensor of one pixel may take another way through the network.
            smaller, larger = ([self.size] * self.dimensions for _ in range(2))
            smaller[axis] += GROWTH_PX
            larger[axis] += 2 * GROWTH_PX
            grown.append(Growth(axis, *self._record(smaller), *self._record(larger)))
        return grown

    def _smallest(self) -> int:
        """The smallest side that can also grow; else the smallest, of a network that allows one.

        A few pixels may fit by accident, since one pixel is broadcast against many.
        """
        smallest = 0
        error: Exception | str = "the output is empty"
        for size in range(1, LARGEST_PX + 1):
            space = [size] * self.dimensions
            out = self._try(space)
            if isinstance(out, Exception):
                error = out
            elif min(out) > 0:
                smallest = smallest or size
                space[0] += GROWTH_PX
                if not isinstance(self._try(space), Exception):
                    return size
        if smallest:
            return smallest
        raise ModelError(
            f"The network takes no image of {self.channels} channels and {self.dimensions} spatial "
            f"axes of up to {LARGEST_PX} px. It says: {error}."
        )

    def _try(self, space: Sequence[int]) -> Shape | Exception:
        try:
            return self.out(space)
        except ModelError:
            raise
        except Exception as error:  # whatever the network raises for a size that does not fit
            return error

    def _record(self, space: Sequence[int]) -> tuple[list[Call], Shape]:
        with Recorder(self.probe) as recorder:
            out = self.out(space)
        return recorder.calls, out


@dataclass(frozen=True)
class Growth:
    """The operations of a run, and of one on an image `GROWTH_PX` larger along an axis."""

    axis: int
    calls: list[Call]
    out: Shape
    larger: list[Call]
    larger_out: Shape

    @property
    def grid(self) -> int:
        """The least common multiple of all strides.

        A tensor that grows by GROWTH_PX n / d has a stride of d / n pixels (n pixels of it in every
        d pixels of the image), so it meets the image at the same phase every d pixels.
        """
        grid = 1
        for call, larger in self._pairs():
            for before, after in zip(call.outputs, larger.outputs, strict=True):
                grid = math.lcm(grid, *[s.numerator for s in _strides(before, after)])
        return grid

    @property
    def gaps_px(self) -> int:
        """How far all dilated kernels together reach: so far, what is seen may have holes."""
        gaps = Fraction(0)
        for call, larger in self._pairs():
            if any(call.span):
                strides = _strides(call.inputs[0], larger.inputs[0])
                gaps += max(call.span) * max(strides, default=Fraction(0))
        return math.ceil(gaps)

    def swallowing(self) -> list[Call]:
        """Operations that are given more, and give no more for it."""
        return [
            call
            for call, larger in self._pairs()
            if call.inputs != larger.inputs and call.outputs == larger.outputs and not call.is_view
        ]

    def _pairs(self) -> Iterator[tuple[Call, Call]]:
        """The same operation in both runs."""
        for call, larger in zip(self.calls, self.larger, strict=False):
            if (call.layer, call.operation) == (larger.layer, larger.operation):
                yield call, larger

    @property
    def scale(self) -> Fraction:
        """Pixels of the output along the axis for one of the image."""
        return Fraction(self.larger_out[self.axis] - self.out[self.axis], GROWTH_PX)


def _strides(before: Shape, after: Shape) -> list[Fraction]:
    """Of each axis that grows: how many pixels of the image it has a pixel for."""
    pairs = zip(before, after, strict=False)
    return [Fraction(GROWTH_PX, large - small) for small, large in pairs if large > small]
