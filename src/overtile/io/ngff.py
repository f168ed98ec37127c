"""The description of an image of OME-NGFF: axes, levels and where their pixels lie.

https://ngff.openmicroscopy.org/0.5 (multiscales), doi:10.1038/s41592-021-01326-w.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from overtile.image import Image
from overtile.io.spacing import UNKNOWN, Spacing, in_one_unit

KINDS = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}


def spacing_of(described: dict[str, Any], first: dict[str, Any]) -> Spacing:
    """The spatial part of the scale, in one unit; unknown if it is 1 of nothing."""
    scale = np.ones(len(described["axes"]))
    for owner in (first, described):
        for step in owner.get("coordinateTransformations", []):
            with np.errstate(over="ignore"):
                scale *= step.get("scale", 1)
    sizes = {
        axis["name"].lower(): (float(size), str(axis.get("unit", "")))
        for size, axis in zip(scale, described["axes"], strict=True)
    }
    lengths = [sizes[axis] for axis in "zyx" if axis in sizes]
    return UNKNOWN if {*lengths} == {(1.0, "")} else in_one_unit(lengths)


def describe(path: Path, image: Image) -> dict[str, Any]:
    """The metadata of an image of one level (OME-NGFF 0.5, multiscales)."""
    spacing = iter(image.spacing or ())
    scale = [next(spacing, 1.0) if axis in "zyx" else 1.0 for axis in image.axes]
    axes: list[dict[str, str]] = [{"name": axis, "type": KINDS[axis]} for axis in image.axes]
    for axis in axes:
        if axis["type"] == "space" and image.unit:
            axis["unit"] = image.unit
    first = {
        "path": "0",
        "coordinateTransformations": transformations(image.axes, scale, 1, False),
    }
    return {"name": path.name.split(".")[0], "axes": axes, "datasets": [first]}


def transformations(
    axes: str, scale: list[float], factor: int, averaged: bool
) -> list[dict[str, Any]]:
    """Scale and translation of a level; the first pixel of the full resolution is at 0.

    The mean of f pixels lies at their middle, (f - 1) / 2 pixels from the first; the first of them
    lies where it lay.
    """
    factors = [factor if axis in "yx" else 1 for axis in axes]
    sizes = [size * by for size, by in zip(scale, factors, strict=True)]
    steps: list[dict[str, Any]] = [{"type": "scale", "scale": sizes}]
    if averaged and factor > 1:
        shift = [size * (by - 1) / 2 for size, by in zip(scale, factors, strict=True)]
        steps.append({"type": "translation", "translation": shift})
    return steps
