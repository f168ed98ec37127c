"""A corpus of bad containers: `python tests/bad_containers.py FOLDER` makes it.

The table is that of `bad_files`, with HDF5, .npz and the labels of an OME-Zarr.
"""

from __future__ import annotations

import io
import json
import os
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from bad_files import (
    DAMAGED,
    GIBIBYTE,
    MEMORY,
    PERCENT,
    SIDE,
    Case,
    Row,
    make,
    noise,
    npy,
    put,
    zeros,
)

from overtile.image import Image
from overtile.io import write

VOLUME = noise(6, 40, 48, kind="uint16")


def hdf5(array: np.ndarray, **how: Any) -> bytes:
    """A file with one data set, 'raw'."""
    file = io.BytesIO()
    with h5py.File(file, "w") as opened:
        opened.create_dataset("raw", data=array, **how)
    return file.getvalue()


def npz(*, packed: bool = False, **arrays: np.ndarray) -> bytes:
    """A file that numpy writes."""
    file = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(file, **arrays)
    return file.getvalue()


def whole() -> dict[str, bytes]:
    """A good file of each kind, by a name that says which."""
    return {
        "raw.h5": hdf5(VOLUME),
        "chunks.h5": hdf5(VOLUME, chunks=(2, 20, 24), compression="gzip", shuffle=True),
        "raw.npz": npz(raw=VOLUME),
        "packed.npz": npz(packed=True, raw=VOLUME),
    }


