"""Datasets of HDF5, through h5py, read by window.

What a dataset is, is told by what programs write beside it: the names of its axes by the dimension
scales of HDF5 (attribute DIMENSION_LABELS) or by ilastik and vigra (axistags), the size of a voxel
by PlantSeg, elf and the HDF5 plugin of Fiji (element_size_um, in the order z y x).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overtile.errors import DataError, FormatError, OvertileError, optional
from overtile.image import AXES, Image, axes_by_shape, pixel_type
from overtile.io.hdf5links import check_way
from overtile.io.limits import check_memory
from overtile.io.members import choose, parts_of
from overtile.io.segments import LARGE_BYTES
from overtile.io.spacing import UNKNOWN, Spacing, in_one_unit
from overtile.io.windows import Reordered, resolve

SUFFIXES = (".h5", ".hdf5")


def member_hdf5(path: Path, as_label: bool) -> Path:
    """The path of the dataset that is read of a file, "cells.h5/raw"; raises as `open_hdf5`."""
    file, inside = parts_of(path, SUFFIXES)
    h5py = optional("h5py", "hdf5")
    with _reading(file) as opened:
        arrays = {}

        def note(name: str, node: Any) -> None:
            plain = isinstance(name, str)  # bytes where it is not UTF-8
            if plain and isinstance(node, h5py.Dataset) and node.shape is not None:
                arrays[name] = (node.shape, node.dtype)

        check_way(file, inside)
        opened.visititems(note)
        if inside and isinstance(opened.get(inside), h5py.Dataset):
            note(inside, opened[inside])  # also by a name that is a link, which is not visited
    return file / choose(file, inside, arrays, as_label)


def open_hdf5(path: Path, as_label: bool) -> Image:
    """A dataset of a file, named behind it ("cells.h5/raw") where there are several.

    Raises
    ------
    FormatError
        The file is damaged, holds no image, or several without one being named, or the axes of the
        dataset are unclear.
    MissingError
        h5py is not installed.
    """
    path = member_hdf5(path, as_label)
    file, inside = parts_of(path, SUFFIXES)
    with _reading(file) as opened:
        check_way(file, inside)
        dataset = opened[inside]
        data = Hdf5Array(file, inside, dataset.shape, dataset.dtype)
        chunk = dataset.chunks or (1,)
        part = math.prod(chunk) * dataset.dtype.itemsize
        if part > LARGE_BYTES:
            remedy = "write it again with smaller chunks, which are read one by one."
            check_memory(path, chunk, dataset.dtype.itemsize, remedy)
        letters = _named_axes(dataset)
        size = np.ravel(dataset.attrs.get("element_size_um", ()))
    try:
        letters = letters or axes_by_shape(data.shape)
    except DataError as error:
        raise FormatError(
            f"{path}: {error} Or name them in the file: dataset.dims[0].label = 'c' in h5py."
        ) from error
    ordered = Reordered(data, letters)
    return Image(ordered, ordered.axes, *_spacing(size, letters), by_window=part <= LARGE_BYTES)


class Hdf5Array:
    """A dataset that is read by slicing; the file is open only meanwhile.

    Attributes
    ----------
    shape, dtype
        Of the dataset. Truth values become 0 and 1.
    """

    def __init__(
        self, file: Path, inside: str, shape: tuple[int, ...], kind: np.dtype[Any]
    ) -> None:
        self._file, self._inside = file, inside
        self.shape = shape
        self.dtype = pixel_type(kind)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        window, rest = resolve(key, self.shape)
        with _reading(self._file) as opened:
            part = opened[self._inside][window]
        return np.asarray(part, self.dtype)[rest]


@contextmanager
def _reading(file: Path) -> Iterator[Any]:
    """A file opened; whatever the library stops with becomes our error."""
    h5py = optional("h5py", "hdf5")
    try:
        with h5py.File(file, "r") as opened:
            yield opened
    except OvertileError:
        raise
    except Exception as error:
        raise FormatError(
            f"{file} cannot be read: HDF5 stopped with '{error}'. Copy or export it again, and "
            "close what may be writing it."
        ) from error


def _named_axes(dataset: Any) -> str:
    """The letters that a dataset gives to its axes; empty where it does not, or not of ours."""
    letters = "".join(dimension.label for dimension in dataset.dims).lower()
    if "axistags" in dataset.attrs:
        try:
            tags = json.loads(dataset.attrs["axistags"])["axes"]
            letters = "".join(tag["key"] for tag in tags).lower()
        except (ValueError, KeyError, TypeError):
            pass  # what is no description does not keep an image from being read
    plain = len(letters) == len(dataset.shape) == len(set(letters)) and set(letters) <= set(AXES)
    return letters if plain and {"y", "x"} <= set(letters) else ""


def _spacing(size: NDArray[Any], letters: str) -> Spacing:
    """The sizes along those of z y x that there are; planes may state that of z as well."""
    spatial = [axis for axis in "zyx" if axis in letters]
    if size.dtype.kind not in "uif" or not len(spatial) <= size.size <= 3:
        return UNKNOWN
    return in_one_unit([(float(one), "micrometer") for one in size[-len(spatial) :]])
