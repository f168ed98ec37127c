"""Files that are damaged: what their readers stop with, in one sentence of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from overtile.errors import FormatError, OvertileError


def damaged(path: Path, error: Exception) -> FormatError:
    """What to raise where a decoder failed on a file whose first bytes are right."""
    reason = str(error) or type(error).__name__  # a MemoryError has no words
    return FormatError(
        f"{path} is damaged or truncated: its decoder stopped with '{reason}'. Copy or export it "
        "again."
    )


@contextmanager
def decoding(path: Path) -> Iterator[None]:
    """Turn whatever a decoder stops with into our error; errors of ours go through."""
    try:
        yield
    except OvertileError:
        raise
    except Exception as error:
        raise damaged(path, error) from error


def check_length(path: Path, needed_bytes: int, file: Path | None = None) -> None:
    """Refuse a file that ends before its last pixel; another may hold the pixels of a header."""
    missing = needed_bytes - (file or path).stat().st_size
    if missing > 0:
        raise damaged(path, EOFError(f"{missing} bytes are missing at its end"))
