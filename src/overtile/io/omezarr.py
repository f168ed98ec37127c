"""OME-Zarr: images in folders of compressed chunks, read and written chunk by chunk.

Read are images of OME-NGFF 0.4 (Zarr 2) and 0.5 (Zarr 3), at their full resolution, and plain
arrays. Written is 0.5. A chunk that is missing is full of zeros, so that a new image takes no room.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overtile.errors import DataError, FormatError, optional
from overtile.image import AXES, Image, Sliceable, axes_by_shape, pixel_type
from overtile.io.limits import check_memory
from overtile.io.ngff import describe, spacing_of, transformations
from overtile.io.output import Manner, check_label, writing
from overtile.io.place import Url, home_of
from overtile.io.pyramid import Reduced, count_levels, is_averaged
from overtile.io.segments import LARGE_BYTES
from overtile.io.windows import Reordered, Window, blocks, part_for, resolve
from overtile.io.zarrlabels import (
    about,
    channel_names,
    describe_channels,
    describe_label,
    listed,
    write_about,
)
from overtile.io.zarrnode import open_node, unreachable

PLANE_PX, VOLUME_PX = 512, 128
"""Largest side of a chunk of planes and of volumes: 256 thousand and 2 million pixels, which a
viewer loads in one go."""

SMALLEST_CHUNK_PX = 64
"""A block without a divisor between this and the largest side is not cut on towards tiny chunks."""

MOST_FILES = 10_000
"""Chunks beyond this number are put together into one file a block (shards): file systems and
copying are slow with many small files."""


def open_zarr(path: Path, as_label: bool) -> Image:
    """The full resolution of an OME-Zarr, or a plain array whose shape names its axes.

    Raises
    ------
    FormatError
        The folder holds no image that we understand, or its metadata are damaged.
    MissingError
        Zarr is not installed.
    """
    node = open_node(path)
    if not hasattr(node, "members"):
        data = ZarrArray(path, node)
        try:
            letters = axes_by_shape(data.shape)
        except DataError as error:
            raise FormatError(f"{path}: {error}") from error
        ordered = Reordered(data, letters)
        return Image(ordered, ordered.axes, by_window=data.by_window)
    attributes = about(node)
    if "multiscales" not in attributes and _is_numbered(path, node, attributes):
        return open_zarr(path / "0", as_label)
    if inside := listed(attributes):
        raise FormatError(
            f"{path} is the group of the labels of an image: name one of them, such as "
            f"{path / inside[0]}."
        )
    try:
        described = attributes["multiscales"][0]
        letters = "".join(axis["name"].lower() for axis in described["axes"])
        first = described["datasets"][0]
        data = ZarrArray(path / first["path"], open_node(path / first["path"]))
        spacing = spacing_of(described, first)
        known = len(letters) == len(data.shape) and set(letters) <= set(AXES)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise FormatError(
            f"{path} is a Zarr without the description of an image (multiscales of OME-Zarr 0.4 "
            f"or 0.5): found {_names(node.keys)[:5]} and {sorted(attributes)}. Expected one "
            "image, or a folder 0 with one: move the image that is meant to a folder of its own in "
            ".zarr."
        ) from error
    if not known or len(set(letters)) < len(letters) or not {"y", "x"} <= set(letters):
        raise FormatError(
            f"{path} has the axes '{letters}' for an array of shape {data.shape}: expected those "
            f"of '{AXES}' that there are, with y and x."
        )
    ordered = Reordered(data, letters)
    names = channel_names(attributes, dict(zip(letters, data.shape, strict=True)).get("c", 0))
    return Image(ordered, ordered.axes, *spacing, by_window=data.by_window, channel_names=names)


def _is_numbered(path: Path, node: Any, attributes: dict[str, Any]) -> bool:
    """Whether there is one image in a folder 0, as bioformats2raw writes them."""
    if isinstance(path, Url):  # a web server does not say what a folder holds
        return "bioformats2raw.layout" in attributes and "1" not in node
    return {*_names(node.group_keys)} - {"OME"} == {"0"}


def create_zarr(path: Path, like: Image, block: tuple[int, ...], manner: Manner) -> ZarrArray:
    """A new OME-Zarr of the axes, shape, type and spacing of an image, without chunks yet.

    Of version 0.5; among the labels of an image, of the version of that.

    Parameters
    ----------
    path
        Of a folder that does not exist.
    like
        The image.
    block
        Size along each axis of what is written at a time; no two blocks share a file.
    manner
        Says whether it is a label, what its classes are called, and their colours.

    Raises
    ------
    FormatError
        Among the labels of an image, anything else than class ids or object ids.
    """
    check_label(path, manner.content)
    home = home_of(path)
    zarr = optional("zarr", "zarr")
    version = 3 if home is None else open_node(home).metadata.zarr_format
    described = describe(path, like) | ({"version": "0.4"} if version == 2 else {})
    described = {"multiscales": [described], **describe_label(path, manner, version)}
    with writing(path):
        group = zarr.create_group(path, zarr_format=version)
        array = _create_level(group, 0, like.data, like.axes, block)
        write_about(group, described | describe_channels(like, manner))
    return ZarrArray(path / "0", array)


def reopen_zarr(path: Path) -> ZarrArray:
    """The image that `create_zarr` made, to be written on; raises as `open_zarr`."""
    return ZarrArray(path / "0", open_node(path / "0", "r+"))


def finish_zarr(path: Path) -> None:
    """Add smaller copies, each half of the one before in y and x, until one fits a screen.

    Integers are taken, floats averaged: see `overtile.io.pyramid`. An average lies between the
    pixels that it is of, which the translation of its level states.
    """
    group = open_node(path, "r+")
    described = about(group)["multiscales"][0]
    axes = "".join(axis["name"] for axis in described["axes"])
    source: Sliceable = ZarrArray(path / "0", group["0"])
    scale = described["datasets"][0]["coordinateTransformations"][0]["scale"]
    described["datasets"][1:] = []
    for level in range(1, count_levels(source.shape) + 1):
        reduced = Reduced(source, 2)
        block = tuple(4 * PLANE_PX if axis in "yx" else 1 for axis in axes)
        with writing(path):
            store = ZarrArray(path / str(level), _create_level(group, level, reduced, axes, block))
            for window in blocks(reduced.shape, block):
                store[window] = reduced[window]
        described["datasets"].append(
            {
                "path": str(level),
                "coordinateTransformations": transformations(
                    axes, scale, 2**level, is_averaged(source.dtype)
                ),
            }
        )
        source = store
    described["type"] = "mean" if is_averaged(source.dtype) else "nearest"
    with writing(path):
        write_about(group, {"multiscales": [described]})


class ZarrArray:
    """An array of Zarr that is read and written by slicing.

    Several threads and processes may write at once, as long as they write different files: parts
    that begin and end on multiples of the block that it was created for do.

    Attributes
    ----------
    shape, dtype
        Of the array. Truth values become 0 and 1.
    by_window
        Whether no chunk is so large that windows are not read cheaply.
    """

    def __init__(self, path: Path, array: Any) -> None:
        self._path, self._array = path, array
        self._written: set[Path] = set()
        self.shape: tuple[int, ...] = tuple(array.shape)
        kind = np.dtype(array.dtype)
        self.by_window = math.prod(array.chunks) * kind.itemsize <= LARGE_BYTES
        self.dtype = pixel_type(kind)
        if self.dtype.kind not in "uif" or 0 in self.shape:
            raise FormatError(
                f"{path} holds an array of shape {self.shape} and type {kind}: expected integers, "
                "floats or truth values, and at least one."
            )
        if not self.by_window:
            remedy = "write it again with smaller chunks, which are read one by one."
            check_memory(path, tuple(array.chunks), self.dtype.itemsize, remedy)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        window, rest = resolve(key, self.shape)
        try:
            part = self._array[window]
        except Exception as error:
            if isinstance(self._path, Url):
                raise unreachable(self._path, error) from error
            place = ", ".join(f"{one.start}:{one.stop}" for one in window)
            raise FormatError(
                f"{self._path} is damaged at [{place}]: its decoder stopped with '{error}'. Copy "
                "or export it again."
            ) from error
        return np.asarray(part, self.dtype)[rest]

    def __setitem__(self, key: Any, part: Any) -> None:
        window, array = part_for(key, part, self.shape, self.dtype)
        with writing(self._path):
            self._array[window] = array
        self._written.update(self._files(window))

    def sync(self) -> None:
        """Return when all that this object has written is on the disk."""
        written = set()
        while self._written:  # another thread may be adding to it
            written.add(self._written.pop())
        files = {file for file in written if file.exists()}  # zeros leave no file
        folders = {folder for file in files for folder in file.parents}
        inside = {folder for folder in folders if folder.is_relative_to(self._path)}
        with writing(self._path):
            for one in [*files, *inside]:
                number = os.open(one, os.O_RDONLY)
                try:
                    os.fsync(number)
                finally:
                    os.close(number)

    def _files(self, window: Window) -> list[Path]:
        """The files that a window touches."""
        steps = self._array.shards or self._array.chunks
        touched = [
            range(part.start // step, -(-part.stop // step))
            for part, step in zip(window, steps, strict=True)
        ]
        name = self._array.metadata.encode_chunk_key
        return [self._path / name(place) for place in product(*touched)]


def _names(list_names: Callable[[], Iterable[str]]) -> list[str]:
    """What is in a group, in order; Zarr warns of files that are none of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sorted(list_names())


