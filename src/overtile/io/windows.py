"""Windows of data: what a key chooses, axes in another order, and a cut into blocks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from overtile.image import AXES, Image, Sliceable

Window: TypeAlias = tuple[slice, ...]
"""For each axis a start and a stop inside it, without a step."""


def resolve(key: Any, shape: tuple[int, ...]) -> tuple[Window, tuple[int | slice, ...]]:
    """The smallest window that holds what a key chooses, and the key inside of that window.

    Parameters
    ----------
    key
        Integers and slices, as numpy understands them, for the first axes or for all.
    shape
        Of the data.

    Raises
    ------
    IndexError
        An integer outside of its axis.

    Examples
    --------
    >>> resolve((-1, slice(2, 9, 3)), (4, 8))
    ((slice(3, 4, None), slice(2, 6, None)), (0, slice(None, None, 3)))
    """
    keys = key if isinstance(key, tuple) else (key,)
    keys += (slice(None),) * (len(shape) - len(keys))
    parts = [_resolve_axis(one, size) for one, size in zip(keys, shape, strict=True)]
    return tuple(window for window, _ in parts), tuple(rest for _, rest in parts)


def _resolve_axis(key: Any, size: int) -> tuple[slice, int | slice]:
    if not isinstance(key, slice):
        place = range(size)[key]
        return slice(place, place + 1), 0
    chosen = range(size)[key]
    if not chosen:
        return slice(0, 0), slice(None)
    ends = sorted((chosen[0], chosen[-1]))
    return slice(ends[0], ends[1] + 1), slice(None, None, chosen.step)


def part_for(
    key: Any, part: Any, shape: tuple[int, ...], kind: np.dtype[Any]
) -> tuple[Window, NDArray[Any]]:
    """The window that a key chooses to be written, and an array of its shape to write there.

    Raises
    ------
    IndexError
        A slice with a step, or an integer outside of its axis.
    """
    window, rest = resolve(key, shape)
    if any(isinstance(one, slice) and one.step not in (None, 1) for one in rest):
        raise IndexError(f"A part is written by slices of step 1, and {key} has another.")
    sizes = size_of(window)
    kept = [size for size, one in zip(sizes, rest, strict=True) if isinstance(one, slice)]
    full = np.ascontiguousarray(np.broadcast_to(part, kept), dtype=kind)
    return window, full.reshape(sizes)


def size_of(window: Window) -> tuple[int, ...]:
    """The shape of a window."""
    return tuple(part.stop - part.start for part in window)


def blocks(shape: tuple[int, ...], block: tuple[int, ...]) -> Iterator[Window]:
    """The windows of at most this size that together are the whole, in C order."""
    axes = [
        [slice(start, min(start + step, size)) for start in range(0, size, step)]
        for size, step in zip(shape, block, strict=True)
    ]
    yield from product(*axes)


def planes_in_order(image: Image, order: str) -> Iterator[NDArray[Any]]:
    """The parts of an image, one for each place along the axes of `order`, the last of it fastest.

    Axes of `order` that the image does not have are passed over; a part keeps the other axes.
    """
    sizes = image.sizes
    leading = [axis for axis in order if axis in sizes]
    for place in np.ndindex(*(sizes[axis] for axis in leading)):
        chosen: dict[str, Any] = dict(zip(leading, place, strict=True))
        yield np.asarray(image.data[tuple(chosen.get(axis, slice(None)) for axis in image.axes)])


class Reordered:
    """Data with its axes brought into the order of the house.

    Parameters
    ----------
    data
        With its axes in any order.
    letters
        Of its axes, in that order.
    """

    def __init__(self, data: Sliceable, letters: str) -> None:
        self.axes = "".join(sorted(letters, key=AXES.index))
        self._data, self._letters = data, letters
        self._order = [letters.index(axis) for axis in self.axes]
        self.shape = tuple(data.shape[place] for place in self._order)
        self.dtype = data.dtype

    def __getitem__(self, key: Any) -> NDArray[Any]:
        window, rest = resolve(key, self.shape)
        by_axis = dict(zip(self.axes, window, strict=True))
        part = np.asarray(self._data[tuple(by_axis[axis] for axis in self._letters)])
        return np.asarray(part.transpose(self._order)[rest])
