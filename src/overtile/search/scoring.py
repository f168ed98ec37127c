"""A segmenter's scores on what it did not see, and what many such scores say together."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

from overtile import jobs
from overtile.evaluation import Evaluation
from overtile.evaluation.measure import mean
from overtile.layouts import Pairs
from overtile.segmenter import Segmenter


def score(segmenter: Segmenter, pairs: Pairs) -> Evaluation:
    """The scores on pairs; of a network that is not exact, with its tiles blended."""
    if not segmenter.model.exact:
        segmenter = Segmenter(segmenter.model, inexact=True)
    return jobs.evaluate_with(segmenter, pairs)


def main_score(evaluation: Evaluation) -> tuple[str, float]:
    """The one score by which settings are compared, from 0 to 1, with its name.

    Of instances, the average precision at IoU 0.5, mean over the images. Of classes, the Dice
    coefficient over the pixels of all images, mean over the classes that are not background; NaN
    where no such class is there.
    """
    meaning = evaluation.meaning
    if meaning.kind == "instances":
        return "AP at 0.5", evaluation.mean["AP at 0.5"]
    names = [n for place, n in enumerate(meaning.names) if place != meaning.background]
    return "mean Dice", mean([evaluation.pooled[f"Dice {name}"] for name in names])


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table, whole or not at all; what is undefined is left empty."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        cells = ["" if isinstance(c, float) and math.isnan(c) else c for c in row]
        writer.writerow(cells)
    fresh = path.with_suffix(".fresh")
    fresh.write_text(text.getvalue())
    fresh.replace(path)
