"""Libraries that log what they also raise, kept quiet."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet(name: str) -> Iterator[None]:
    """Let a logger say nothing for as long as this lasts, in any thread."""
    log = logging.getLogger(name)

    def nothing(_: logging.LogRecord) -> bool:
        return False  # a filter of each caller's own: several threads may be in here at once

    log.addFilter(nothing)
    try:
        yield
    finally:
        log.removeFilter(nothing)
