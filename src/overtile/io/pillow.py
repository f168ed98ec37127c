"""PNG, JPEG, BMP and GIF, through Pillow, and through libpng where Pillow would lose bits.

All of them are decoded whole, so a picture is refused before that where it is too large for the
memory, or for Pillow, which decodes no more than 179 megapixels.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, ImageOps, PngImagePlugin
from PIL import Image as Pillow

from overtile.errors import FormatError
from overtile.image import Image
from overtile.io.damage import decoding
from overtile.io.limits import check_memory
from overtile.io.output import Manner

GRAY = 0
"""A colour type in the header of a PNG (ISO/IEC 15948, table 11.1)."""

MODES = ("1", "L", "LA", "P", "RGB", "RGBA")
"""The kinds of pixels, as Pillow calls them, that are intensities or colours."""

UNNAMED = (128, 128, 128)
"""The colour of values that a legend does not name, such as that of missing pixels."""


def open_png(path: Path, as_label: bool) -> Image:
    """A PNG, read whole: (y x), or (c y x) for RGB.

    Alpha is left out, transparent or not: a pixel has the colour that lies under it; but a label in
    a single colour, drawn on nothing, is its alpha. Palette images
    give their colours; for a label they give the indices, and the image has the palette. 1-bit
    images give 0 and 255, as most programs that write them mean it. Gray values of 2 and 4 bits are
    spread over 0 to 255 as the standard asks, but given as they are for a label. Of an animation
    (APNG) the picture that other programs show is read.

    Raises
    ------
    FormatError
        The file is damaged or truncated, or too large to be decoded.
    """
    with path.open("rb") as file:
        depth, colour_type = file.read(26)[24:].ljust(2, b"\0")  # a truncated one fails below
    if depth == 16:
        return _as_planes(_decode_16_bit(path))
    picture = _decode(path, "PNG")
    if picture.mode == "P":
        return _with_palette(picture, as_label)
    pixels = _pixels(picture)
    if as_label and colour_type == GRAY and depth in (2, 4):
        pixels = pixels // (255 // (2**depth - 1))
    if as_label and picture.mode in ("LA", "RGBA") and not np.ptp(pixels, axis=(0, 1)).any():
        alpha = np.asarray(picture)[..., -1]
        pixels = alpha if np.ptp(alpha) else pixels
    return _as_planes(pixels)


def open_jpeg(path: Path, as_label: bool) -> Image:  # noqa: ARG001 - one contract for all formats
    """A JPEG, read whole: (y x), or (c y x) for RGB; turned as its Exif orientation says.

    CMYK is refused, since what colours it means is a matter of its printer. Of several pictures in
    one file (MPO: stereo pairs, previews) the first is read. Raises as `open_png`.
    """
    return _as_planes(_pixels(_decode(path, "JPEG", "MPO")))


def open_bmp(path: Path, as_label: bool) -> Image:
    """A BMP, read whole: (y x), or (c y x) for RGB.

    Palettes are as in a PNG, but one of grays alone is how BMP stores gray: then the values are
    the grays, whatever their indices, for images and for labels. 1-bit images give 0 and 255 where
    they are black and white. Raises as `open_png`.
    """
    return _gray_or_indexed(_decode(path, "BMP"), as_label)


def open_gif(path: Path, as_label: bool) -> Image:
    """A GIF of one picture, read whole, as `open_bmp` reads a BMP.

    So a mask in black and white gives 0 and 255, whichever of the two its palette names first. An
    animation is refused.
    """
    return _gray_or_indexed(_decode(path, "GIF"), as_label)


def write_png(path: Path, image: Image, manner: Manner) -> None:
    """One plane of uint8 or uint16, or an RGB one of uint8.

    With a legend, a palette PNG: values of uint8 stay what they are and are shown in its colours;
    the text "Classes" tells their names.

    Raises
    ------
    FormatError
        Any other image.
    """
    array = np.asarray(image.data[()])
    rgb = image.axes == "cyx" and len(array) == 3 and array.dtype == np.uint8
    if not rgb and (image.axes != "yx" or array.dtype not in (np.uint8, np.uint16)):
        raise FormatError(
            f"A PNG cannot hold '{image.axes}' of shape {array.shape} and type {array.dtype}: "
            "expected one plane of uint8 or uint16, or 3 channels of uint8. A .tif holds it."
        )
    picture = Pillow.fromarray(np.ascontiguousarray(np.moveaxis(array, 0, -1) if rgb else array))
    text = PngImagePlugin.PngInfo()
    if manner.legend is not None:
        # Pillow writes as many bits as the palette needs: values beyond it would be cut.
        colours = [tuple(c) for c in manner.legend.colours]
        colours += [UNNAMED] * (int(array.max()) + 1 - len(colours))
        picture.putpalette(bytes(np.array(colours, np.uint8).reshape(-1)))
        text.add_itxt("Classes", manner.legend.described)
    picture.save(path, "PNG", pnginfo=text)


def _decode(path: Path, *kinds: str) -> Pillow.Image:
    """The picture, decoded; turned as its Exif orientation says."""
    with _opened(path, 1, *kinds) as opened:
        opened.load()
        if opened.getexif().get(ExifTags.Base.Orientation, 1) == 1:
            return opened
        return ImageOps.exif_transpose(opened)


def _decode_16_bit(path: Path) -> NDArray[np.uint16]:
    """Pixels (y x) or (y x 3); Pillow would cut colours of 16 bits down to 8."""
    with _opened(path, 2, "PNG"):
        return _without_alpha(imagecodecs.png_decode(path.read_bytes()))


@contextmanager
def _opened(path: Path, itemsize: int, *kinds: str) -> Iterator[Pillow.Image]:
    """A picture of which only the header is read; what fails while it is decoded is our error."""
    with decoding(path), warnings.catch_warnings():
        # Large images are our trade: Pillow warns from 89 and refuses from 179 megapixels on.
        # Odd metadata cost no image.
        warnings.simplefilter("ignore")
        try:
            with Pillow.open(path, formats=kinds) as picture:
                _check_header(path, picture, itemsize)
                yield picture
        except Pillow.DecompressionBombError as error:
            raise FormatError(
                f"{path} claims to have more pixels than Pillow opens: {error} If it is meant, "
                "convert it to TIFF."
            ) from error


def _check_header(path: Path, picture: Pillow.Image, itemsize: int) -> None:
    """Refuse what is no single image of ours, or too large."""
    if picture.mode not in MODES and itemsize == 1:
        raise FormatError(
            f"{path} has colours of the kind {picture.mode}, which Overtile does not read: "
            "expected gray, RGB or a palette. Convert it to RGB."
        )
    if picture.format == "GIF" and getattr(picture, "is_animated", False):
        raise FormatError(
            f"{path} is an animation of several pictures: expected one. Write them to a TIFF "
            "stack, or to a file each."
        )
    bands = 3 if picture.mode == "P" else len(picture.getbands())
    shape = (picture.height, picture.width, bands)
    check_memory(path, shape, itemsize, "convert it to a tiled TIFF, which is read by window.")


def _pixels(picture: Pillow.Image) -> NDArray[np.uint8]:
    """Pixels (y x) or (y x 3) of a picture without a palette, 8 bits."""
    pixels = np.asarray(picture)
    if picture.mode == "1":
        return pixels.astype(np.uint8) * np.uint8(255)
    return _without_alpha(pixels)


def _with_palette(picture: Pillow.Image, as_label: bool) -> Image:
    """The colours of a picture with a palette, or for a label its indices."""
    indices = np.asarray(picture)
    table = _table(picture)
    if not as_label:
        return _as_planes(table[indices])
    palette = tuple((int(red), int(green), int(blue)) for red, green, blue in table)
    return Image(indices, "yx", by_window=False, palette=palette)


def _gray_or_indexed(picture: Pillow.Image, as_label: bool) -> Image:
    if picture.mode != "P":
        return _as_planes(_pixels(picture))
    table = _table(picture)
    if (table == table[:, :1]).all():
        return _as_planes(table[np.asarray(picture), 0])
    return _with_palette(picture, as_label)


def _table(picture: Pillow.Image) -> NDArray[np.uint8]:
    """The palette (k 3) as the file has it, and black for indices beyond it."""
    stated = np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)
    beyond = int(np.asarray(picture).max()) + 1 - len(stated)
    return np.pad(stated, ((0, max(beyond, 0)), (0, 0)))


def _without_alpha(pixels: NDArray[Any]) -> NDArray[Any]:
    """The pixels (y x) or (y x 3) of an image (y x), (y x 2), (y x 3) or (y x 4)."""
    if pixels.ndim == 2:
        return pixels
    return pixels[..., :3] if pixels.shape[-1] > 2 else pixels[..., 0]


def _as_planes(pixels: NDArray[Any]) -> Image:
    if pixels.ndim == 2:
        return Image(pixels, "yx", by_window=False)
    return Image(np.moveaxis(pixels, -1, 0), "cyx", by_window=False)
