"""GDAL's data sets, through rasterio: bounded in memory, offline, and read from many threads.

A data set of GDAL must not be used by two threads at once, nor by a process that was forked while
it was open, and what it has decoded is forgotten when it is closed. So a few are kept open behind
the readers, and each is lent to one thread at a time.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from overtile.errors import optional
from overtile.io.damage import damaged
from overtile.io.quiet import quiet
from overtile.io.segments import CACHE_BYTES

GDAL = {
    "GDAL_CACHEMAX": CACHE_BYTES,  # of all data sets together; by default 5 % of the machine's RAM
    "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE",  # a folder may hold very many files
    "GDAL_VRT_ENABLE_PYTHON": "NO",  # a VRT is data, and runs nothing
}

LOG = "rasterio._env"
"""Where rasterio logs what GDAL says."""

MOST_IDLE = 16
"""Data sets that stay open while nobody reads them."""

_LOCK = threading.Lock()
_IDLE: OrderedDict[tuple[object, int, int], Any] = OrderedDict()


@contextmanager
def gdal() -> Iterator[Any]:
    """Rasterio, with our settings of GDAL for as long as it lasts.

    Raises
    ------
    MissingError
        Rasterio is not installed.
    """
    rasterio = optional("rasterio", "geo")
    with quiet(LOG), rasterio.Env(**GDAL):
        yield rasterio


@contextmanager
def lent(path: Path, driver: str, owner: object) -> Iterator[Any]:
    """An open data set for one thread, closed some time after its last use.

    Parameters
    ----------
    path, driver
        The file, and what it is in the words of GDAL.
    owner
        Whose data set it is: another reader of the same path opens the file anew.

    Raises
    ------
    FormatError
        GDAL cannot open or read it.
    MissingError
        Rasterio is not installed.
    """
    with gdal() as rasterio:
        try:
            dataset = _taken(owner) or opened(rasterio, path, driver=driver)
            yield dataset
        except Exception as error:
            # Rasterio says only "Read failed. See previous exception", which holds GDAL's words.
            cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
            raise damaged(path, cause) from error
        _put_back(owner, dataset)


def _taken(owner: object) -> Any:
    """A data set of this owner and process that is idle, if there is one."""
    with _LOCK:
        for key in reversed(_IDLE):
            if key[:2] == (owner, os.getpid()):
                return _IDLE.pop(key)
    return None


def opened(rasterio: Any, path: Path, mode: str = "r", **how: Any) -> Any:
    """What ``rasterio.open`` gives, without its warning of images that have no place."""
    with _LOCK, warnings.catch_warnings():  # which belong to all threads
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        return rasterio.open(path, mode, **how)


def _put_back(owner: object, dataset: Any) -> None:
    with _LOCK:
        _IDLE[owner, os.getpid(), id(dataset)] = dataset
        oldest = _IDLE.popitem(last=False)[1] if len(_IDLE) > MOST_IDLE else None
    if oldest is not None:
        oldest.close()
