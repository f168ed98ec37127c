"""PNG and JPEG, through Pillow, and through libpng where Pillow would lose bits."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps, PngImagePlugin

from overtile.errors import FormatError
from overtile.image import Colour, Image
from overtile.io.output import Manner

GRAY, COLOUR, PALETTE = 0, 2, 3
"""Colour types in the header of a PNG (ISO/IEC 15948, table 11.1)."""


def open_png(path: Path, as_label: bool) -> Image:
    """A PNG, read whole: (y x), or (c y x) for RGB; alpha is left out.

    Palette images give their colours, or the palette's indices for a label. 1-bit images give 0
    and 255, as most programs that write them mean it. Gray values of 2 and 4 bits are spread over
    0 to 255 as the standard asks, but given as they are for a label.
    """
    with path.open("rb") as file:
        depth, colour_type = file.read(26)[24:].ljust(2, b"\0")  # a truncated one fails below
    if depth == 16:
        return _as_planes(_decode_16_bit(path))
    pixels = _decode(path, as_label)
    if as_label and colour_type == GRAY and depth in (2, 4):
        pixels = pixels // (255 // (2**depth - 1))
    palette = _palette(path) if as_label and colour_type == PALETTE else ()
    return replace(_as_planes(pixels), palette=palette)


def open_jpeg(path: Path, as_label: bool) -> Image:
    """A JPEG, read whole: (y x), or (c y x) for RGB; turned as its Exif orientation says."""
    return _as_planes(_decode(path, as_label))


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
        picture.putpalette(manner.legend.table.tobytes())
        text.add_itxt("Classes", manner.legend.described)
    picture.save(path, "PNG", pnginfo=text)


def _decode(path: Path, as_label: bool) -> NDArray[np.uint8]:
    """Pixels (y x) or (y x 3), 8 bits."""
    try:
        with warnings.catch_warnings():
            # Large images are our trade: Pillow warns from 89 and refuses from 179 megapixels on.
            warnings.simplefilter("ignore", Pillow.DecompressionBombWarning)
            with Pillow.open(path, formats=("PNG", "JPEG", "MPO")) as opened:
                picture = ImageOps.exif_transpose(opened)
                picture.load()
    except Pillow.DecompressionBombError as error:
        raise FormatError(
            f"{path} claims to have more pixels than Pillow opens: {error} If it is meant, "
            "convert it to TIFF."
        ) from error
    except Exception as error:
        raise damaged(path, error) from error
    if picture.mode == "P" and not as_label:
        picture = picture.convert("RGBA")
    if picture.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
        raise FormatError(
            f"{path} has colours of the kind {picture.mode}, which Overtile does not read: "
            "expected gray, RGB or a palette. Convert it to RGB."
        )
    pixels = np.asarray(picture)
    if picture.mode == "1":
        return pixels.astype(np.uint8) * np.uint8(255)
    return _without_alpha(pixels)


def _palette(path: Path) -> tuple[Colour, ...]:
    """The colours of a palette PNG that was decoded before."""
    with Pillow.open(path, formats=("PNG",)) as picture:
        values = picture.getpalette("RGB") or []
    return tuple(zip(values[::3], values[1::3], values[2::3], strict=True))


def _decode_16_bit(path: Path) -> NDArray[np.uint16]:
    """Pixels (y x) or (y x 3); Pillow would cut colours of 16 bits down to 8."""
    try:
        return _without_alpha(imagecodecs.png_decode(path.read_bytes()))
    except Exception as error:
        raise damaged(path, error) from error


def _without_alpha(pixels: NDArray[Any]) -> NDArray[Any]:
    """The pixels (y x) or (y x 3) of an image (y x), (y x 2), (y x 3) or (y x 4)."""
    if pixels.ndim == 2:
        return pixels
    return pixels[..., :3] if pixels.shape[-1] > 2 else pixels[..., 0]


def _as_planes(pixels: NDArray[Any]) -> Image:
    if pixels.ndim == 2:
        return Image(pixels, "yx", by_window=False)
    return Image(np.moveaxis(pixels, -1, 0), "cyx", by_window=False)


def damaged(path: Path, error: Exception) -> FormatError:
    """What to raise where a decoder failed on a file whose first bytes are right."""
    return FormatError(
        f"{path} is damaged or truncated: its decoder stopped with '{error}'. Copy or export it "
        "again."
    )
