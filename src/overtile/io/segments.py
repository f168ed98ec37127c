"""Windows of the pages of a TIFF, of which only the strips or tiles that they touch are decoded."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import FileIO
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overtile.io import positions
from overtile.io.windows import Window

CACHE_BYTES = 128 * 2**20
"""The most that is kept of decoded segments, of all files together. Neighbouring tiles of a
prediction meet the same strips: a row of tiles of 512 px meets 512 rows of the image, 128 MiB at a
width of 87,000 px in RGB; decoding them for every tile is the cost of less. Of a page, only what
the last two windows touched is kept, so that memory does not grow with the image."""

LARGE_BYTES = CACHE_BYTES // 4
"""A decoded segment from which on a window is not read cheaply any more: a few fill the cache."""

PAGES = 64
"""Of so many pages it is known what was touched last; the segments of others age like all."""

Span = tuple[int, int]
Job = tuple[int, tuple[Span, ...]]
"""Number of a segment, and where it begins and ends along depth, length and width."""


class Cache:
    """Decoded segments, of which the longest unused are dropped; for many threads at once."""

    def __init__(self, limit: int) -> None:
        self._limit, self._held = limit, 0
        self._kept: OrderedDict[Any, NDArray[Any]] = OrderedDict()
        self._touched: OrderedDict[Any, set[int]] = OrderedDict()
        self._lock = threading.Lock()

    def move_on(self, page: tuple[object, int], touched: set[int]) -> None:
        """Drop the segments of a page that neither its last window nor this one touches."""
        with self._lock:
            before = self._touched.pop(page, set())
            self._touched[page] = touched
            keys = [key for key in self._kept if key[:2] == page and key[2] not in touched | before]
            for key in keys:
                self._held -= self._kept.pop(key).nbytes
            while len(self._touched) > PAGES:
                self._touched.popitem(last=False)

    def get(self, key: Any, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """The array that is kept for a key, or else a new one."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock:
            if key not in self._kept and made.nbytes <= self._limit:
                self._kept[key] = made
                self._held += made.nbytes
            while self._held > self._limit:
                self._held -= self._kept.popitem(last=False)[1].nbytes
        return made


CACHE = Cache(CACHE_BYTES)


@dataclass(frozen=True)
class Page:
    """Where the segments of one page lie.

    Attributes
    ----------
    number
        Of the page in its series, from 0.
    offsets, counts
        Of the bytes of each segment in the file.
    tables
        That all JPEG segments of the page share.
    """

    number: int
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    tables: bytes | None


