"""One self-contained HTML page about a model and how it did."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from overtile import io, pictures
from overtile.evaluation import Interval
from overtile.image import Colour
from overtile.legend import Legend
from overtile.metrics import Reliability
from overtile.model.history import HistoryRow

LARGEST_PX = 1024
"""Larger pictures are shown at a whole fraction of their size: a page of 12 has about 40 MB."""


@dataclass(frozen=True)
class Example:
    """An image with truth and prediction, to be shown.

    Attributes
    ----------
    name, caption
        Of the image, and what its scores are.
    image
        (c y x).
    truth, prediction
        Class ids (y x), -1 where unlabelled.
    truth_objects, predicted_objects
        What is outlined (y x): objects, or the classes again. Of a volume one plane is shown.
    """

    name: str
    caption: str
    image: NDArray[np.generic]
    truth: NDArray[np.integer]
    prediction: NDArray[np.integer]
    truth_objects: NDArray[np.integer]
    predicted_objects: NDArray[np.integer]


@dataclass(frozen=True)
class ReportContent:
    """What a report tells.

    Attributes
    ----------
    title
        Of the page.
    facts
        (name, value): how the model was made.
    notes
        Sentences that a reader of the scores has to know.
    columns, rows
        Names of the scores; of each image its name and its scores, NaN or None where not defined.
    pooled
        Scores over all images together, by name.
    intervals, pooled_intervals
        Of the means over images and of the pooled scores, by name, where there are any.
    tables
        Of the classes.
    reliability
        Of the bins of confidence.
    definitions
        (name, sentence) of the scores.
    settings_yaml
        All settings.
    history
        Of the training run.
    examples
        To be shown.
    legend
        Of the classes from 0, background; where there are more than two, overlays show each in its
        colour.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    notes: Sequence[str]
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[float | None]]]
    pooled: dict[str, float]
    settings_yaml: str
    history: Sequence[HistoryRow]
    examples: Sequence[Example]
    legend: Legend | None = None
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    pooled_intervals: Mapping[str, Interval] = field(default_factory=dict)
    tables: Sequence[Table] = ()
    reliability: Sequence[Reliability] = ()
    definitions: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Table:
    """A table as it is printed: a title, names of columns, and rows of as many cells."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Spread:
    """How a score is spread over the images.

    Attributes
    ----------
    name, mean, sure, low, quartiles, high, pooled, pooled_sure
        As printed; quartiles are three numbers, and two are intervals.
    left, right
        The ends of the line that the images are drawn on, as printed.
    dots, box
        Places from 0 to 1 on that line: of each image, and of the three quartiles.
    """

    name: str
    mean: str
    sure: str
    low: str
    quartiles: str
    high: str
    pooled: str
    pooled_sure: str
    left: str = ""
    right: str = ""
    dots: Sequence[float] = ()
    box: Sequence[float] = ()


def write_report(path: Path, content: ReportContent, *, overwrite: bool = False) -> None:
    """Write a report, whole or not at all.

    Parameters
    ----------
    path
        Of the HTML file. It holds its pictures and its style, and loads nothing.
    content
        What it tells.
    overwrite
        Whether a file of this name may be replaced.

    Raises
    ------
    OutputError
        The file exists, or cannot be written.
    """
    page = TEMPLATES.get_template("report.html.jinja").render(
        content=content,
        rows=[(name, [number(score) for score in scores]) for name, scores in content.rows],
        spreads=[_spread(content, place) for place in range(len(content.columns))],
        legend=_legend(content.legend),
        curve=uri(pictures.curves(content.history), "image/svg+xml") if content.history else "",
        shown=[_show(example, content.legend) for example in content.examples],
    )
    with io.new_file(path, overwrite) as file:
        # Names of files that are no text have no letters in UTF-8: they are shown as escapes.
        file.write(page.encode(errors="backslashreplace"))


def number(score: float | None) -> str:
    """A score as it is printed; a dash where it is not defined."""
    return "–" if score is None or math.isnan(score) else f"{score:.4f}"


def span(interval: Interval | None) -> str:
    """An interval as it is printed, "0.912..0.954"; a dash where there is none."""
    if interval is None:
        return "–"
    digits = 3 if max(map(abs, interval)) < 10 else 1  # of distances fewer
    return "..".join(f"{round(end, digits) + 0.0:.{digits}f}" for end in interval)  # no -0.000


def _spread(content: ReportContent, place: int) -> Spread:
    name = content.columns[place]
    pooled = number(content.pooled.get(name))
    sure, pooled_sure = (
        span(found.get(name)) for found in (content.intervals, content.pooled_intervals)
    )
    scores = np.array([row[1][place] for row in content.rows], np.float64)  # None becomes NaN
    scores = scores[~np.isnan(scores)]
    if scores.size == 0:
        return Spread(name, "–", sure, "–", "–", "–", pooled, pooled_sure)
    low, *middle, high = (float(value) for value in np.percentile(scores, (0, 25, 50, 75, 100)))
    left, right = _ends(low, high)
    return Spread(
        name,
        number(float(scores.mean())),
        sure,
        number(low),
        " / ".join(number(value) for value in middle),
        number(high),
        pooled,
        pooled_sure,
        f"{left:g}",
        f"{right:g}",
        [(float(score) - left) / (right - left) for score in scores],
        [(value - left) / (right - left) for value in middle],
    )


def _ends(low: float, high: float) -> tuple[float, float]:
    """Round numbers around two, not nearer to each other than 0.1."""
    step = 10.0 ** math.floor(math.log10(max(high - low, 0.1)))
    # The slack keeps 0.3 / 0.1 = 2.9999999999999996 from being rounded down to 2.
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return round(first * step, 9), round(max(last, first + 1) * step, 9)


def rgb(colour: Colour) -> str:
    """A colour as CSS has it."""
    return "rgb({} {} {})".format(*colour)


def _legend(legend: Legend | None) -> list[tuple[str, str]]:
    """(name, colour) of each class but background, where there are more than one."""
    if legend is None or len(legend.names) <= 2:
        return []
    return [
        (name, rgb(colour))
        for name, colour in zip(legend.names[1:], legend.colours[1:], strict=True)
    ]


def _show(example: Example, legend: Legend | None) -> dict[str, str]:
    every = -(-max(example.truth.shape) // LARGEST_PX)
    image = shrink(example.image, every)
    truth, prediction, truth_objects, predicted_objects = (
        ids[::every, ::every]
        for ids in (
            example.truth,
            example.prediction,
            example.truth_objects,
            example.predicted_objects,
        )
    )
    tints = legend if legend is not None and len(legend.names) > 2 else None
    panels = {
        "plain": pictures.to_rgb(image),
        "overlay": pictures.overlay(image, predicted_objects, truth_objects, legend=tints),
        "errors": pictures.error_map(image, truth, prediction),
    }
    shown = {key: uri(pictures.to_png(panel), "image/png") for key, panel in panels.items()}
    size = f" Shown at 1/{every} of its size." if every > 1 else ""
    return shown | {"name": example.name, "caption": example.caption, "size": size}


def shrink(image: NDArray[np.generic], every: int) -> NDArray[np.generic]:
    """The mean of blocks of `every` x `every` pixels, the last pixel repeated at the far sides."""
    if every == 1:
        return image
    wide = [(0, 0), *[(0, -size % every) for size in image.shape[1:]]]
    blocks = np.pad(image.astype(np.float64), wide, mode="edge")
    channels, rows, columns = blocks.shape
    blocks = blocks.reshape(channels, rows // every, every, columns // every, every)
    return np.asarray(blocks.mean(axis=(2, 4)))


def uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


TEMPLATES = Environment(
    loader=PackageLoader("overtile", "report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
