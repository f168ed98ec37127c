"""One self-contained HTML page about a data set: what was recognised, and what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from overtile import io, pictures
from overtile.doctor import Finding, Report
from overtile.errors import DataError
from overtile.labels import Label, LabelMeaning
from overtile.layouts import Pair, Pairs
from overtile.legend import Legend, default_colours
from overtile.report import LARGEST_PX, TEMPLATES, rgb, shrink, uri

EXAMPLES_SHOWN = 6
"""Images with their labels at the end of the page, spread evenly over the set."""

_PNG = "image/png"

CROP_PX = 256
"""Side of what a finding shows of an image: single pixels can be seen."""


def write_check(
    path: Path,
    pairs: Pairs,
    report: Report,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    overwrite: bool = False,
) -> None:
    """Write the report of an examination, whole or not at all.

    Parameters
    ----------
    path
        Of the HTML file. It holds its pictures and its style, and loads nothing.
    pairs, report
        What was examined; those pairs are read again whose pictures are shown.
    columns, rows
        The table of images, as it is printed.
    overwrite
        Whether a file of this name may be replaced.

    Raises
    ------
    OutputError
        The file exists, or cannot be written.
    """
    meaning = report.meaning
    legend = None if meaning is None or meaning.kind == "instances" else meaning.legend.pictured
    chosen = np.linspace(0, len(pairs) - 1, min(EXAMPLES_SHOWN, len(pairs))).round().astype(int)
    examples = [] if meaning is None else [_example(pairs[n], meaning, legend) for n in chosen]
    page = TEMPLATES.get_template("check.html.jinja").render(
        title="Overtile check",
        recognised=pairs.describe(),
        meaning="" if meaning is None else meaning.reason,
        findings=[_illustrated(finding, pairs, meaning) for finding in report.shortened],
        columns=columns,
        rows=rows,
        legend=[]
        if legend is None
        else [
            (name, rgb(colour)) for name, colour in zip(legend.names, legend.colours, strict=True)
        ],
        shown=[example for example in examples if example],
    )
    with io.new_file(path, overwrite) as file:
        file.write(page.encode())


def _example(pair: Pair, meaning: LabelMeaning, legend: Legend | None) -> dict[str, str] | None:
    """The picture of a pair; None where it cannot be drawn, which a finding says."""
    try:
        image, label = pair.image.read(), pair.read_label()
        ids: NDArray[Any] = meaning.objects(label) if legend is None else meaning.class_map(label)
        if meaning.kind == "multilabel":
            ids = meaning.legend.pictured_ids(ids, overlap=True)
    except DataError:
        return None
    if image.shape[1:] != ids.shape:
        return None
    shown = len(ids) // 2 if ids.ndim == 3 else ...
    image, ids = image[:, shown], ids[shown]
    every = -(-max(ids.shape) // LARGEST_PX)
    small, ids = shrink(image, every), ids[::every, ::every]
    overlay = pictures.overlay(small, ids, legend=legend)
    return {
        "name": pair.name,
        "plain": uri(pictures.to_png(pictures.to_rgb(small)), _PNG),
        "overlay": uri(pictures.to_png(overlay), _PNG),
    }


def _illustrated(finding: Finding, pairs: Pairs, meaning: LabelMeaning | None) -> dict[str, str]:
    """A finding with the picture of its pixels; without any, of image and label side by side."""
    text = {"severity": finding.severity, "name": finding.name, "found": finding.found}
    text["remedy"] = finding.remedy
    pair = next((pair for pair in pairs if pair.name == finding.name), None)
    if pair is None or pair.label is None:
        return text
    try:
        image, label = pair.image.read(), pair.read_label()
        marked = None if finding.mark is None else finding.mark(_given(finding, label, meaning))
    except DataError:
        return text
    if marked is not None and marked.shape == image.shape[1:] and marked.any():
        return text | _spots(image, marked)
    ids = label.values.max(axis=0) if label.coding == "channels" else label.values
    _, ids = np.unique(ids, return_inverse=True)
    ids = ids.reshape(label.shape)
    if label.values.ndim > 2 or image.ndim > 3:
        return text
    shown = np.array(default_colours(int(ids.max()) + 1), np.uint8)[ids]
    return text | {
        "plain": uri(pictures.to_png(pictures.to_rgb(_small(image))), _PNG),
        "marked": uri(pictures.to_png(_small(np.moveaxis(shown, -1, 0)).transpose(1, 2, 0)), _PNG),
        "caption": "The image, and its label with a colour for each value.",
    }


def _small(image: NDArray[Any]) -> NDArray[Any]:
    """Every n-th pixel of an image (c y x) that is too large for the page."""
    every = -(-max(image.shape[1:]) // LARGEST_PX)
    return image[:, ::every, ::every]


def _given(finding: Finding, label: Label, meaning: LabelMeaning | None) -> NDArray[Any]:
    if finding.marked == "values" or meaning is None:
        return label.values
    return meaning.class_map(label) if finding.marked == "classes" else meaning.objects(label)


def _spots(image: NDArray[Any], marked: NDArray[np.bool_]) -> dict[str, str]:
    """The part of an image with most of the marked pixels, plain and with these in orange."""
    if marked.ndim == 3:
        plane = int(marked.sum(axis=(1, 2)).argmax())
        image, marked = image[:, plane], marked[plane]
    part = _around(marked)
    crop, here = image[(slice(None), *part)], marked[part]
    spots = pictures.to_rgb(crop)
    spots[here] = pictures.PREDICTION
    y, x = (one.start for one in part)
    caption = f"{np.count_nonzero(here)} of {np.count_nonzero(marked)} such pixels, in orange"
    return {
        "plain": uri(pictures.to_png(pictures.to_rgb(crop)), _PNG),
        "marked": uri(pictures.to_png(spots), _PNG),
        "caption": f"{caption}, from row {y} and column {x} on.",
    }


def _around(marked: NDArray[np.bool_]) -> tuple[slice, slice]:
    """The part of an image in which most of the marked pixels lie."""
    density: NDArray[Any] = ndimage.uniform_filter(marked.astype(np.float32), CROP_PX // 2)
    density[~marked] = 0
    centre = np.unravel_index(density.argmax(), density.shape)
    starts = [
        int(np.clip(at - CROP_PX // 2, 0, max(0, size - CROP_PX)))
        for at, size in zip(centre, marked.shape, strict=True)
    ]
    return slice(starts[0], starts[0] + CROP_PX), slice(starts[1], starts[1] + CROP_PX)
