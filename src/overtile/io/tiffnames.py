"""Names of channels and classes, and tables of colours, in the metadata of a TIFF."""

from __future__ import annotations

import math
from typing import Any
from xml.etree import ElementTree

import numpy as np

from overtile.image import Colour, Image
from overtile.io.output import Manner

CLASSES = "overtile.classes"
"""The namespace of the annotation of OME-XML that names class ids."""


def channel_names(tiff: Any, series: Any, axes: str, count: int) -> tuple[str, ...]:
    """What a TIFF calls its channels, if it names each of so many.

    Read are OME-XML, the labels of ImageJ, and the description that we write. ImageJ labels every
    plane; these are names of channels where they are the same at every time and depth.
    """
    try:
        if series.kind == "ome":
            names = _from_ome(tiff.ome_metadata, tiff.series.index(series))
        elif series.kind == "imagej":
            names = _from_imagej(tiff.imagej_metadata["Labels"], series.shape, axes)
        elif series.kind == "shaped":
            names = list(tiff.shaped_metadata[0]["channel_names"])
        else:
            return ()
    except (KeyError, IndexError, TypeError, ValueError, ElementTree.ParseError):
        return ()  # a description that cannot be understood costs no image
    plain = len(names) == count and all(isinstance(name, str) and name for name in names)
    return tuple(names) if plain else ()


def _from_ome(text: str, number: int) -> list[str]:
    root = ElementTree.fromstring(text)
    pixels = [node for node in root.iter() if node.tag.endswith("}Pixels")][number]
    return [node.get("Name", "") for node in pixels if node.tag.endswith("}Channel")]


def _from_imagej(labels: list[str], shape: tuple[int, ...], axes: str) -> list[str]:
    leading = axes[: axes.index("y")]
    if not leading.endswith("c") or len(labels) != math.prod(shape[: len(leading)]):
        return []
    count = shape[len(leading) - 1]
    return labels[:count] if labels == labels[:count] * (len(labels) // count) else []


def palette_of(page: Any) -> tuple[Colour, ...]:
    """The colour of each value, by the table of a page; empty without one, or if all are gray.

    A table of grays shows intensities, and its values are no codes of colours.
    """
    if page.colormap is None:
        return ()
    table = np.asarray(page.colormap).T
    table = table >> 8 if table.max(initial=0) > 255 else table  # some write 8 bits, not 16
    if (table == table[:, :1]).all():
        return ()
    return tuple(tuple(colour) for colour in table.tolist())


def for_description(image: Image, manner: Manner, ome: bool, rgb: bool) -> dict[str, Any]:
    """What tifffile is to write of the names: into OME-XML, or into its own description."""
    described: dict[str, Any] = {}
    if image.channel_names and not rgb:
        names = list(image.channel_names)
        described |= {"Channel": {"Name": names}} if ome else {"channel_names": names}
    if manner.legend is not None:
        classes = {str(number): name for number, name in enumerate(manner.legend.names)}
        annotation = {"Namespace": CLASSES, **classes}
        described |= {"MapAnnotation": annotation} if ome else {"classes": classes}
    return described
