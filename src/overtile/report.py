"""One self-contained HTML page about a model and how it did."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from overtile import io, pictures
from overtile.model import HistoryRow


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
        What is outlined (y x): objects, or the classes again.
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
        Names of the scores; of each image its name and its scores, NaN where not defined.
    pooled
        Scores over all images together, by name.
    settings_yaml
        All settings.
    history
        Of the training run.
    examples
        To be shown.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    notes: Sequence[str]
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[float]]]
    pooled: dict[str, float]
    settings_yaml: str
    history: Sequence[HistoryRow]
    examples: Sequence[Example]


@dataclass(frozen=True)
class Spread:
    """How a score is spread over the images; `dots` are positions from 0 to 1 on a line."""

    name: str
    mean: str
    low: str
    quartiles: str
    high: str
    pooled: str
    dots: Sequence[float]


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
    page = _TEMPLATES.get_template("report.html.jinja").render(
        content=content,
        rows=[(name, [number(score) for score in scores]) for name, scores in content.rows],
        spreads=[_spread(content, place) for place in range(len(content.columns))],
        curve=_uri(pictures.curves(content.history), "image/svg+xml") if content.history else "",
        shown=[_show(example) for example in content.examples],
    )
    with io.new_file(path, overwrite) as file:
        file.write(page.encode())


def number(score: float) -> str:
    """A score as it is printed; a dash where it is not defined."""
    return "–" if math.isnan(score) else f"{score:.4f}"


def _spread(content: ReportContent, place: int) -> Spread:
    name = content.columns[place]
    scores = np.array([row[1][place] for row in content.rows])
    scores = scores[~np.isnan(scores)]
    pooled = number(content.pooled.get(name, math.nan))
    if scores.size == 0:
        return Spread(name, "–", "–", "–", "–", pooled, ())
    low, first, middle, third, high = np.percentile(scores, (0, 25, 50, 75, 100))
    quartiles = " / ".join(number(float(value)) for value in (first, middle, third))
    top = max(1.0, float(high))
    return Spread(
        name,
        number(float(scores.mean())),
        number(float(low)),
        quartiles,
        number(float(high)),
        pooled,
        [float(score) / top for score in scores],
    )


def _show(example: Example) -> dict[str, str]:
    panels = {
        "plain": pictures.to_rgb(example.image),
        "overlay": pictures.overlay(
            example.image, example.predicted_objects, example.truth_objects
        ),
        "errors": pictures.error_map(example.image, example.truth, example.prediction),
    }
    shown = {key: _uri(pictures.to_png(panel), "image/png") for key, panel in panels.items()}
    return shown | {"name": example.name, "caption": example.caption}


def _uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


_TEMPLATES = Environment(
    loader=PackageLoader("overtile", "."),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
