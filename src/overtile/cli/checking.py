"""What `overtile check` prints."""

from __future__ import annotations

from pathlib import Path

from overtile.cli.describing import say_recognised
from overtile.cli.show import print_finding, print_table, say
from overtile.doctor import Finding, Report, Row, examine
from overtile.labels import LabelMeaning
from overtile.layouts import Pairs
from overtile.report.check import write_check
from overtile.settings import LabelSettings
from overtile.text import shortened

VALUES_SHOWN, VALUES_PRINTED = 8, 3
"""So many values of a label, those with most pixels, stand on the page and in the terminal."""

ROWS_SHOWN = 12
COLUMNS = ("name", "size", "type", "channels", "intensities", "label values", "objects")


def print_examination(
    pairs: Pairs,
    labels: LabelSettings,
    holdout: str | None,
    page: Path | None,
    *,
    overwrite: bool,
) -> bool:
    """Examine pairs, print and report what was found; whether training can start."""
    held = say_recognised(pairs, holdout)
    report = examine(pairs, labels, () if held is None else held.names)
    _print_rows(report)
    if report.meaning is not None:
        say(report.meaning.reason)
    for finding in report.shortened:
        _print_finding(finding)
    if page is not None:
        rows = [_cells(row, report.meaning, VALUES_SHOWN) for row in report.rows]
        write_check(page, pairs, report, COLUMNS, rows, overwrite=overwrite)
        say(f"Report: {page.resolve()}")
    if all(pair.label is None for pair in pairs):
        say("Without labels there is nothing to train on; such images can be predicted.")
    elif report.ok:
        warnings = len(report.findings)
        plural = "" if warnings == 1 else "s"
        say(f"Ready to train{f', with {warnings} warning{plural}' if warnings else ''}.")
    return report.ok


def _print_rows(report: Report) -> None:
    """The table, as narrow as it can be: what is the same in all rows is said above it."""
    rows = [_cells(row, report.meaning, VALUES_PRINTED) for row in report.rows]
    alike = [
        place
        for place, name in enumerate(COLUMNS)
        if name in ("size", "type", "channels")
        and len({row[place] for row in rows}) == 1 < len(rows)
    ]
    same = ", ".join(f"{COLUMNS[place]} {rows[0][place]}" for place in alike)
    kept = [place for place in range(len(COLUMNS)) if place not in alike]
    listed = [[shortened(row[0]), *(row[place] for place in kept[1:])] for row in rows]
    if len(listed) > ROWS_SHOWN + 1:
        more = len(listed) - ROWS_SHOWN
        listed[ROWS_SHOWN:] = [[f"... {more} more", *[""] * (len(kept) - 1)]]
    title = f"Images and labels{f', all of {same}' if same else ''}"
    print_table(title, [COLUMNS[place] for place in kept], listed)


def _cells(row: Row, meaning: LabelMeaning | None, count: int) -> list[str]:
    shares = _shares(row, meaning)
    first = sorted(shares.items(), key=lambda item: -item[1])[:count]
    more = f", ... {len(shares)} values" if len(shares) > count else ""
    return [
        row.name,
        " x ".join(map(str, row.size_px)),
        row.dtype,
        str(row.channels),
        f"{row.low:.4g} to {row.high:.4g}",
        ", ".join(f"{value}: {_percent(share)}" for value, share in first) + more,
        "–" if row.objects is None else str(row.objects),
    ]


def _shares(row: Row, meaning: LabelMeaning | None) -> dict[str, float]:
    """The shares of values as people write them, or of classes that overlap, or of all objects."""
    if meaning is not None and meaning.kind == "multilabel":
        return {meaning.names[place]: share for place, share in row.shares.items()}
    if meaning is not None and meaning.kind == "instances" and row.shares:
        background = row.shares.get(0, 0.0)
        return {"0": background, "objects": 1 - background}
    written = str if meaning is None else meaning.shown
    return {written(value): share for value, share in row.shares.items()}


def _percent(share: float) -> str:
    """A share in whole percent, with a digit more near 0 and 1, and never 0 where there is one."""
    if 0 < share < 0.001:
        return "< 0.1%"
    return f"{share:.1%}" if 0 < share < 0.01 or 0.99 < share < 1 else f"{share:.0%}"


def _print_finding(finding: Finding) -> None:
    where = f"{shortened(finding.name)}: " if finding.name else ""
    print_finding(finding.severity, f"{where}{finding.found} {finding.remedy}")
