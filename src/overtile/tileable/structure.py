"""What a network's shapes tell: its grid, which sizes fit, and what has a size of its own.

Nothing is computed: all runs are on the meta device.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import torch
from torch import nn

from overtile.errors import ModelError
from overtile.geometry import Field, Fields, per_axis
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
    space
        A small image that it takes, in pixels along each axis: the smallest of its own fields, or
        else the smallest with equal sides.

    Raises
    ------
    ModelError
        It takes no image of up to `LARGEST_PX`.
    """

    def __init__(self, network: nn.Module, channels: int, dimensions: int) -> None:
        self.channels = channels
        self.dimensions = dimensions
        self.probe = Probe(network, torch.device("meta"))
        self.space = self._smallest(own_fields(network, dimensions))

    def out(self, space: Sequence[int]) -> Shape:
        """The output's size along its spatial axes; RuntimeError and the like where none."""
        return tuple(self.probe(self.probe.image(self.channels, space)).shape[2:])

    def sizes(self) -> Fields:
        """Fields with the network's padding and grids, and what the output loses as their margins.

        Same padding loses nothing at multiples of the grid; with valid padding a size leaves what
        is lost on each side as remainder, or another one (see `overtile.geometry.Field`).

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
        fits = [self._fit(growth.axis, growth.grid) for growth in grown]
        padding: Literal["valid", "same"] = "valid" if any(lost for lost, _ in fits) else "same"
        return tuple(
            Field(padding, growth.grid, *fit) for growth, fit in zip(grown, fits, strict=True)
        )

    def thin(self, fields: Fields) -> Shape:
        """The smallest image of sizes that fit these fields, or `space` raised to such sizes."""
        smallest = tuple(field.smallest for field in fields)
        if self._grows(smallest):
            return smallest
        along = zip(self.space, fields, strict=True)
        return tuple(field.good_size(size) for size, field in along)

    def _fit(self, axis: int, grid: int) -> tuple[int, int | None]:
        """What the output loses on each side along an axis, for sizes that fit; their remainder.

        Where a pooling leaves pixels out, more is lost: sizes that fit lose least.
        """
        space, least, fits = list(self.space), self.space[axis], []
        for size in range(least, least + 2 * grid):
            space[axis] = size
            out = self._try(space)
            lost = -1 if isinstance(out, Exception) else size - out[axis]
            if lost >= 0 and lost % 2 == 0:
                usual = (size - lost // 2) % grid == 0
                if usual and lost == 0:
                    return 0, None  # nothing can be better, and a deep network takes a while
                if usual or lost:
                    fits.append((lost // 2, not usual, None if usual else size % grid))
        if not fits:
            raise ModelError(
                f"For images of {per_axis(self.space)} px the output has {self._try(self.space)} "
                f"px: expected as many along axis {axis} where the size is a multiple of {grid}, "
                "or an even number of pixels less. Pad every convolution by half its kernel, or "
                "crop the output."
            )
        margin, _, remainder = min(fits, key=lambda fit: fit[:2])
        return margin, remainder

    def grow(self) -> list[Growth]:
        """How every operation's shapes grow with the image along each axis."""
        grown = []
        for axis in range(self.dimensions):
            # Both are large: a tensor of one pixel may take another way through the network.
            smaller, larger = (list(self.space) for _ in range(2))
            smaller[axis] += GROWTH_PX
            larger[axis] += 2 * GROWTH_PX
            grown.append(Growth(axis, *self._record(smaller), *self._record(larger)))
        return grown

    def _smallest(self, own: Fields | None) -> Shape:
        """A small image that can also grow; else the smallest, of a network that allows one.

        A few pixels may fit by accident, since one pixel is broadcast against many.
        """
        if own and self._grows(tuple(field.smallest for field in own)):
            return tuple(field.smallest for field in own)
        smallest: Shape = ()
        error: Exception | str = "the output is empty"
        for size in range(1, LARGEST_PX + 1):
            space = (size,) * self.dimensions
            out = self._try(space)
            if isinstance(out, Exception):
                error = out
            elif min(out) > 0:
                smallest = smallest or space
                if self._grows(space):
                    return space
        if smallest:
            return smallest
        raise ModelError(
            f"The network takes no image of {self.channels} channels and {self.dimensions} spatial "
            f"axes of up to {LARGEST_PX} px, all alike. It says: {error}. If no equal sides fit "
            "it, give it an attribute 'fields' that says which do."
        )

    def _grows(self, space: Shape) -> bool:
        """Whether the network takes an image, and larger ones along each axis."""
        larger = [
            [size + GROWTH_PX * (axis == long) for axis, size in enumerate(space)]
            for long in range(self.dimensions)
        ]
        outs = [self._try(image) for image in (space, *larger)]
        return not any(isinstance(out, Exception) or 0 in out for out in outs)

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


def own_fields(network: nn.Module, dimensions: int) -> Fields | None:
    """What a network says of itself, ``network.fields``: one for each axis; else None."""
    own = getattr(network, "fields", None)
    given = isinstance(own, tuple) and [isinstance(field, Field) for field in own]
    return own if given == [True] * dimensions else None


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
