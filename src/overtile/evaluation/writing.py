"""An evaluation in files: one for spreadsheets and one with everything."""

from __future__ import annotations

import csv
import io as streams
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from overtile import io
from overtile.evaluation import bootstrap
from overtile.evaluation.comparing import Comparison
from overtile.evaluation.definitions import DEFINITIONS
from overtile.evaluation.evaluating import Evaluation, Row
from overtile.text import as_text

COLUMNS = ("image", "class", "score", "value")


def write_csv(path: Path, evaluation: Evaluation, *, overwrite: bool = False) -> None:
    """The scores of every image, a line each: image, class, score, value.

    The class is empty where a score is of all, and the value where it is not defined.

    Raises
    ------
    OutputError
        The file exists, or cannot be written.
    """
    rows = [
        (as_text(row.name), evaluation.names[name].of, evaluation.names[name].score, _text(value))
        for row in evaluation.rows
        for name, value in row.scores.items()
    ]
    write_rows(path, COLUMNS, rows, overwrite=overwrite)


def write_rows(
    path: Path, columns: Sequence[str], rows: Sequence[Sequence[str]], *, overwrite: bool
) -> None:
    """A table as CSV (RFC 4180), whole or not at all."""
    text = streams.StringIO(newline="")
    csv.writer(text).writerows([columns, *rows])
    with io.new_file(path, overwrite) as file:
        file.write(text.getvalue().encode())


def write_json(
    path: Path, evaluation: Evaluation, about: Mapping[str, Any], *, overwrite: bool = False
) -> None:
    """All scores with their intervals and definitions; null where one is not defined.

    Parameters
    ----------
    path
        Of the file.
    evaluation
        What is written.
    about
        What else belongs to it by name, such as the model and the data: anything that JSON holds.
    overwrite
        Whether a file of this name may be replaced.

    Raises
    ------
    OutputError
        The file exists, or cannot be written.
    """
    write_document(path, {**about, **described(evaluation)}, overwrite=overwrite)


def write_document(path: Path, content: Mapping[str, Any], *, overwrite: bool) -> None:
    """A file of JSON, whole or not at all."""
    text = json.dumps(finite(content), indent=1, allow_nan=False, ensure_ascii=True)
    with io.new_file(path, overwrite) as file:
        file.write(text.encode())


def described(evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation as JSON holds it."""
    scores = []
    for name, (score, of) in evaluation.names.items():
        defined = [row for row in evaluation.rows if not math.isnan(row.scores[name])]
        scores.append(
            {
                "score": score,
                "class": of,
                "mean": evaluation.mean[name],
                "mean_interval": evaluation.intervals.get(name),
                "images": len(defined),
                "pooled": evaluation.pooled.get(name),
                "pooled_interval": evaluation.pooled_intervals.get(name),
            }
        )
    used = {score for score, _ in evaluation.names.values()}
    return {
        "labels": {"kind": evaluation.meaning.kind, "classes": list(evaluation.meaning.names)},
        "unit_of_distances": evaluation.unit,
        "best_threshold": evaluation.best_threshold,
        "intervals": {
            "method": "percentile bootstrap over images",
            "share": bootstrap.SHARE,
            "resamples": bootstrap.RESAMPLES,
            "seed": bootstrap.SEED,
            "fewest_images": bootstrap.FEWEST,
        },
        "scores": scores,
        "images": [{"image": row.name, "scores": row.scores} for row in evaluation.rows],
        "reliability": [vars(each) for each in evaluation.reliability],
        "definitions": {name: DEFINITIONS[name].text for name in DEFINITIONS if name in used},
    }


def write_differences(path: Path, comparison: Comparison, *, overwrite: bool = False) -> None:
    """The scores of two models, a line for every score of every image.

    Raises
    ------
    OutputError
        The file exists, or cannot be written.
    """
    both = zip(comparison.first.rows, comparison.second.rows, strict=True)
    rows = [
        (as_text(one.name), each.name.of, each.name.score, *_texts(one, other, str(each.name)))
        for one, other in both
        for each in comparison.differences
    ]
    write_rows(path, (*COLUMNS[:3], "first", "second"), rows, overwrite=overwrite)


def described_comparison(comparison: Comparison) -> dict[str, Any]:
    """A comparison as JSON holds it."""
    differences = [
        {**vars(each), "score": each.name.score, "class": each.name.of}
        for each in comparison.differences
    ]
    for each in differences:
        del each["name"]
    return {
        "test": "Wilcoxon signed-rank, two-sided, ties left out",
        "notes_on_the_test": comparison.notes,
        "differences": differences,
        "first": described(comparison.first),
        "second": described(comparison.second),
    }


def _texts(one: Row, other: Row, name: str) -> tuple[str, str]:
    return _text(one.scores[name]), _text(other.scores[name])


def finite(value: Any) -> Any:
    """A value with null for what is no number, which JSON does not know, and printable names."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return as_text(value)
    if isinstance(value, Mapping):
        return {as_text(key): finite(each) for key, each in value.items()}
    return [finite(each) for each in value] if isinstance(value, list | tuple) else value


def _text(value: float) -> str:
    return "" if math.isnan(value) else repr(float(value))