def truncated() -> Iterator[Row]:
    """What is left when a copy stops."""
    for name, content in whole().items():
        for percent in PERCENT:
            part = content[: max(9, len(content) * percent // 100)]
            yield f"{percent}-percent-{name}", DAMAGED, part


def wrong() -> Iterator[Row]:
    """Files that are not what they are called."""
    for suffix in ("h5", "npz"):
        yield f"zero-bytes.{suffix}", r"is empty \(0 bytes\)", b""
        yield f"text.{suffix}", "its first bytes are those of no image", b"<html>no</html>"
    yield "numbers.h5", "named like HDF5 but holds NumPy", npy(VOLUME)


def in_hdf5(fill: Callable[[Any, Path], None]) -> Callable[[Path], None]:
    """A file of HDF5 that is filled by a function."""

    def make(path: Path) -> None:
        with h5py.File(path, "w") as opened:
            fill(opened, path)

    return make


def data_set(shape: tuple[int, ...], **how: Any) -> Callable[[Path], None]:
    """A file with one that nothing is written into."""
    return in_hdf5(lambda opened, _: opened.create_dataset("raw", shape, **{"dtype": "u1"} | how))


def hdf5s() -> Iterator[Row]:
    """Data sets that are too large, or no image."""
    square = (SIDE, SIDE)
    yield "huge.h5", f"{MEMORY}|GB free", data_set(square, dtype="u1", chunks=(512, 512))
    how = {"dtype": "u1", "chunks": (60_000, 60_000), "compression": "gzip"}
    yield "huge-chunks.h5", MEMORY, data_set(square, **how)

    def bomb(opened: Any, _: Path) -> None:
        side = 2**15
        made = opened.create_dataset("raw", (side, side), "u1", chunks=(side, side), compression=1)
        made.id.write_direct_chunk((0, 0), zeros(GIBIBYTE))

    def packed(opened: Any, _: Path) -> None:
        how = {"chunks": (40, 48), "compression": 32015, "allow_unknown_filter": True}
        made = opened.create_dataset("raw", (40, 48), "u1", **how)
        made.id.write_direct_chunk((0, 0), b"zstd")

    yield "bomb.h5", MEMORY, in_hdf5(bomb)
    yield "unknown-filter.h5", DAMAGED, in_hdf5(packed)
    yield "nothing.h5", "holds no image", in_hdf5(lambda *_: None)
    yield "line.h5", "holds no image", data_set((9,))
    yield "no-pixels.h5", "holds no image", data_set((0, 48))
    yield "table.h5", "holds no image", data_set((4, 4), dtype=[("a", "u1"), ("b", "f4")])
    yield "words.h5", "holds no image", data_set((4, 4), dtype=h5py.string_dtype())
    yield "six-axes.h5", "does not say which", data_set((2, 3, 4, 5, 6, 7))

    def two(opened: Any, _: Path) -> None:
        opened["a"], opened["b"] = VOLUME, VOLUME

    def inside_itself(opened: Any, _: Path) -> None:
        opened.create_group("a")["b"] = opened["/"]

    yield "two.h5", "holds several arrays", in_hdf5(two)
    yield "inside-itself.h5", "holds no image", in_hdf5(inside_itself)


def links() -> Iterator[Row]:
    """HDF5 that leads elsewhere."""
    back, here = "lead back to", "which is not a file here"

    def soft(opened: Any, _: Path) -> None:
        opened["raw"], opened["other"] = h5py.SoftLink("/other"), h5py.SoftLink("/raw")

    def link(target: str) -> Callable[[Path], None]:
        def fill(opened: Any, path: Path) -> None:
            if target == "pipe" and not (path.parent / "pipe").exists():
                os.mkfifo(path.parent / "pipe")
            opened["raw"] = h5py.ExternalLink(target, "/raw")

        return in_hdf5(fill)

    def bytes_of(target: str) -> Callable[[Path], None]:
        return data_set((40, 48), dtype="u1", external=[(target, 0, 1920)])

    def virtual(target: str) -> Callable[[Path], None]:
        def fill(opened: Any, _: Path) -> None:
            layout = h5py.VirtualLayout((40, 48), "u1")
            layout[...] = h5py.VirtualSource(target, "/raw", (40, 48))
            opened.create_virtual_dataset("raw", layout)

        return in_hdf5(fill)

    yield "soft-links.h5/raw", back, in_hdf5(soft)
    yield "link-to-itself.h5/raw", back, link("link-to-itself.h5")
    yield "link-to-nothing.h5/raw", here, link("gone.h5")
    yield "link-to-a-pipe.h5/raw", here, link("pipe")
    yield "bytes-of-a-device.h5", here, bytes_of("/dev/zero")
    yield "bytes-of-nothing.h5", here, bytes_of("gone.bin")
    yield "virtual-of-itself.h5", back, virtual(".")
    yield "virtual-of-nothing.h5", here, virtual("gone.h5")
    yield "virtual-of-a-device.h5", here, virtual("/dev/zero")
    yield "no-such-place.h5/a/b", "has no array 'a/b'", hdf5(VOLUME)


def zip_of_zeros(start: bytes, size: int) -> bytes:
    """A zip (APPNOTE of PKWARE) of one array: its start, and zeros."""
    packer = zlib.compressobj(9, wbits=-15)
    content = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH) + zeros(size)[2:-4]
    sizes = struct.pack("<III", 0, len(content), len(start) + size)
    name, common = b"raw.npy", struct.pack("<HHHHH", 20, 0, 8, 0, 33)
    first = b"PK\x03\x04" + common + sizes + struct.pack("<HH", len(name), 0) + name + content
    listed = b"PK\x01\x02" + struct.pack("<H", 20) + common + sizes
    listed += struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, 0) + name
    return (
        first
        + listed
        + b"PK\x05\x06"
        + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(listed), len(first), 0)
    )


