"""What `overtile check` prints."""

from __future__ import annotations

from overtile.cli.show import ERR, print_table, say
from overtile.doctor import Finding, Row, examine
from overtile.labels import LabelMeaning
from overtile.layouts import Pairs
from overtile.settings import LabelSettings

VALUES_SHOWN = 4


def print_examination(pairs: Pairs, labels: LabelSettings) -> bool:
    """Examine pairs and print rows and findings; whether training can start."""
    say(pairs.describe())
    report = examine(pairs, labels)
    columns = ["name", "size", "type", "channels", "intensities", "label values", "objects"]
    rows = [_cells(row, report.meaning) for row in report.rows]
    print_table("Images and labels", columns, rows)
    if report.meaning is not None:
        say(report.meaning.reason)
    for finding in report.shortened:
        _print_finding(finding)
    if report.ok:
        warnings = len(report.findings)
        say(f"Ready to train{f', with {warnings} warnings' if warnings else ''}.")
    return report.ok


def _cells(row: Row, meaning: LabelMeaning | None) -> list[str]:
    shown = str if meaning is None else meaning.shown
    first = list(row.shares.items())[:VALUES_SHOWN]
    shares = [f"{shown(value)}: {share:.1%}" for value, share in first]
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
    from rich.markup import escape

    colour = "bold red" if finding.severity == "error" else "bold yellow"
    where = f"{finding.name}: " if finding.name else ""
    text = escape(f"{where}{finding.found} {finding.remedy}")
    ERR.print(f"[{colour}]{finding.severity.capitalize()}:[/] {text}", soft_wrap=True)
