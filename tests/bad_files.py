"""A corpus of files that cannot be used: `python tests/bad_files.py FOLDER` makes it.

Each is a line of the table `CASES`: its name, what Overtile must say of it, and what makes it.
Bombs are real, though made without decoding them: a gigabyte of zeros is one compressed block,
repeated.
"""

from __future__ import annotations

import io
import json
import os
import socket
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image as Pillow

Made = bytes | Callable[[Path], None]
"""The content of a file, or what makes it at a path."""


@dataclass(frozen=True)
class Case:
    """A file that is refused.

    Attributes
    ----------
    name
        Of the file.
    words
        A regular expression that the message matches.
    make
        Makes it, at a path.
    is_usable
        Whether it can be predicted all the same, window by window.
    partner
        A good file that it is checked with.
    """

    name: str
    words: str
    make: Callable[[Path], None]
    is_usable: bool = False
    partner: str = "good.tif"


DAMAGED = r"is damaged|cannot be read|is no Zarr that can be read"
MEMORY = r"GiB of memory that are free"
BEYOND = r"beyond the end of the file|are listed"
GIBIBYTE = 2**30
LARGE_BUT_GOOD = "bomb-of-good-tiles.tif"
PERCENT = (2, 30, 60, 95)
"""Of a file that are left when a copy stops."""

SIDE = 10**6
"""Of images that exist in a header only: a terabyte."""


def cases() -> Iterator[Case]:
    """The table."""
    for found in (
        *(truncated(), wrong(), bombs(), headers(), arrays(), chains(), zarrs(), no_files()),
    ):
        for name, words, made in found:
            yield Case(name, words, partial(put, made), name == LARGE_BUT_GOOD)


def put(made: Made, path: Path) -> None:
    """Make a file at a path."""
    if isinstance(made, bytes):
        path.write_bytes(made)
    else:
        made(path)


Row = tuple[str, str, Made]

# ── whole files, and what is left of them ─────────────────────────────────────────────────────


def noise(*shape: int, kind: str = "uint8") -> np.ndarray:
    """Pixels that do not compress."""
    return np.random.default_rng(0).integers(0, np.iinfo(kind).max, shape, dtype=kind)


def picture(form: str, array: np.ndarray, **options: Any) -> bytes:
    """A file that Pillow writes."""
    file = io.BytesIO()
    Pillow.fromarray(array).save(file, form, **options)
    return file.getvalue()