class Segments:
    """How the pages of a series are cut into strips or tiles.

    Pages have 5 axes here, as tifffile counts them: sample (where samples are separate), depth,
    length, width, sample (where they lie together).

    Parameters
    ----------
    key
        The page of tifffile that all pages of the series are like.
    owner
        Tells the segments of one file from those of others in the cache.

    Attributes
    ----------
    raw
        Whether the pixels of a page lie in the file as they are, one behind the other.
    largest
        The shape of a decoded segment.
    large
        Whether it is so large that windows are not read cheaply.
    """

    def __init__(self, key: Any, owner: object) -> None:
        self._key, self._owner = key, owner
        self.shape: tuple[int, ...] = tuple(key.shaped)
        _, depth, length, width, samples = self.shape
        tile = (key.tiledepth, key.tilelength, key.tilewidth)
        self._step = tile if key.is_tiled else (1, min(key.rowsperstrip, length), width)
        sides = [min(sides) for sides in zip(self._step, (depth, length, width), strict=True)]
        self.raw = bool(key.is_final)
        self.largest = (*sides, samples)
        size = math.prod(self.largest) * key.dtype.itemsize
        self.large = not self.raw and size > LARGE_BYTES
        self._decode: Any = None if self.raw else key.decode  # tifffile builds it: one thread

    def check_place(self, key: Any) -> None:
        """Pass where the file has room for all segments of a page; those of others are as likely.

        Raises
        ------
        EOFError
            Segments are not listed, or lie beyond the end of the file.
        """
        offsets, counts = np.array(key.dataoffsets), np.array(key.databytecounts)
        end = key.parent.filehandle.size
        if self.raw:
            size = math.prod(self.shape) * key.dtype.itemsize
            if not len(offsets) or offsets[0] + size > end:
                raise EOFError(f"page {key.index} ends beyond the end of the file")
            return
        if min(len(offsets), len(counts)) < self._count:
            raise EOFError(
                f"{self._count} strips or tiles make up page {key.index}, and {len(offsets)} are "
                "listed"
            )
        beyond = np.flatnonzero((counts > 0) & (offsets + counts > end))
        if len(beyond):
            raise EOFError(self._name(beyond[0], key.index) + " ends beyond the end of the file")

    def _name(self, index: int, page: int) -> str:
        return f"{'tile' if self._key.is_tiled else 'strip'} {index} of page {page}"

    def read(self, file: FileIO, page: Page, window: Window, into: NDArray[Any]) -> None:
        """Read a window of a page into an array of its shape.

        Raises
        ------
        EOFError
            The page ends behind the file.
        OSError
            A segment is damaged; the message names it.
        """
        if self.raw:
            kind = np.dtype(self._key.parent.byteorder + self._key.dtype.char)
            if page.offsets[0] + math.prod(self.shape) * kind.itemsize > _size_of(file):
                raise EOFError(f"page {page.number} ends beyond the end of the file")
            into[...] = positions.read(file, page.offsets[0], self.shape, kind, window)
            return
        lock = threading.Lock()
        jobs = list(self._jobs(window))
        CACHE.move_on((self._owner, page.number), {index for index, _ in jobs})

        def place(job: Job) -> None:
            index, spans = job
            segment = CACHE.get(
                (self._owner, page.number, index), lambda: self._decoded(file, lock, page, index)
            )
            source, target = _overlap(spans, window[1:4])
            sample = index // (self._count // self.shape[0]) - window[0].start
            into[(sample, *target)] = segment[(*source, window[4])]

        workers = min(self._key.maxworkers, len(jobs))
        if workers < 2:
            for job in jobs:
                place(job)
        else:
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(place, jobs))

    @property
    def _grid(self) -> tuple[int, ...]:
        """How many segments there are along depth, length and width."""
        return tuple(-(-n // step) for n, step in zip(self.shape[1:4], self._step, strict=True))

    @property
    def _count(self) -> int:
        return self.shape[0] * math.prod(self._grid)

    def _jobs(self, window: Window) -> Iterator[Job]:
        """The segments that a window touches."""
        touched = [
            range(part.start // step, -(-part.stop // step))
            for part, step in zip(window[1:4], self._step, strict=True)
        ]
        for sample in range(window[0].start, window[0].stop):
            for place in product(*touched):
                index = int(np.ravel_multi_index((sample, *place), (self.shape[0], *self._grid)))
                yield (
                    index,
                    tuple((n * s, (n + 1) * s) for n, s in zip(place, self._step, strict=True)),
                )

    def _decoded(self, file: FileIO, lock: threading.Lock, page: Page, index: int) -> NDArray[Any]:
        """A segment (depth, length, width, sample), decoded."""
        try:
            offset, count = page.offsets[index], page.counts[index]
            with lock:
                file.seek(offset)
                content = file.read(count)
            if len(content) < count:  # some decoders would fill up with zeros
                raise EOFError("ends beyond the end of the file")
            segment, _, shape = self._decode(
                content or None, index, jpegtables=page.tables, jpegheader=self._key.jpegheader
            )
        except Exception as error:
            raise OSError(f"{self._name(index, page.number)} {error}") from error
        # A segment without bytes is one that was never written (GDAL calls such a file sparse).
        return np.full(shape, self._key.nodata, self._key.dtype) if segment is None else segment


def _overlap(
    spans: tuple[Span, ...], window: Window
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """What of a segment lies in a window, counted from the segment's start and the window's."""
    both = [
        (max(start, part.start), min(stop, part.stop), start, part.start)
        for (start, stop), part in zip(spans, window, strict=True)
    ]
    source = tuple(slice(low - origin, high - origin) for low, high, origin, _ in both)
    return source, tuple(slice(low - first, high - first) for low, high, _, first in both)


def _size_of(file: FileIO) -> int:
    return file.seek(0, 2)
