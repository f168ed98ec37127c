"""Several files that are one image or one label: its channels, its objects, its classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overtile import io
from overtile.errors import DataError
from overtile.image import AXES, Image


@dataclass(frozen=True)
class Channels:
    """One image whose channels are files: modalities, dates, bands.

    Attributes
    ----------
    paths
        In the order of the channels; a file may hold several.
    names
        One for each channel, or none.
    """

    paths: tuple[Path, ...]
    names: tuple[str, ...] = ()

    def open(self, as_label: bool) -> Image:
        """The image (c *space), read by window as far as its files are.

        Raises
        ------
        FormatError
            A file cannot be read.
        DataError
            Files of different sizes or axes.
        """
        parts = [io.open(path, as_label=as_label) for path in self.paths]
        sizes = [_sizes(part) for part in parts]
        _check_same(self.paths, sizes)
        data = _Stacked(parts)
        names = self.names if len(self.names) == data.shape[data.axes.index("c")] else ()
        return replace(
            parts[0],
            data=data,
            axes=data.axes,
            by_window=all(part.by_window for part in parts),
            channel_names=names,
            palette=(),
        )


@dataclass(frozen=True)
class Bands:
    """One image whose channels are the pages of a file.

    Attributes
    ----------
    path
        Of the file.
    """

    path: Path

    @property
    def paths(self) -> tuple[Path, ...]:
        """The file alone."""
        return (self.path,)

    def open(self, as_label: bool) -> Image:
        """The image (c y x). Raises as `overtile.io.open`."""
        return as_bands(io.open(self.path, as_label=as_label))


def as_bands(image: Image) -> Image:
    """A stack (z y x) or film (t y x) as the channels of one plane; others as they are."""
    if image.axes not in ("zyx", "tyx"):
        return image
    spacing = None if image.spacing is None else image.spacing[-2:]
    return replace(image, axes="cyx", spacing=spacing)


class _Stacked:
    """The channels of several images one after the other, read where they are sliced."""

    def __init__(self, parts: list[Image]) -> None:
        self._parts = parts
        self.axes = "".join(axis for axis in AXES if axis in parts[0].axes + "c")
        self._channels = [
            (number, channel)
            for number, part in enumerate(parts)
            for channel in range(part.sizes.get("c", 1))
        ]
        sizes = _sizes(parts[0]) | {"c": len(self._channels)}
        self.shape = tuple(sizes[axis] for axis in self.axes)
        self.dtype = np.result_type(*[part.data.dtype for part in parts])

    def __getitem__(self, key: Any, /) -> NDArray[Any]:
        keys = key if isinstance(key, tuple) else (key,)
        chosen = dict(zip(self.axes, keys, strict=False))
        channels = chosen.get("c", slice(None))
        if not isinstance(channels, slice):
            return self._channel(self._channels[channels], chosen)
        read = [self._channel(place, chosen) for place in self._channels[channels]]
        before = self.axes[: self.axes.index("c")]
        at = sum(isinstance(chosen.get(axis, slice(None)), slice) for axis in before)
        return np.stack(read, at)

    def _channel(self, place: tuple[int, int], chosen: dict[str, Any]) -> NDArray[Any]:
        part, channel = self._parts[place[0]], place[1]
        own = chosen | {"c": channel}
        key = tuple(own.get(axis, slice(None)) for axis in part.axes)
        return np.asarray(part.data[key]).astype(self.dtype, copy=False)


@dataclass(frozen=True)
class Objects:
    """One label with an id for each of several files, which show one object each.

    Where objects overlap, as by a pixel where they touch, the smaller one is on top: so none is
    hidden by another, and of two that touch the smaller one, to which a pixel means more, keeps it.

    Attributes
    ----------
    paths
        At least one; the n-th has the id n. Pixels that are not 0 belong to the object.
    """

    paths: tuple[Path, ...]

    def open(self, as_label: bool) -> Image:
        """The label (*space) int32, its files read where it is sliced.

        Raises
        ------
        FormatError
            A file cannot be read.
        DataError
            Files of different sizes.
        """
        first = io.open(self.paths[0], as_label=as_label)
        return _computed(first, "", np.dtype(np.int32), self._read)

    def _read(self) -> NDArray[Any]:
        areas = [np.inf]  # of background: any object lies on top of it
        ids: Any = None
        for number, mask in enumerate(_masks(self.paths), start=1):
            ids = np.zeros(mask.shape, np.int32) if ids is None else ids
            inside = np.flatnonzero(mask)
            areas.append(inside.size)
            above = np.array(areas)[ids.flat[inside]] > areas[-1]
            ids.flat[inside[above]] = number
        return np.asarray(ids)


@dataclass(frozen=True)
class ClassMasks:
    """One label with a channel for each class, which may overlap.

    Attributes
    ----------
    paths
        A file for each class, whose pixels that are not 0 belong to it; None where the image has
        nothing of the class.
    names
        Of the classes.
    """

    paths: tuple[Path | None, ...]
    names: tuple[str, ...]

    def open(self, as_label: bool) -> Image:
        """The label (c *space) uint8 of 0 and 1, its files read where it is sliced.

        Raises
        ------
        FormatError
            A file cannot be read.
        DataError
            Files of different sizes.
        """
        first = io.open(self._there[0], as_label=as_label)
        image = _computed(first, "c", np.dtype(np.uint8), self._read, len(self.names))
        return replace(image, channel_names=self.names)

    @property
    def _there(self) -> tuple[Path, ...]:
        return tuple(path for path in self.paths if path is not None)

    def _read(self) -> NDArray[Any]:
        there = _masks(self._there)
        read = [None if path is None else next(there) for path in self.paths]
        empty = next(np.zeros_like(mask) for mask in read if mask is not None)
        return np.stack([empty if mask is None else mask for mask in read]).astype(np.uint8)


class _Computed:
    """An array that is made anew from its files whenever it is sliced."""

    def __init__(
        self, shape: tuple[int, ...], dtype: np.dtype[Any], make: Callable[[], NDArray[Any]]
    ) -> None:
        self.shape, self.dtype, self._make = shape, dtype, make

    def __getitem__(self, key: Any, /) -> NDArray[Any]:
        return np.asarray(self._make()[key])


def _computed(
    first: Image,
    front: str,
    dtype: np.dtype[Any],
    make: Callable[[], NDArray[Any]],
    channels: int = 0,
) -> Image:
    """An image of the spatial axes of the first file, with an axis of channels in front."""
    sizes = _sizes(first)
    space = "".join(sizes)
    shape = (channels,) * bool(front) + tuple(sizes.values())
    axes = front + space
    data = _Computed(shape, dtype, make)
    return replace(first, data=data, axes=axes, by_window=False, palette=(), channel_names=())


def _masks(paths: tuple[Path, ...]) -> Iterator[NDArray[np.bool_]]:
    """Where each file is not 0, in any of its channels; one after the other, to spare memory."""
    first = None
    for path in paths:
        image = io.open(path, as_label=True)
        first = _sizes(image) if first is None else first
        _check_same((paths[0], path), [first, _sizes(image)])
        pixels = np.asarray(image.data[(slice(None),) * len(image.axes)]) != 0
        at = image.axes.find("c")
        yield pixels if at < 0 else pixels.any(axis=at)


def _sizes(image: Image) -> dict[str, int]:
    """The sizes of all axes but the channels."""
    return {axis: size for axis, size in image.sizes.items() if axis != "c"}


def _check_same(paths: tuple[Path, ...], sizes: list[dict[str, int]]) -> None:
    for path, own in zip(paths, sizes, strict=True):
        if own != sizes[0]:
            first, this = (" x ".join(map(str, size.values())) for size in (sizes[0], own))
            raise DataError(
                f"{path} has {this} pixels and {paths[0].name} {first}: expected equal sizes, "
                "because both belong to one image. Resample one of them."
            )