def tiff(array: np.ndarray, *, ome: bool = False, big: bool = False, **options: Any) -> bytes:
    """A file that tifffile writes: its directory comes first, its pixels last."""
    file = io.BytesIO()
    tifffile.imwrite(file, array, ome=ome, bigtiff=big, photometric="minisblack", **options)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    """A file that numpy writes."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def whole() -> dict[str, bytes]:
    """A good file of each kind, by a name that says which."""
    gray, colour, stack = noise(64, 64), noise(64, 64, 3), noise(3, 64, 64, kind="uint16")
    return {
        "gray.png": picture("PNG", gray),
        "16.png": picture("PNG", noise(64, 64, kind="uint16")),
        "rgb.jpg": picture("JPEG", colour),
        "rgb.bmp": picture("BMP", colour),
        "mask.gif": picture("GIF", gray),
        "strips.tif": tiff(stack),
        "lzw.tif": tiff(gray, compression="lzw", rowsperstrip=16),
        "tiles.tif": tiff(gray, compression="zlib", predictor=True, tile=(32, 32)),
        "pillow.tif": picture("TIFF", colour, compression="tiff_lzw"),  # its directory comes last
        "big.tif": tiff(stack, big=True),
        "stack.ome.tif": tiff(stack, ome=True, metadata={"axes": "ZYX"}),
        "stack.npy": npy(stack),
    }


def truncated() -> Iterator[Row]:
    """What is left when a copy stops."""
    for name, content in whole().items():
        for percent in PERCENT:
            part = content[: max(9, len(content) * percent // 100)]
            yield f"{percent}-percent-{name}", DAMAGED, part


def wrong() -> Iterator[Row]:
    """Files that are not what they are called."""
    good = whole()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("a.txt", "text")
    for suffix in ("tif", "png", "jpg", "bmp", "gif", "npy"):
        yield f"zero-bytes.{suffix}", r"is empty \(0 bytes\)", b""
        yield f"text.{suffix}", "its first bytes are those of no image", b"<html>no</html>"
        yield f"zip.{suffix}", "its first bytes are those of no image", archive.getvalue()
    yield "png.tif", r"named like TIFF but holds PNG: rename it to png\.png", good["gray.png"]
    yield "gif.png", r"named like PNG but holds GIF", good["mask.gif"]
    yield "tiff.npy", r"named like NumPy but holds TIFF", good["strips.tif"]
    yield "zip.zarr", "a Zarr is a folder: if it is an archive, unpack it", archive.getvalue()
    yield "image.xyz", "suffix '.xyz', which is not that of an image", good["gray.png"]
    yield "image.tif.gz", "compressed as a whole", b"\x1f\x8b" + bytes(20)
    name = os.fsdecode(b"caf\xe9.png")
    yield name, DAMAGED, good["gray.png"][:60]


# ── few bytes that claim to be many pixels ────────────────────────────────────────────────────


def zeros(size: int) -> bytes:
    """So many zeros, a multiple of 2^20, as a stream of zlib (RFC 1950)."""
    packer = zlib.compressobj(9, wbits=-15)
    block = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    check = ((size % 65521) << 16) | 1  # Adler-32: every zero adds the first sum, 1, to the second
    return b"\x78\xda" + block * (size // 2**20) + b"\x03\0" + struct.pack(">I", check)


def png_chunk(name: bytes, content: bytes) -> bytes:
    """A chunk, by ISO/IEC 15948."""
    check = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)


def png(width: int, height: int, depth: int, colour: int, content: bytes) -> bytes:
    """A PNG with any header and compressed content."""
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    tail = png_chunk(b"IDAT", content) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + head + tail


def jpeg(width: int, height: int) -> bytes:
    """A JPEG whose frame header says so (ITU T.81, B.2.2)."""
    content = bytearray(whole()["rgb.jpg"])
    place = content.index(b"\xff\xc0")
    content[place + 5 : place + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def bmp(width: int, height: int, depth: int) -> bytes:
    """A BMP whose header says so."""
    content = bytearray(whole()["rgb.bmp"])
    content[18:30] = struct.pack("<iiHH", width, height, 1, depth)
    return bytes(content)


def gif(width: int, height: int) -> bytes:
    """A GIF whose two headers say so."""
    content = bytearray(whole()["mask.gif"])
    content[6:10] = struct.pack("<HH", width, height)
    place = content.index(b",\0\0\0\0")
    content[place + 5 : place + 9] = struct.pack("<HH", width, height)
    return bytes(content)


Tags = dict[int, tuple[str, list[Any]]]


def classic_tiff(tags: Tags, data: bytes = b"", following: int = 0) -> bytes:
    """A TIFF of one page with any directory (TIFF 6.0, section 2); `data` begin at byte 8."""
    start = 8 + len(data) + len(data) % 2
    extra_at, entries, extra = start + 2 + 12 * len(tags) + 4, b"", b""
    for number, (form, values) in sorted(tags.items()):
        content = struct.pack(f"<{len(values)}{form}", *values)
        kind = {"B": 2, "H": 3, "I": 4, "d": 12}[form]
        entries += struct.pack("<HHI", number, kind, len(values))
        if len(content) <= 4:
            entries += content.ljust(4, b"\0")
        else:
            entries += struct.pack("<I", extra_at + len(extra))
            extra += content
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", following)
    return b"II*\0" + struct.pack("<I", start) + data.ljust(start - 8, b"\0") + directory + extra


def tags(
    width: int, height: int, compression: int, sizes: list[int], tile: int = 0, offset: int = 8
) -> Tags:
    """A directory of gray pixels of 8 bits, all of whose segments begin at one place."""
    offsets = [offset] * len(sizes)
    found: Tags = {256: ("I", [width]), 257: ("I", [height]), 258: ("H", [8])}
    found |= {259: ("H", [compression]), 262: ("H", [1]), 277: ("H", [1])}
    if tile:
        return found | {
            322: ("I", [tile]),
            323: ("I", [tile]),
            324: ("I", offsets),
            325: ("I", sizes),
        }
    return found | {273: ("I", offsets), 278: ("I", [height]), 279: ("I", sizes)}


DEFLATE, NONE = 8, 1


def bombs() -> Iterator[Row]:
    """Real ones: their content is all there."""
    rows = 13_000 * (13_000 * 6 + 1)
    rows += -rows % 2**20
    yield "bomb-16.png", MEMORY, png(13_000, 13_000, 16, 2, zeros(rows))
    yield "bomb.png", "more pixels than Pillow opens", png(32_000, 32_000, 8, 0, zeros(GIBIBYTE))
    strip = zeros(GIBIBYTE)
    yield "bomb.tif", MEMORY, classic_tiff(tags(2**15, 2**15, DEFLATE, [len(strip)]), strip)
    page = tags(2**16, 2**16, DEFLATE, [len(strip)] * 4, tile=2**15)
    yield "bomb-tiles.tif", MEMORY, classic_tiff(page, strip)
    small = zeros(2**20)
    page = tags(2**17, 2**17, DEFLATE, [len(small)] * 2**14, tile=2**10)
    yield LARGE_BUT_GOOD, MEMORY, classic_tiff(page, small)


def headers() -> Iterator[Row]:
    """Headers without the pixels."""
    many = f"more pixels than Pillow opens|{DAMAGED}"
    yield "huge.png", many, png(SIDE, SIDE, 8, 0, zeros(2**20))
    yield "huge-16.png", many, png(SIDE, SIDE, 16, 6, zeros(2**20))
    yield "huge.jpg", many, jpeg(65_500, 65_500)
    yield "large.jpg", MEMORY, jpeg(13_000, 13_000)
    yield "huge.bmp", many, bmp(SIDE, SIDE, 24)
    yield "large.bmp", MEMORY, bmp(13_000, 13_000, 24)
    yield "huge.gif", many, gif(65_535, 65_535)
    yield "large.gif", MEMORY, gif(13_000, 13_000)
    for name, page in {
        "raw": tags(SIDE, SIDE, NONE, [1000]),
        "strip": tags(SIDE, SIDE, DEFLATE, [1000], offset=10**6),
        "no-strips": tags(SIDE, SIDE, DEFLATE, []),
        "one-tile": tags(SIDE, SIDE, DEFLATE, [8], tile=1024),
        "zero-wide": tags(0, 0, NONE, [0]),
    }.items():
        yield f"huge-{name}.tif", f"{BEYOND}|{DAMAGED}|no pixels", classic_tiff(page, bytes(1000))
    yield "huge-one-strip.tif", MEMORY, classic_tiff(tags(SIDE, SIDE, DEFLATE, [99]), bytes(99))
    sparse = tags(SIDE, SIDE, DEFLATE, [0] * 245**2, tile=4096)
    yield "huge-sparse.tif", f"{MEMORY}|GB free", classic_tiff(sparse)
    yield "zero-wide.png", DAMAGED, png(0, 0, 8, 0, zeros(2**20))
    yield "zero-wide.jpg", DAMAGED, jpeg(0, 0)
    yield "zero-wide.bmp", DAMAGED, bmp(0, 0, 24)
    yield "zero-wide.gif", DAMAGED, gif(0, 0)


def arrays() -> Iterator[Row]:
    """NumPy files with odd headers."""

    def head(shape: tuple[int, ...], kind: str = "|u1") -> bytes:
        file = io.BytesIO()
        about = {"descr": kind, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, about)
        return file.getvalue()

    yield "huge.npy", "bytes are missing at its end", head((SIDE, SIDE)) + bytes(100)
    yield "overflow.npy", "bytes are missing at its end", head((2**62, 4)) + bytes(100)
    yield "negative.npy", r"shape \(-5, 4\) is negative", head((-5, 4)) + bytes(100)
    yield "no-pixels.npy", r"shape \(0, 5\) and type uint8", head((0, 5)) + bytes(100)
    yield "objects.npy", "type object", head((2, 2), "|O") + bytes(100)
    yield "complex.npy", "type complex128", head((2, 2), "<c16") + bytes(100)
    yield "text-in-header.npy", DAMAGED, b"\x93NUMPY\x01\0\x10\0" + b"(" * 16 + bytes(100)

    def sparse(path: Path) -> None:
        with path.open("wb") as file:
            file.write(head((SIDE, SIDE)))
            file.truncate(file.tell() + SIDE**2)

    yield "huge-sparse.npy", f"{MEMORY}|GB free", sparse
    infinite = np.zeros((64, 64), np.float32)
    infinite[3, 4] = np.inf
    yield "infinite.npy", "infinite|such as inf", npy(infinite)


def chains() -> Iterator[Row]:
    """TIFFs whose pages lead nowhere."""
    page, pixels = tags(8, 8, NONE, [64]), bytes(64)
    circle = "list of pages runs in a circle, back to byte"
    yield "own-follower.tif", circle, classic_tiff(page, pixels, following=8 + 64)
    two = bytearray(classic_tiff(page, pixels))
    second = classic_tiff(page, bytes(len(two)), following=8 + 64)[len(two) + 8 :]
    place = 8 + 64 + 2 + 12 * len(page)
    two[place : place + 4] = struct.pack("<I", len(two))
    yield "circle.tif", circle, bytes(two) + second
    # BigTIFF: one page of one entry (ImageWidth), which is its own follower.
    entry = struct.pack("<HHQQ", 256, 4, 1, 8)
    big = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16) + struct.pack("<Q", 1) + entry
    yield "own-follower-big.tif", circle, big + struct.pack("<Q", 16)
    yield "follower-beyond-the-end.tif", DAMAGED, classic_tiff(page, pixels, following=10**9)
    yield "first-beyond-the-end.tif", DAMAGED, b"II*\0" + struct.pack("<I", 10**9) + bytes(100)
    yield (
        "first-in-the-header.tif",
        "colours of the kind 0",
        b"II*\0" + struct.pack("<I", 4) + bytes(100),
    )
    yield "no-page.tif", "holds 0 kinds of image|damaged", b"II*\0" + bytes(100)
    many = tags(8, 8, NONE, [64] * 2**16)
    yield (
        "many-entries.tif",
        DAMAGED,
        struct.pack("<4sIH", b"II*\0", 8, 65535) + bytes(classic_tiff(many, pixels)[8:]),
    )


def zarrs() -> Iterator[Row]:
    """Folders of Zarr 3 with damaged parts."""
    about: dict[str, Any] = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [64, 64],
        "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [64, 64]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "bytes"}, {"name": "gzip", "configuration": {"level": 5}}],
        "attributes": {},
    }
    packed = zlib.compress(bytes(4096), wbits=31)
    bomb = zlib.compress(bytes(2**26), wbits=31)

    def array(text: str, chunk: bytes = packed) -> Callable[[Path], None]:
        def make(path: Path) -> None:
            (path / "c" / "0").mkdir(parents=True)
            (path / "zarr.json").write_text(text)
            (path / "c" / "0" / "0").write_bytes(chunk)

        return make

    def changed(**what: Any) -> str:
        return json.dumps(about | what)

    def grid(side: int) -> dict[str, Any]:
        return {"name": "regular", "configuration": {"chunk_shape": [side, side]}}

    text = json.dumps(about)
    group = json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {}})
    image = {"version": "0.5", "multiscales": [{"axes": [{"name": "y"}], "datasets": [{}]}]}
    described = json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {"ome": image}})
    no_image = f"{DAMAGED}|which is no file|without the description of an image"
    yield "truncated-chunk.zarr", DAMAGED, array(text, packed[:-20])
    yield "short-chunk.zarr", DAMAGED, array(text, zlib.compress(bytes(99), wbits=31))
    yield "text-in-chunk.zarr", DAMAGED, array(text, b"<html>no</html>")
    yield "long-chunk.zarr", DAMAGED, array(text, bomb)
    yield "no-json.zarr", no_image, array("<html>no</html>")
    yield "empty-json.zarr", no_image, array("")
    yield "half-json.zarr", no_image, array(text[:100])
    yield "list-in-json.zarr", no_image, array("[1, 2, 3]")
    yield "empty-group.zarr", no_image, array(group)
    yield "half-described.zarr", no_image, array(described)
    yield "huge.zarr", f"{MEMORY}|GB free", array(changed(shape=[SIDE, SIDE], chunk_grid=grid(512)))
    yield "huge-chunk.zarr", MEMORY, array(changed(shape=[SIDE, SIDE], chunk_grid=grid(SIDE)))
    yield "negative.zarr", no_image, array(changed(shape=[-5, 5]))
    yield "no-pixels.zarr", f"{no_image}|at least one", array(changed(shape=[0, 5]))
    yield "empty-chunks.zarr", no_image, array(changed(chunk_grid=grid(0)))
    yield "text-in-shape.zarr", no_image, array(changed(shape="wide"))
    yield "strings.zarr", f"{no_image}|expected integers", array(changed(data_type="string"))
    yield "unknown-codec.zarr", no_image, array(changed(codecs=[{"name": "magic"}]))
    yield "no-content.zarr", no_image, lambda path: path.mkdir()

    def with_pipe(path: Path) -> None:
        path.mkdir()
        os.mkfifo(path / "zarr.json")

    yield "pipe-inside.zarr", no_image, with_pipe


# ── names that lead to no file ────────────────────────────────────────────────────────────────


def no_files() -> Iterator[Row]:
    """Pipes, devices, folders, links."""

    def door(path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(path))

    def loop(path: Path) -> None:
        path.symlink_to(path.name)

    def circle(path: Path) -> None:
        path.mkdir()
        (path / "inside").symlink_to("..")
        (path / "a.png").symlink_to("b.png")
        (path / "b.png").symlink_to("a.png")

    def locked(path: Path) -> None:
        path.write_bytes(whole()["gray.png"])
        path.chmod(0)

    nothing = "There is no file or folder|symbolic links|No such file|has the suffix ''"
    for suffix in ("tif", "png", "npy"):
        yield f"pipe.{suffix}", "is a pipe, a socket or a device", os.mkfifo
        yield f"folder.{suffix}", "is a folder|holds no image", lambda path: path.mkdir()
        yield f"loop.{suffix}", nothing, loop
    yield "pipe.zarr", "a Zarr is a folder", os.mkfifo
    yield "socket.png", "is a pipe, a socket or a device", door
    yield "device.png", "is a pipe, a socket or a device", lambda path: path.symlink_to("/dev/zero")
    yield "loop.zarr", nothing, loop
    yield "nowhere.png", nothing, lambda path: path.symlink_to("none.png")
    yield "loops-inside", "holds no image|is a folder|suffix ''|cannot be read", circle
    yield "loop", nothing, loop
    if os.geteuid() != 0:  # nothing is closed to root
        yield "locked.png", "Permission denied", locked
        yield "locked-folder", "Permission denied", lambda path: path.mkdir(0)


CASES = list(cases())


def make(cases: list[Case], folder: Path) -> None:
    """Make the files of a table in a folder. Behind a file, a name may go on inside of it."""
    folder.mkdir(parents=True, exist_ok=True)
    for case in cases:
        case.make(folder / case.name.split("/")[0])


if __name__ == "__main__":
    make(CASES, Path(sys.argv[1]))
