"""Tables of scores for a person: the main figures; files hold all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from overtile.cli.show import print_table, say
from overtile.evaluation import DEFINITIONS, Evaluation, Interval, Name
from overtile.evaluation.bootstrap import FEWEST, SHARE
from overtile.report import number

MOST_IMAGES = 30
"""Of more images those with the highest pixel error are printed."""


def print_scores(evaluation: Evaluation) -> None:
    """The main scores of each image, those of each class, and all that are of all classes."""
    overall = [name for name, (_, of) in evaluation.names.items() if not of]
    _print_images(evaluation, [name for name in overall if DEFINITIONS[name].main])
    _print_classes("Each class, mean of images", evaluation, evaluation.mean)
    _print_classes("Each class, pooled", evaluation, evaluation.pooled)
    table = []
    for name in overall:
        scores = [row.scores[name] for row in evaluation.rows if not math.isnan(row.scores[name])]
        ends = (min(scores, default=math.nan), max(scores, default=math.nan))
        cells = [number(evaluation.mean[name]), shown(evaluation.intervals.get(name))]
        cells += [*map(number, ends), number(evaluation.pooled.get(name))]
        table.append([name, *cells, shown(evaluation.pooled_intervals.get(name))])
    sure = f"{SHARE:.0%}"
    columns = ["score", "mean of images", sure, "lowest", "highest", "pooled", sure]
    print_table("Scores", columns, table)
    for sentence in sentences(evaluation):
        say(sentence)


def sentences(evaluation: Evaluation) -> list[str]:
    """What a reader of the tables has to know."""
    said = [
        "Pooled: all pixels or objects of all images counted together."
        f" {SHARE:.0%}: interval by the bootstrap over images, for other images like these."
        if len(evaluation.rows) >= FEWEST
        else f"No intervals: expected at least {FEWEST} images, there are {len(evaluation.rows)}."
    ]
    if evaluation.best_threshold is not None:
        said.append(
            f"V_rand, V_info and Rand error at the best threshold for the whole set, "
            f"{evaluation.best_threshold:.1f}; all other scores of pixels at 0.5."
        )
    return said


def shown(interval: Interval | None) -> str:
    """An interval as it is printed; a dash where there is none."""
    return "–" if interval is None else "..".join(f"{round(end, 3) + 0.0:.3f}" for end in interval)


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
    table = [[row.name, *[number(row.scores[name]) for name in names]] for row in rows]
    print_table(title, ["image", *names], table)


def _print_classes(title: str, evaluation: Evaluation, values: Mapping[str, float]) -> None:
    """A row for each class, a column for each score of a class."""
    known = {parts: values[name] for name, parts in evaluation.names.items() if name in values}
    scores = list(dict.fromkeys(score for score, of in known if of))
    rows = [
        [of, *[number(known.get(Name(score, of))) for score in scores]]
        for of in dict.fromkeys(of for _, of in known if of)
    ]
    print_table(title, ["class", *scores], rows)


def _known(value: float) -> float:
    return -1.0 if math.isnan(value) else value
