"""What `overtile check` prints."""

from __future__ import annotations

from pathlib import Path

from overtile.cli.show import ERR, print_table, printable, say
from overtile.doctor import Finding, Row, examine
from overtile.labels import LabelMeaning
from overtile.layouts import Pairs, split
from overtile.report.check import write_check
from overtile.settings import LabelSettings
from overtile.text import shortened, shown

VALUES_SHOWN = 4
ROWS_SHOWN = 20


def print_examination(
    pairs: Pairs,
    labels: LabelSettings,
    holdout: str | None,
    page: Path | None,
    *,
    overwrite: bool,
) -> bool:
    """Examine pairs, print and report what was found; whether training can start."""
    say(pairs.describe())
    _, held = split(pairs, holdout)
    if held is not None:
        say(f"{len(held)} held out: {shown(held.names)}.")
    report = examine(pairs, labels, () if held is None else held.names)
    columns = ["name", "size", "type", "channels", "intensities", "label values", "objects"]
    rows = [_cells(row, report.meaning) for row in report.rows]
    listed = [[shortened(row[0]), *row[1:]] for row in rows]
    if len(listed) > ROWS_SHOWN + 1:
        more = len(listed) - ROWS_SHOWN
        listed[ROWS_SHOWN:] = [[f"... {more} more", *[""] * (len(columns) - 1)]]
    print_table("Images and labels", columns, listed)
    if report.meaning is not None:
        say(report.meaning.reason)
    for finding in report.shortened:
        _print_finding(finding)
    if page is not None:
        write_check(page, pairs, report, columns, rows, overwrite=overwrite)
        say(f"Report: {page.resolve()}")
    if all(pair.label is None for pair in pairs):
        say("Without labels there is nothing to train on; such images can be predicted.")
    elif report.ok:
        warnings = len(report.findings)
        plural = "" if warnings == 1 else "s"
        say(f"Ready to train{f', with {warnings} warning{plural}' if warnings else ''}.")
    return report.ok


def _cells(row: Row, meaning: LabelMeaning | None) -> list[str]:
    written = str if meaning is None else meaning.shown
    first = list(row.shares.items())[:VALUES_SHOWN]
    shares = [f"{written(value)}: {share:.1%}" for value, share in first]
    if meaning is not None and meaning.kind == "instances":
        background = row.shares.get(0, 0.0)
        shares = [f"0: {background:.1%}", f"objects: {1 - background:.1%}"]
    elif len(row.shares) > VALUES_SHOWN:
        shares.append(f"... {len(row.shares)} values")
    return [
        row.name,
        " x ".join(map(str, row.size_px)),
        row.dtype,
        str(row.channels),
        f"{row.low:g} to {row.high:g}",
        ", ".join(shares),
        "–" if row.objects is None else str(row.objects),
    ]


def _print_finding(finding: Finding) -> None:
    colour = "bold red" if finding.severity == "error" else "bold yellow"
    where = f"{shortened(finding.name)}: " if finding.name else ""
    text = printable(f"{where}{finding.found} {finding.remedy}")
    ERR.print(f"[{colour}]{finding.severity.capitalize()}:[/] {text}", soft_wrap=True)
