"""How a training went: the rows of ``history.csv``."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass

_NUMBERS = ("loss", "learning_rate", "seconds", "pixel_error")


@dataclass(frozen=True)
class HistoryRow:
    """The mean loss over the steps since the row before, and the share of their pixels wrong."""

    step: int
    loss: float
    learning_rate: float
    seconds: float
    pixel_error: float = math.nan


def history_to_csv(rows: tuple[HistoryRow, ...]) -> str:
    """A table with a line for each row."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["step", *_NUMBERS])
    writer.writerows([row.step, *[getattr(row, name) for name in _NUMBERS]] for row in rows)
    return text.getvalue()


def history_from_csv(text: str) -> tuple[HistoryRow, ...]:
    """The rows of such a table; older ones lack the last column."""
    return tuple(
        HistoryRow(int(row["step"]), *(float(row[key]) for key in _NUMBERS if key in row))
        for row in csv.DictReader(io.StringIO(text))
    )