def archives() -> Iterator[Row]:
    """Zips of arrays."""

    def member(content: bytes, how: int = zipfile.ZIP_DEFLATED, name: str = "raw.npy") -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", how) as zipped:
            zipped.writestr(name, content)
        return file.getvalue()

    def head(shape: tuple[int, ...], kind: str = "|u1") -> bytes:
        file = io.BytesIO()
        about = {"descr": kind, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, about)
        return file.getvalue()

    def stored(content: bytes) -> bytes:
        return member(content, zipfile.ZIP_STORED)

    yield "huge.npz", DAMAGED, stored(head((SIDE, SIDE)))
    yield "huge-packed.npz", DAMAGED, member(head((SIDE, SIDE)))
    yield "negative.npz", DAMAGED, stored(head((-5, 40)))
    yield "no-pixels.npz", "holds no image", stored(head((0, 40)))
    yield "objects.npz", "holds no image", stored(head((2, 2), "|O") + bytes(100))
    yield "no-arrays.npz", "holds no image", member(b"text", name="a.txt")
    yield "empty-member.npz", DAMAGED, member(b"")
    long = b"\x93NUMPY\x02\0" + struct.pack("<I", GIBIBYTE)
    yield "long-header.npz", DAMAGED, zip_of_zeros(long, GIBIBYTE)
    yield "bomb.npz", MEMORY, zip_of_zeros(head((2**15, 2**15)), GIBIBYTE)
    lying = bytearray(stored(head((40, 48)) + bytes(1920)))
    for size in (22, 24):
        at = lying.rindex(b"PK\x01\x02") + size
        lying[at : at + 2] = b"\xff\x7f"
    yield "lying.npz", f"{DAMAGED}|holds no image", bytes(lying)
    secret = bytearray(member(head((40, 48)) + bytes(1920)))
    secret[6] |= 1
    secret[secret.rindex(b"PK\x01\x02") + 8] |= 1
    yield "secret.npz", DAMAGED, bytes(secret)


def labels() -> Iterator[Row]:
    """OME-Zarr whose labels are not as it says; only the image is in order."""

    def group(attributes: dict[str, Any]) -> str:
        about = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": attributes}}
        return json.dumps(about)

    def made(file: str, text: str) -> Callable[[Path], None]:
        def make(path: Path) -> None:
            image = Image(noise(40, 48), "yx")
            write(path, image)
            write(path / "labels" / "cells", image, content="objects")
            (path / file).write_text(text)

        return make

    no_image = "without the description of an image|no Zarr that can be read"
    cells, inside = "labels/cells/zarr.json", "/labels/cells"
    levels = {"axes": [{"name": "y"}, {"name": "x"}], "datasets": [{"path": "gone"}]}
    yield f"empty-label.zarr{inside}", no_image, made(cells, "")
    yield f"no-levels.zarr{inside}", no_image, made(cells, group({"multiscales": []}))
    yield f"numbers.zarr{inside}", no_image, made(cells, group({"multiscales": [1]}))
    yield f"no-array.zarr{inside}", no_image, made(cells, group({"multiscales": [levels]}))
    axes = levels | {"axes": [[], []]}
    yield f"odd-axes.zarr{inside}", no_image, made(cells, group({"multiscales": [axes]}))
    yield f"no-group.zarr{inside}", no_image, made(cells, json.dumps({"zarr_format": 3}))
    chunk = "labels/cells/0/c/0/0"
    yield f"damaged-label.zarr{inside}", DAMAGED, made(chunk, "<html>no</html>")
    yield "all-labels.zarr/labels", "is the group of the labels", made("x", "")
    odd = group({"labels": "cells"})
    yield "odd-labels.zarr/labels", no_image, made("labels/zarr.json", odd)


FLAT = {"huge.h5", "unknown-filter.h5"}
"""Of one plane, which is found to be bad when it is read: so its partner has one as well."""


def cases() -> Iterator[Case]:
    """The table."""
    tables = (truncated(), wrong(), hdf5s(), links(), archives(), labels())
    for name, words, made in (row for table in tables for row in table):
        partner = "plane.tif" if name in FLAT or ".zarr" in name else "volume.nii"
        yield Case(name, words, partial(put, made), partner=partner)


CASES = list(cases())


if __name__ == "__main__":
    make(CASES, Path(sys.argv[1]))
