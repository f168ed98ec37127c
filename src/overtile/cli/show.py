"""What the commands print: tables, notes and errors, in colour where it is a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from overtile.text import as_text

if TYPE_CHECKING:
    from overtile.training import Progress as Standing

OUT = Console(highlight=False)
ERR = Console(stderr=True, highlight=False)


def printable(text: str) -> str:
    """Text as it can be printed, its marks of style taken literally.

    What Python holds in place of the bytes of a file name that are no UTF-8 becomes an escape,
    since no terminal takes it.
    """
    return escape(as_text(text))


def say(text: str) -> None:
    """A line of result, to standard output; broken between words where that is a terminal."""
    OUT.print(printable(text), soft_wrap=not OUT.is_terminal)


def note(text: str) -> None:
    """A sentence that a person should know, to standard error."""
    _complain("bold yellow", "Note", text)


def print_error(text: str) -> None:
    """One paragraph, to standard error."""
    _complain("bold red", "Error", text)


def print_finding(severity: str, text: str) -> None:
    """One paragraph on what an examination found, to standard error."""
    _complain("bold red" if severity == "error" else "bold yellow", severity.capitalize(), text)


def _complain(style: str, word: str, text: str) -> None:
    ERR.print(f"[{style}]{word}:[/] {printable(text)}", soft_wrap=not ERR.is_terminal)


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, text: int = 1
) -> None:
    """A table: the first `text` columns on the left, numbers on the right."""
    look = box.SIMPLE_HEAD
    table = Table(box=look, padding=0)
    for place, name in enumerate(columns):
        side: Literal["left", "right"] = "left" if place < text else "right"
        table.add_column(printable(name), justify=side, overflow="fold", no_wrap=place == 0)
    for row in rows:
        table.add_row(*[printable(cell) for cell in row])
    OUT.print(f"[bold]{printable(title)}[/]", soft_wrap=not OUT.is_terminal)
    OUT.print(table)


@contextmanager
def pixel_progress() -> Iterator[Callable[[int, int], None]]:
    """A bar that follows a prediction: pixels, throughput, time left."""
    columns = (
        TextColumn("predicting"),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[done]:.1f}/{task.fields[whole]:.1f} Mpx"),
        TextColumn("{task.fields[speed]:.2f} Mpx/s"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=ERR)
    begun: list[tuple[float, int]] = []

    def tell(done: int, whole: int) -> None:
        if not bar.tasks:  # not before, so that an error comes first on its line
            bar.start()
            begun.append((time.monotonic(), done))
            bar.add_task("predicting", total=whole, done=0.0, whole=whole / 1e6, speed=0.0)
        start, standing = begun[0]
        speed = (done - standing) / max(time.monotonic() - start, 1e-3) / 1e6
        bar.update(bar.tasks[0].id, completed=done, done=done / 1e6, speed=speed)

    try:
        yield tell
    finally:
        if bar.tasks:
            bar.stop()


@contextmanager
def training_progress() -> Iterator[Callable[[Standing], None]]:
    """A bar that follows a training run: steps, loss, throughput, time left."""
    columns = (
        TextColumn("training"),
        BarColumn(bar_width=30),
        TextColumn("{task.completed:.0f}/{task.total:.0f} steps"),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TextColumn("{task.fields[speed]:.2f} Mpx/s"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=ERR)

    def tell(now: Standing) -> None:
        for sentence in now.notes:
            note(sentence)
        if not bar.tasks:  # not before, so that an error comes first on its line
            bar.start()
            bar.add_task("training", total=now.steps, loss=now.loss, speed=0.0)
        speed = now.pixels / now.seconds / 1e6
        bar.update(bar.tasks[0].id, completed=now.step, total=now.steps, loss=now.loss, speed=speed)

    try:
        yield tell
    finally:
        if bar.tasks:
            bar.stop()
