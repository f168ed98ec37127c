"""What libraries print is kept from the user, and nothing else."""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from overtile.io.quiet import muted, quiet


def test_what_is_printed_to_the_standard_error_goes_nowhere(
    capfd: pytest.CaptureFixture[str],
) -> None:
    os.write(2, b"before ")
    with muted():
        os.write(2, b"inside ")
    with pytest.raises(ValueError, match="told"), muted():
        raise ValueError("told")
    os.write(2, b"after")
    assert capfd.readouterr().err == "before after"


def test_threads_do_not_bring_back_what_another_mutes(capfd: pytest.CaptureFixture[str]) -> None:
    def work(_: int) -> None:
        for _ in range(50):
            with muted():
                os.write(2, b"inside")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


def test_a_logger_says_nothing_and_what_it_would_say_is_given(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = logging.getLogger("some.reader")
    with quiet("some.reader") as unsaid:
        log.warning("%d bytes are missing", 3)
    log.warning("heard")
    assert unsaid == ["3 bytes are missing"]
    assert caplog.messages == ["heard"]
