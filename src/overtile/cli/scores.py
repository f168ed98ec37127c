"""Tables of scores for a person: the main figures; files hold all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from overtile.cli.show import print_table, say
from overtile.evaluation import DEFINITIONS, Evaluation, Interval, Name
from overtile.evaluation.bootstrap import FEWEST, SHARE
from overtile.report import Table, number, span
from overtile.text import shortened

MOST_IMAGES = 30
"""Of more images those with the highest pixel error are printed."""


def print_scores(evaluation: Evaluation) -> None:
    """The main scores of each image, those of each class, and all that are of all classes."""
    overall = [name for name, (_, of) in evaluation.names.items() if not of]
    _print_images(evaluation, [name for name in overall if DEFINITIONS[name].main])
    for each in class_tables(evaluation, intervals=False):
        print_table(each.title, each.columns, each.rows)
    table = [
        [
            name,
            str(sum(not math.isnan(row.scores[name]) for row in evaluation.rows)),
            number(evaluation.mean[name]),
            span(evaluation.intervals.get(name)),
            number(evaluation.pooled.get(name)),
            span(evaluation.pooled_intervals.get(name)),
        ]
        for name in overall
    ]
    sure = f"{SHARE:.0%}"
    print_table("Scores", ["score", "images", "mean", sure, "pooled", sure], table)
    for sentence in sentences(evaluation):
        say(sentence)


def sentences(evaluation: Evaluation) -> list[str]:
    """What a reader of the tables has to know."""
    images = len(evaluation.rows)
    said = [
        "Mean: of the images that have the score. Pooled: all pixels or objects counted together.",
        f"{SHARE:.0%}: interval by the bootstrap over images, for other images like these."
        if images >= FEWEST
        else f"No intervals: expected at least {FEWEST} images, and got {images}.",
    ]
    if evaluation.best_threshold is not None:
        said.append(
            f"V_rand, V_info and Rand error at the best threshold for the whole set, "
            f"{evaluation.best_threshold:.1f}; all other scores of pixels at 0.5."
        )
    return said


def _print_images(evaluation: Evaluation, names: Sequence[str]) -> None:
    rows = list(evaluation.rows)
    title = "Each image"
    if len(rows) > MOST_IMAGES:
        rows.sort(key=lambda row: -_known(row.scores["pixel error"]))
        rows = rows[:MOST_IMAGES]
        title = (
            f"The {MOST_IMAGES} of {len(evaluation.rows)} images with the highest pixel error "
            "(--csv writes all)"
        )
    table = [[shortened(row.name), *[number(row.scores[name]) for name in names]] for row in rows]
    print_table(title, ["image", *names], table)


def class_tables(evaluation: Evaluation, *, intervals: bool) -> list[Table]:
    """A row for each class, a column for each score: means over images, and pooled."""
    both = (
        ("Each class, mean of images", evaluation.mean, evaluation.intervals),
        ("Each class, pooled", evaluation.pooled, evaluation.pooled_intervals),
    )
    return [
        _class_table(title, evaluation.names, values, known if intervals else {})
        for title, values, known in both
    ]


def _class_table(
    title: str,
    names: Mapping[str, Name],
    values: Mapping[str, float],
    intervals: Mapping[str, Interval],
) -> Table:
    known = {parts: name for name, parts in names.items() if parts.of and name in values}
    scores = list(dict.fromkeys(score for score, _ in known))

    def cell(parts: Name) -> str:
        name = known.get(parts, "")
        sure = f" ({span(intervals[name])})" if name in intervals else ""
        return number(values.get(name)) + sure

    classes = dict.fromkeys(of for _, of in known)
    rows = [[of, *[cell(Name(score, of)) for score in scores]] for of in classes]
    return Table(title, ["class", *scores], rows)


def _known(value: float) -> float:
    return -1.0 if math.isnan(value) else value
