"""Exact flips and quarter turns of images, with their inverses: only indices change, no value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from numpy.typing import NDArray

from overtile.geometry import Fields
from overtile.settings import AugmentSettings


@dataclass(frozen=True)
class Turn:
    """Some axes flipped, then perhaps y and x exchanged: any flip or quarter turn of an image.

    Attributes
    ----------
    flipped
        Whether each spatial axis is, (z) y x.
    exchanged
        Whether y and x, the last two axes, change places.
    """

    flipped: tuple[bool, ...]
    exchanged: bool = False

    @property
    def is_identity(self) -> bool:
        """Whether nothing is changed."""
        return not (self.exchanged or any(self.flipped))

    def mixes(self, directed: str) -> bool:
        """Whether it takes an end of one of these axes, such as "y", to another place."""
        axes = "zyx"[-len(self.flipped) :]
        flipped = any(
            flip for axis, flip in zip(axes, self.flipped, strict=True) if axis in directed
        )
        return flipped or (self.exchanged and ("y" in directed or "x" in directed))

    def __call__(self, array: NDArray[Any]) -> NDArray[Any]:
        """An array (... *space), turned; a view of it."""
        return self._exchange(self._flip(array))

    def back(self, array: NDArray[Any]) -> NDArray[Any]:
        """What was turned (... *space), as it was before; a view of it."""
        return self._flip(self._exchange(array))

    def _flip(self, array: NDArray[Any]) -> NDArray[Any]:
        key: list[Any] = [slice(None, None, -1 if flip else None) for flip in self.flipped]
        return array[(..., *key)]

    def _exchange(self, array: NDArray[Any]) -> NDArray[Any]:
        return array.swapaxes(-1, -2) if self.exchanged else array


def turns(
    dimensions: int,
    *,
    flips: bool = True,
    rotations: bool = True,
    exchange: bool = True,
    directed: str = "",
) -> tuple[Turn, ...]:
    """All turns of an image that are different, the identity first.

    Parameters
    ----------
    dimensions
        2, or 3 for volumes, which are turned in the plane y-x only.
    flips
        Whether axes may be mirrored: without it only what a turn of the image gives is left.
    rotations
        Whether the image may be turned by 90, 180 and 270 degrees. With flips alone it still is
        by 180, which is the flip of y and x.
    exchange
        Whether y and x may change places: without it a turn is by 180 degrees.
    directed
        Axes, such as "y", whose ends keep their places.

    Returns
    -------
    tuple of Turn
        In 2-D 8 with flips and rotations, 4 with one of them; in 3-D 16, 8 with flips, 4 with
        rotations; 1 with none. They are a group: one after another is one of them.

    Examples
    --------
    >>> len(turns(2)), len(turns(3)), len(turns(3, flips=False)), len(turns(2, exchange=False))
    (8, 16, 4, 4)
    """
    made = (
        Turn(flipped, exchanged)
        for exchanged in (False, True)
        for flipped in product((False, True), repeat=dimensions)
    )
    return tuple(
        turn
        for turn in made
        if (flips or _is_rotation(turn)) and ((rotations and exchange) or not turn.exchanged)
        if (flips or rotations or turn.is_identity) and not turn.mixes(directed)
    )


def shown_turns(fields: Fields, shown: Sequence[AugmentSettings]) -> tuple[Turn, ...]:
    """The turns that training showed all of these networks, the identity first.

    Parameters
    ----------
    fields
        Of the networks. Where y and x differ they do not change places: one would not meet the
        poolings and the margin of the other.
    shown
        How the windows of each network were changed.
    """
    *_, y, x = fields
    return turns(
        len(fields),
        flips=all(each.flip for each in shown),
        rotations=all(each.rotate for each in shown),
        exchange=y == x,
        directed="".join(each.directed for each in shown),
    )


def _is_rotation(turn: Turn) -> bool:
    """Whether it turns the plane y-x without mirroring anything.

    A flip and an exchange of two axes each mirror; two of them together turn.
    """
    *deep, y, x = turn.flipped
    return not any(deep) and (y + x + turn.exchanged) % 2 == 0
