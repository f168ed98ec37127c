"""What is asked of every bad file: a sentence, within a second of work and 500 MiB, no traceback.

It is read, checked as an image and as a label of a good one, and predicted.
"""

from __future__ import annotations

import re
import resource
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from bad_files import Case

from overtile import layouts
from overtile.cli import main
from overtile.cli.predicting import run_prediction
from overtile.errors import OvertileError
from overtile.file_to_file import PredictOptions
from overtile.missing import refuse_infinite
from overtile.segmenter import Segmenter

MOST_S, HANGS_S = 1.0, 30
MOST_BYTES = 500 * 2**20


@contextmanager
def bounded() -> Iterator[None]:
    """Time and memory of a block; what asks for more gets none, what hangs is interrupted."""

    def stop(*_: Any) -> None:
        raise TimeoutError(f"nothing happened for {HANGS_S} s")

    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(
        resource.RLIMIT_AS, (psutil.Process().memory_info().vms + MOST_BYTES, before[1])
    )
    handler = signal.signal(signal.SIGALRM, stop)
    signal.alarm(HANGS_S)
    start = time.process_time()
    try:
        yield
    finally:
        taken = time.process_time() - start
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert taken < MOST_S


def call(*arguments: object) -> int:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as ended:
        main([str(part) for part in arguments])
    return int(ended.value.code or 0)


def assert_says(case: Case, said: str) -> None:
    """One paragraph of an error, with the words."""
    assert "Traceback" not in said
    errors = [line for line in said.splitlines() if line.startswith("Error: ")]
    assert any(re.search(case.words, line) for line in errors), said


def is_not_read(case: Case, corpus: Path) -> None:
    """Neither as an image nor as a label."""
    for is_label in (False, True):
        with bounded(), pytest.raises(OvertileError, match=case.words):
            for plane in layouts.source.list_planes(corpus / case.name, is_label, 2):
                refuse_infinite(plane[0], plane[1].read())


def is_not_checked(
    case: Case, corpus: Path, partner: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither with a good label nor as the label of a good image; libraries print nothing."""
    for pair in ((corpus / case.name, partner), (partner, corpus / case.name)):
        with bounded():
            assert call("check", *pair) == 2
        assert_says(case, capfd.readouterr().err)


def is_not_predicted(
    case: Case, corpus: Path, model: Segmenter, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 100 GB of room for the output."""
    output = folder / "o.tif"
    disk = shutil.disk_usage(folder)._replace(free=10**11)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: disk)
    with bounded(), pytest.raises(OvertileError, match=case.words):
        run_prediction(
            model,
            corpus / case.name,
            output,
            PredictOptions(),
            None,
            suffix=None,
            measurements=False,
            explain=False,
        )
    assert not output.exists()
