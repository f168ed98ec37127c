"""How results and findings look in a terminal of 80 columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from rich.console import Console

from overtile.cli import checking, main, show


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Console:
    """What is printed goes to a terminal of 80 columns, whose lines are kept."""
    console = Console(force_terminal=True, color_system=None, width=80, record=True)
    monkeypatch.setattr(show, "OUT", console)
    monkeypatch.setattr(show, "ERR", console)
    return console


def colour_coded(folder: Path, count: int) -> None:
    """Images of long names with labels of six colours."""
    random = np.random.default_rng(0)
    colours = np.array([[60, 16, 152], [132, 41, 246], [110, 193, 228]] * 2, np.uint8)
    colours[3:, 2] += 3
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for number in range(count):
        label = np.kron(random.integers(0, 6, (4, 4)), np.ones((12, 12), int))
        image = random.integers(0, 256, (48, 48, 3), dtype=np.uint8)
        for name, pixels in (("images", image), ("masks", colours[label])):
            file = f"scene of the northern quarter {number:03}.png"
            Pillow.fromarray(pixels).save(folder / name / file)


def test_no_word_is_broken_and_no_line_is_longer_than_the_terminal(
    tmp_path: Path, terminal: Console
) -> None:
    colour_coded(tmp_path, 30)
    with pytest.raises(SystemExit) as ended:
        main(["check", str(tmp_path)])
    assert ended.value.code == 0
    printed = terminal.export_text()
    lines = printed.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) < 80
    assert f"... {30 - checking.ROWS_SHOWN} more" in printed
    # What is the same in all images is said once; the numbers keep their columns.
    assert "all of size 48 x 48, type uint8, channels 3" in " ".join(printed.split())
    head = next(line for line in lines if "label values" in line)
    assert head.split() == ["name", "intensities", "label", "values", "objects"]
    for colour in ("#3C1098", "#8429F6", "#6EC1E4"):
        assert colour in " ".join(lines[-8:])


def test_findings_are_broken_between_words(terminal: Console) -> None:
    words = "A finding whose sentence is longer than a line of the terminal is broken. " * 3
    show.print_finding("warning", words.strip())
    show.note(words.strip())
    printed = terminal.export_text()
    assert printed.split() == ["Warning:", *words.split(), "Note:", *words.split()]
    assert max(map(len, printed.splitlines())) <= 80


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0, "0%"),
        (0.0004, "< 0.1%"),
        (0.004, "0.4%"),
        (0.356, "36%"),
        (0.9966, "99.7%"),
        (1, "100%"),
    ],
)
def test_shares(share: float, shown: str) -> None:
    assert checking._percent(share) == shown
