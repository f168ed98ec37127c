"""Libraries that log or print what they also raise, kept quiet."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STANDARD_ERROR = 2
"""The number of the file to which a process writes what went wrong."""

_MUTING = threading.Lock()


@contextmanager
def quiet(name: str) -> Iterator[list[str]]:
    """Let a logger say nothing for as long as this lasts, in any thread; give what it would say."""
    log, unsaid = logging.getLogger(name), list[str]()

    def nothing(record: logging.LogRecord) -> bool:
        unsaid.append(record.getMessage())
        return False  # a filter of each caller's own: several threads may be in here at once

    log.addFilter(nothing)
    try:
        yield unsaid
    finally:
        log.removeFilter(nothing)


@contextmanager
def muted() -> Iterator[None]:
    """Let what is printed to the standard error go nowhere: C++ does not know Python's.

    It is one for all threads, of which only one is in here at a time.
    """
    with _MUTING:
        kept, nowhere = os.dup(STANDARD_ERROR), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, STANDARD_ERROR)
        try:
            yield
        finally:
            os.dup2(kept, STANDARD_ERROR)
            os.close(kept)
            os.close(nowhere)