def _create_level(
    group: Any, level: int, data: Sliceable, axes: str, block: tuple[int, ...]
) -> Any:
    """A new array for one level, in place of one that is there."""
    kind, version = np.dtype(data.dtype), group.metadata.zarr_format
    chunks = chunks_for(data.shape, axes, block)
    count = math.prod(-(-size // chunk) for size, chunk in zip(data.shape, chunks, strict=True))
    shards = tuple(
        -(-min(step, size) // chunk) * chunk
        for size, step, chunk in zip(data.shape, block, chunks, strict=True)
    )
    return group.create_array(
        str(level),
        shape=tuple(data.shape),
        dtype=pixel_type(kind),
        chunks=chunks,
        shards=shards if count > MOST_FILES and version == 3 else None,
        dimension_names=list(axes) if version == 3 else None,
        # OME-Zarr 0.4 asks for chunks in folders.
        chunk_key_encoding={"name": "v2", "separator": "/"} if version == 2 else None,
        fill_value=0,
        overwrite=True,
    )


def chunks_for(shape: tuple[int, ...], axes: str, block: tuple[int, ...]) -> tuple[int, ...]:
    """Sizes of chunks: of one time and channel, divisors of the block where it ends in the image.

    Examples
    --------
    >>> chunks_for((3, 5000, 5000), "cyx", (3, 1024, 976))
    (1, 512, 488)
    """
    sizes = dict(zip(axes, zip(shape, block, strict=True), strict=True))
    flat = min(sizes.get("z", (1, 1))) == 1
    most = PLANE_PX if flat else VOLUME_PX
    return tuple(_chunk(*sizes[axis], most) if axis in "zyx" else 1 for axis in axes)


def _chunk(size: int, block: int, most: int) -> int:
    if block >= size:  # no second block begins inside the image
        return min(size, most)
    fitting = [part for part in range(1, block + 1) if block % part == 0]
    best = max(part for part in fitting if part <= most)
    if best >= min(SMALLEST_CHUNK_PX, block):
        return best
    return next(part for part in fitting if part > most)
