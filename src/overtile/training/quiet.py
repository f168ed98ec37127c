"""Lightning, without what it says that does not apply."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Without Lightning's advertisement, device list and advice on workers, which do not apply."""
    loggers = [
        logging.getLogger(f"lightning.{half}{name}")
        for half in ("fabric", "pytorch")
        for name in ("", ".utilities.rank_zero")
    ]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\.")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
