"""What `overtile compare` prints and writes."""

from __future__ import annotations

import math
from pathlib import Path

from overtile.cli.evaluating import Outputs, about_data, about_model, notes_on
from overtile.cli.show import note, print_table, say
from overtile.evaluation import DEFINITIONS, Comparison, Difference, compare_evaluations
from overtile.evaluation.writing import described_comparison, write_differences, write_document
from overtile.jobs import evaluate_with
from overtile.layouts import Pairs
from overtile.report import number, span
from overtile.segmenter import Segmenter
from overtile.text import shortened

Named = tuple[Path, Segmenter]
"""A model and where it lies."""


def run_comparison(first: Named, second: Named, pairs: Pairs, outputs: Outputs) -> None:
    """Evaluate both, print a table of differences, and write what is asked for."""
    comparison = compare_evaluations(*(evaluate_with(model, pairs) for _, model in (first, second)))
    notes = [
        f"{folder.name}: {sentence}"
        for folder, model in (first, second)
        for sentence in notes_on(model, pairs)
    ]
    for sentence in notes:
        note(sentence)
    _print(comparison, *(shortened(folder.name) for folder, _ in (first, second)))
    for sentence in comparison.notes:
        say(sentence)
    if outputs.csv is not None:
        write_differences(outputs.csv, comparison, overwrite=outputs.overwrite)
        say(f"Scores: {outputs.csv.resolve()}")
    if outputs.json is not None:
        about = {
            "first_model": about_model(*first),
            "second_model": about_model(*second),
            "data": about_data(pairs),
            "notes": notes,
        }
        content = about | described_comparison(comparison)
        write_document(outputs.json, content, overwrite=outputs.overwrite)
        say(f"Scores: {outputs.json.resolve()}")


def _print(comparison: Comparison, first: str, second: str) -> None:
    """Of each score both means over images, the difference, and how sure it is."""
    say(f"First: {first}. Second: {second}. Means over the images where both have the score.")
    columns = ["score", "first", "second", "change", "95%", "better", "ties", "p"]
    for title, of_class in (("Difference", False), ("Difference by class", True)):
        rows = [_row(each) for each in comparison.differences if bool(each.name.of) == of_class]
        print_table(title, columns, rows)
    say("Change: second - first. Ties: images without one, of those where both have the score.")


def _row(each: Difference) -> list[str]:
    cells = [number(value) for value in (each.first, each.second, each.difference)]
    p = "–" if math.isnan(each.p) else f"{each.p:.2g}"
    ties = f"{each.ties}/{each.images}"
    return [str(each.name), *cells, span(each.interval), better(each), ties, p]


def better(each: Difference) -> str:
    """Which model has the better mean; empty where neither, or the score is a plain number."""
    wanted = DEFINITIONS[each.name.score].better
    if not wanted or not abs(each.difference) > 0:
        return ""
    return "second" if (each.difference > 0) == (wanted == "higher") else "first"
