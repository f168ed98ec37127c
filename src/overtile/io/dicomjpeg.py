"""Lossless JPEG for pydicom, through imagecodecs: most archives of CT and MR are compressed so.

pydicom finds `is_available`, `DECODER_DEPENDENCIES` and `decode_frame` by their names (its guide to
decoder plugins); libraries of its own choice, where they are installed, come before.
"""

from __future__ import annotations

import threading
from typing import Any

import imagecodecs
import numpy as np

from overtile.errors import optional

LOSSLESS = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
"""JPEG process 14, with any predictor and with the first (DICOM PS3.6, table A-1)."""

DECODER_DEPENDENCIES = dict.fromkeys(LOSSLESS, ("imagecodecs",))

_REGISTERING = threading.Lock()


def is_available(uid: str) -> bool:
    """Whether frames of this transfer syntax can be decoded here."""
    return uid in LOSSLESS


def decode_frame(content: bytes, runner: Any) -> bytes:
    """The pixels of a frame, as pydicom expects them to lie."""
    pixels = np.asarray(imagecodecs.ljpeg_decode(content))
    runner.set_option("bits_allocated", pixels.itemsize * 8)
    if pixels.ndim == 3:
        runner.set_option("planar_configuration", 0)
    return pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()


def register() -> None:
    """Let pydicom know, once."""
    decoders = optional("pydicom.pixels", "medical")
    with _REGISTERING:
        for uid in LOSSLESS:
            decoder = decoders.get_decoder(uid)
            if "overtile" not in decoder.available_plugins:
                decoder.add_plugin("overtile", (__name__, "decode_frame"))
